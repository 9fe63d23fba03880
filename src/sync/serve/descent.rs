//! Answers questions about the Merkle trees, all from one commit.

use super::{
    connection::{ServeError, patiently},
    rights,
};
use crate::{
    catalog::{CatalogError, Snapshot},
    domain::{
        member::MemberRecord,
        state::{BUCKETS, FANOUT, Namespace},
    },
    repository::RepositoryError,
    sync::{
        frames::{AskBucket, AskNode, Bucket, BucketEntry, Descend, Frame, Head, Node},
        shared::Shared,
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::{RecvStream, SendStream};
use std::{sync::Arc, time::Duration};

/// Bytes of keys and bodies in one frame of a bucket.
const FRAME_BYTES: usize = 256 * 1024;
/// Entries in one frame of a bucket.
const FRAME_ENTRIES: usize = 2_000;

/// For a whole descent: a million entries over 2 Mbit/s. A commit that is read from keeps its pages, and
/// the database grows, for as long.
const DEADLINE: Duration = Duration::from_secs(900);

/// Serves one descent.
pub(super) async fn serve(
    shared: &Shared,
    member: &MemberRecord,
    descend: &Descend,
    reader: &mut FrameReader<RecvStream>,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    let namespaces = rights::allowed(&shared.repository, member, &descend.namespaces).map_err(ServeError::Folder)?;
    let snapshot = shared.repository.state().index.read().map_err(RepositoryError::from)?;
    let answering = Descent { snapshot, namespaces, reader, writer }.run();
    tokio::time::timeout(DEADLINE, answering).await.map_err(|_| ServeError::Stalled)?
}

struct Descent<'s> {
    snapshot: Arc<Snapshot>,
    namespaces: Vec<Namespace>,
    reader: &'s mut FrameReader<RecvStream>,
    writer: &'s mut FrameWriter<SendStream>,
}

impl Descent<'_> {
    async fn run(self) -> Result<(), ServeError> {
        let head = self.snapshot.head().map_err(RepositoryError::from)?.unwrap_or_default();
        patiently(self.writer.write_frame(Head { bytes: head })).await?;
        loop {
            match patiently(self.reader.read_frame()).await? {
                Some(Frame::AskNode(ask)) => {
                    let namespace = self.namespace(ask.namespace.as_str())?;
                    patiently(self.writer.write_frame(node(&self.snapshot, namespace, &ask)?)).await?;
                }
                Some(Frame::AskBucket(ask)) => {
                    for frame in bucket(&self.snapshot, self.namespace(ask.namespace.as_str())?, &ask)? {
                        patiently(self.writer.write_frame(frame)).await?;
                    }
                }
                Some(other) => return Err(ServeError::OutOfPlace(other.name())),
                None => return Ok(()),
            }
        }
    }

    /// Only what the descent began with is told.
    fn namespace(&self, name: &str) -> Result<&Namespace, ServeError> {
        self.namespaces.iter().find(|namespace| namespace.as_str() == name).ok_or(ServeError::OutOfPlace("Ask"))
    }
}

fn node(snapshot: &Snapshot, namespace: &Namespace, ask: &AskNode) -> Result<Node, ServeError> {
    let hashes = match ask.inner {
        None => snapshot.inner_nodes(namespace),
        Some(inner) if usize::from(inner) < FANOUT => snapshot.buckets_of(namespace, inner),
        Some(_) => return Err(ServeError::OutOfPlace("AskNode")),
    };
    Ok(Node { hashes: hashes.map_err(RepositoryError::from)?.to_vec() })
}

fn bucket(snapshot: &Snapshot, namespace: &Namespace, ask: &AskBucket) -> Result<Vec<Bucket>, ServeError> {
    if ask.bucket >= BUCKETS {
        return Err(ServeError::OutOfPlace("AskBucket"));
    }
    let entries = snapshot.bucket(namespace, ask.bucket).map_err(|error: CatalogError| RepositoryError::from(error))?;
    let mut frames = vec![Bucket { entries: Vec::new(), more: false }];
    let mut bytes = 0;
    for (key, body) in entries {
        let full = bytes > FRAME_BYTES || frames.last().is_some_and(|frame| frame.entries.len() >= FRAME_ENTRIES);
        if full {
            frames.push(Bucket { entries: Vec::new(), more: false });
            bytes = 0;
        }
        bytes += key.len() + body.len();
        if let Some(frame) = frames.last_mut() {
            frame.entries.push(BucketEntry { key, body });
        }
    }
    let last = frames.len() - 1;
    frames.iter_mut().take(last).for_each(|frame| frame.more = true);
    Ok(frames)
}
