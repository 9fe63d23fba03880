//! Answers questions about the Merkle trees, all from one commit.

use super::connection::ServeError;
use crate::{
    catalog::{CatalogError, Snapshot},
    domain::state::{BUCKETS, FANOUT, Namespace},
    repository::RepositoryError,
    sync::{
        frames::{AskBucket, AskNode, Bucket, BucketEntry, Descend, Frame, Head, Node},
        shared::Shared,
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::{RecvStream, SendStream};

/// Bytes of keys and bodies in one frame of a bucket.
const FRAME_BYTES: usize = 256 * 1024;
/// Entries in one frame of a bucket.
const FRAME_ENTRIES: usize = 2_000;

/// Serves one descent.
pub(super) async fn serve(
    shared: &Shared,
    _descend: &Descend,
    reader: &mut FrameReader<RecvStream>,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    let snapshot = shared.repository.state().index.read().map_err(RepositoryError::from)?;
    let head = snapshot.head().map_err(RepositoryError::from)?.unwrap_or_default();
    writer.write_frame(Head { bytes: head }).await?;
    loop {
        match reader.read_frame().await? {
            Some(Frame::AskNode(ask)) => writer.write_frame(node(&snapshot, &ask)?).await?,
            Some(Frame::AskBucket(ask)) => {
                for frame in bucket(&snapshot, &ask)? {
                    writer.write_frame(frame).await?;
                }
            }
            Some(other) => return Err(ServeError::OutOfPlace(other.name())),
            None => return Ok(()),
        }
    }
}

fn node(snapshot: &Snapshot, ask: &AskNode) -> Result<Node, ServeError> {
    let namespace = namespace(ask.namespace.as_str())?;
    let hashes = match ask.inner {
        None => snapshot.inner_nodes(&namespace),
        Some(inner) if usize::from(inner) < FANOUT => snapshot.buckets_of(&namespace, inner),
        Some(_) => return Err(ServeError::OutOfPlace("AskNode")),
    };
    Ok(Node { hashes: hashes.map_err(RepositoryError::from)?.to_vec() })
}

fn bucket(snapshot: &Snapshot, ask: &AskBucket) -> Result<Vec<Bucket>, ServeError> {
    let namespace = namespace(ask.namespace.as_str())?;
    if ask.bucket >= BUCKETS {
        return Err(ServeError::OutOfPlace("AskBucket"));
    }
    let entries =
        snapshot.bucket(&namespace, ask.bucket).map_err(|error: CatalogError| RepositoryError::from(error))?;
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

fn namespace(name: &str) -> Result<Namespace, ServeError> {
    Namespace::new(name).map_err(|_| ServeError::OutOfPlace("Ask"))
}
