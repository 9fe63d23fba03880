//! Finds the differences between two trees: only what differs is asked for, level by level, and
//! every answer is checked against the level above, up to the signed root.

use super::parent::{PullError, patiently};
use crate::{
    domain::{
        key::LineKey,
        state::{BucketHasher, FANOUT, Namespace, NodeHash, SignedHead, inner_hash},
    },
    repository::{Change, RepositoryError},
    sync::{
        frames::{AskBucket, AskNode, Descend, Frame},
        shared::{Shared, write_namespace},
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::{Connection, RecvStream, SendStream};
use std::{collections::BTreeMap, time::Duration};

/// Entries of one bucket: thousands of times what a fair hash gives to a million files.
const MAX_BUCKET_BYTES: usize = 16 << 20;
/// What an entry costs in memory besides its key and body; also charged for a frame, which may be empty.
const ENTRY_BYTES: usize = 192;
/// For the end of a parent's answers, once all are here.
const END: Duration = Duration::from_secs(1);
/// Differences that are held in memory before they are applied in one commit.
const MAX_CHANGES_BYTES: usize = 512 << 20;

/// Compares all mirrored namespaces with the parent's; answers with its head and what leads to it.
pub(super) async fn compare(
    shared: &Shared,
    connection: &Connection,
    line: &LineKey,
) -> Result<(SignedHead, Vec<Change>), PullError> {
    let (send, receive) = connection.open_bi().await?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    let namespaces = shared.repository.namespaces();
    patiently(writer.write_frame(Descend { namespaces: namespaces.iter().filter_map(write_namespace).collect() }))
        .await?;
    let head = match patiently(reader.read_frame()).await? {
        Some(Frame::Head(head)) => head,
        Some(other) => return Err(PullError::OutOfPlace(other.name())),
        None => return Err(PullError::Ended),
    };
    let (signed, _) = shared.repository.judge(&head.bytes, line)?;
    let mut descent = Descent { shared, reader, writer, changes: Vec::new(), bytes: 0 };
    for namespace in &namespaces {
        let root = signed.head().roots.get(namespace).copied().unwrap_or_default();
        descent.namespace(namespace, root).await?;
    }
    descent.writer.get_mut().finish().ok();
    // Its end says that the parent is ready for another comparison; nothing is lost without it.
    tokio::time::timeout(END, descent.reader.read_frame()).await.ok();
    Ok((signed, descent.changes))
}

struct Descent<'s> {
    shared: &'s Shared,
    reader: FrameReader<RecvStream>,
    writer: FrameWriter<SendStream>,
    changes: Vec<Change>,
    bytes: usize,
}

impl Descent<'_> {
    async fn namespace(&mut self, namespace: &Namespace, root: NodeHash) -> Result<(), PullError> {
        let snapshot = self.shared.repository.state().index.read().map_err(RepositoryError::from)?;
        let own = snapshot.inner_nodes(namespace).map_err(RepositoryError::from)?;
        if inner_hash(&own) == root {
            return Ok(());
        }
        let Some(name) = write_namespace(namespace) else { return Ok(()) };
        let theirs = if root == [0; 32] {
            [[0; 32]; FANOUT]
        } else {
            patiently(self.writer.write_frame(AskNode { namespace: name.clone(), inner: None })).await?;
            self.read_node(root).await?
        };
        let inners = differing(&own, &theirs);
        let mut buckets: BTreeMap<u16, NodeHash> = BTreeMap::new();
        for &inner in &inners {
            let expected = theirs[usize::from(inner)];
            let children = if expected == [0; 32] {
                [[0; 32]; FANOUT]
            } else {
                patiently(self.writer.write_frame(AskNode { namespace: name.clone(), inner: Some(inner) })).await?;
                self.read_node(expected).await?
            };
            let own = snapshot.buckets_of(namespace, inner).map_err(RepositoryError::from)?;
            for bucket in differing(&own, &children) {
                buckets.insert(u16::from(inner) * FANOUT as u16 + u16::from(bucket), children[usize::from(bucket)]);
            }
        }
        drop(snapshot);
        self.buckets(namespace, &buckets).await
    }

    async fn read_node(&mut self, expected: NodeHash) -> Result<[NodeHash; FANOUT], PullError> {
        let children = match patiently(self.reader.read_frame()).await? {
            Some(Frame::Node(node)) => {
                <[NodeHash; FANOUT]>::try_from(node.hashes).map_err(|_| PullError::Lie("tree"))?
            }
            Some(other) => return Err(PullError::OutOfPlace(other.name())),
            None => return Err(PullError::Ended),
        };
        if inner_hash(&children) == expected { Ok(children) } else { Err(PullError::Lie("tree")) }
    }

    /// Asks for all differing buckets at once and reads the answers as they come.
    async fn buckets(&mut self, namespace: &Namespace, buckets: &BTreeMap<u16, NodeHash>) -> Result<(), PullError> {
        let Some(name) = write_namespace(namespace) else { return Ok(()) };
        let (reader, writer) = (&mut self.reader, &mut self.writer);
        let ask = async {
            for (&bucket, _) in buckets.iter().filter(|(_, hash)| **hash != [0; 32]) {
                patiently(writer.write_frame(AskBucket { namespace: name.clone(), bucket })).await?;
            }
            Ok::<_, PullError>(())
        };
        let (shared, changes, bytes) = (self.shared, &mut self.changes, &mut self.bytes);
        let read = async {
            for (&bucket, &hash) in buckets {
                let theirs = if hash == [0; 32] { BTreeMap::new() } else { read_bucket(reader, hash).await? };
                compare_bucket(shared, namespace, bucket, theirs, changes, bytes)?;
            }
            Ok::<_, PullError>(())
        };
        tokio::try_join!(ask, read).map(drop)
    }
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

async fn read_bucket(reader: &mut FrameReader<RecvStream>, expected: NodeHash) -> Result<Entries, PullError> {
    let mut entries = Entries::new();
    let mut bytes = 0;
    loop {
        let frame = match patiently(reader.read_frame()).await? {
            Some(Frame::Bucket(frame)) => frame,
            Some(other) => return Err(PullError::OutOfPlace(other.name())),
            None => return Err(PullError::Ended),
        };
        bytes += ENTRY_BYTES;
        for entry in frame.entries {
            bytes += entry.key.len() + entry.body.len() + ENTRY_BYTES;
            entries.insert(entry.key, entry.body);
        }
        if bytes > MAX_BUCKET_BYTES {
            return Err(PullError::Flood);
        }
        if !frame.more {
            break;
        }
    }
    let mut hasher = BucketHasher::default();
    entries.iter().for_each(|(key, body)| hasher.push(key, body));
    if hasher.finish() == expected { Ok(entries) } else { Err(PullError::Lie("bucket")) }
}

fn compare_bucket(
    shared: &Shared,
    namespace: &Namespace,
    bucket: u16,
    mut theirs: Entries,
    changes: &mut Vec<Change>,
    bytes: &mut usize,
) -> Result<(), PullError> {
    let snapshot = shared.repository.state().index.read().map_err(RepositoryError::from)?;
    let change = |key: Vec<u8>, body| Change { seq: None, namespace: namespace.clone(), key, body };
    for (key, body) in snapshot.bucket(namespace, bucket).map_err(RepositoryError::from)? {
        match theirs.remove(&key) {
            Some(their) if their == body => {}
            Some(their) => changes.push(change(key, Some(their))),
            None => changes.push(change(key, None)),
        }
    }
    for (key, body) in theirs {
        *bytes += key.len() + body.len() + ENTRY_BYTES;
        changes.push(change(key, Some(body)));
    }
    if *bytes > MAX_CHANGES_BYTES { Err(PullError::Flood) } else { Ok(()) }
}

fn differing(own: &[NodeHash; FANOUT], theirs: &[NodeHash; FANOUT]) -> Vec<u8> {
    (0..FANOUT as u8).filter(|i| own[usize::from(*i)] != theirs[usize::from(*i)]).collect()
}
