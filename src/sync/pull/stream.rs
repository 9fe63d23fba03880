//! One stream of content: asks for a batch, verifies what comes, stages it.

use super::{fetch::Outcome, parent::PullError, plan::Item};
use crate::{
    domain::digest::Root,
    repository::{Arrival, LocalSource, Repository, RepositoryError},
    store::{
        partial::Partial,
        segment::{DecodeError, GroupSink, SegmentDecoder, encoded_len},
        staging::Staged,
    },
    sync::{
        frames::{Frame, Get, GetItem, RefusedReason},
        serve::SMALL_BYTES,
        shared::{Shared, Transfer, TransferGuard},
        wire::{FrameReader, FrameWriter},
    },
};
use bytes::Bytes;
use quinn::{Connection, RecvStream};
use std::{
    io,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
};
use tokio::sync::mpsc;

/// Bytes that one step on a blocking thread verifies and writes.
const STEP_BYTES: u64 = 512 * 1024;

/// Fetches a job: one large file, or small ones. Every item ends in `arrivals` or in `outcomes`.
pub(super) async fn fetch(
    shared: &Arc<Shared>,
    connection: &Connection,
    job: Vec<Item>,
    arrivals: &mpsc::Sender<(Item, Arrival)>,
    outcomes: &mpsc::Sender<Outcome>,
) -> Result<(), PullError> {
    let (to_fetch, found) = look_here(shared, job).await?;
    for (item, source) in found {
        match source {
            LocalSource::Settled | LocalSource::Nothing => _ = outcomes.send(Outcome::Done(vec![item])).await,
            LocalSource::Staged(staged) => arrive(item, staged, arrivals).await,
        }
    }
    match to_fetch.as_slice() {
        [] => Ok(()),
        [item] if item.wanted.size > SMALL_BYTES => fetch_large(shared, connection, item, arrivals, outcomes).await,
        _ => fetch_small(shared, connection, to_fetch, arrivals, outcomes).await,
    }
}

type Found = Vec<(Item, LocalSource)>;

/// What this disk has already needs no network.
async fn look_here(shared: &Arc<Shared>, job: Vec<Item>) -> Result<(Vec<Item>, Found), PullError> {
    let repository = shared.repository.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let (mut to_fetch, mut found) = (Vec::new(), Vec::new());
        for item in job {
            match repository.obtain_locally(&item.folder, &item.name, &item.wanted)? {
                LocalSource::Nothing => to_fetch.push(item),
                source => found.push((item, source)),
            }
        }
        Ok::<_, RepositoryError>((to_fetch, found))
    });
    Ok(looked.await??)
}

async fn arrive(item: Item, staged: Staged, arrivals: &mpsc::Sender<(Item, Arrival)>) {
    let arrival = Arrival { folder: item.folder.clone(), name: item.name.clone(), wanted: item.wanted, staged };
    arrivals.send((item, arrival)).await.ok();
}

async fn ask(connection: &Connection, items: Vec<GetItem>) -> Result<FrameReader<RecvStream>, PullError> {
    let (send, receive) = connection.open_bi().await?;
    let mut writer = FrameWriter::new(send);
    writer.write_frame(Get { items }).await?;
    writer.get_mut().finish().ok();
    Ok(FrameReader::new(receive))
}

/// The ranges that the parent grants of an item; `None` if it has nothing of it.
async fn read_grant(
    reader: &mut FrameReader<RecvStream>,
    item: &Item,
    asked: &[Range<u64>],
) -> Result<Option<Vec<Range<u64>>>, PullError> {
    match reader.read_frame().await? {
        Some(Frame::Granted(granted)) => {
            let ranges: Vec<_> = granted.ranges.iter().map(|(start, end)| *start..*end).collect();
            let asked_for =
                |range: &Range<u64>| asked.iter().any(|asked| asked.start <= range.start && range.end <= asked.end);
            if granted.size != item.wanted.size || !ranges.iter().all(asked_for) {
                return Err(PullError::Lie("grant"));
            }
            Ok(Some(ranges))
        }
        Some(Frame::Refused(refused)) => {
            if refused.reason != RefusedReason::Unknown {
                tracing::warn!(name = %item.name, reason = %refused.reason, "the parent refused a file");
            }
            Ok(None)
        }
        Some(other) => Err(PullError::OutOfPlace(other.name())),
        None => Err(PullError::Ended),
    }
}

async fn fetch_small(
    shared: &Arc<Shared>,
    connection: &Connection,
    job: Vec<Item>,
    arrivals: &mpsc::Sender<(Item, Arrival)>,
    outcomes: &mpsc::Sender<Outcome>,
) -> Result<(), PullError> {
    let items = job.iter().map(|item| GetItem { root: item.wanted.root, ranges: Vec::new() }).collect();
    let mut reader = ask(connection, items).await?;
    let (mut whole, mut refused) = (Vec::new(), Vec::new());
    for item in job {
        let size = item.wanted.size;
        match read_grant(&mut reader, &item, std::slice::from_ref(&(0..size))).await? {
            Some(ranges) if ranges.iter().map(|range| range.end - range.start).sum::<u64>() == size => {
                whole.push((item, reader.read_raw(size as usize).await?));
            }
            Some(_) => return Err(PullError::Lie("grant")),
            None => refused.push(item),
        }
    }
    if !refused.is_empty() {
        outcomes.send(Outcome::Failed(refused)).await.ok();
    }
    let repository = shared.repository.clone();
    let staged = tokio::task::spawn_blocking(move || stage_small(&repository, whole)).await??;
    for (item, staged) in staged {
        shared.received_bytes.fetch_add(item.wanted.size, Relaxed);
        arrive(item, staged, arrivals).await;
    }
    Ok(())
}

/// A file of one group is its own proof: it hashes to its root or it is not staged.
fn stage_small(repository: &Repository, whole: Vec<(Item, Bytes)>) -> Result<Vec<(Item, Staged)>, PullError> {
    let mut staged = Vec::with_capacity(whole.len());
    for (item, bytes) in whole {
        if Root::from(blake3::hash(&bytes)) != item.wanted.root {
            return Err(PullError::Lie("content"));
        }
        let stage = repository.staging(&item.folder)?.stage_bytes(&bytes, item.wanted.modified);
        let name = item.name.to_string();
        staged.push((item, stage.map_err(|source| io_error("staging", name, source))?));
    }
    Ok(staged)
}

async fn fetch_large(
    shared: &Arc<Shared>,
    connection: &Connection,
    item: &Item,
    arrivals: &mpsc::Sender<(Item, Arrival)>,
    outcomes: &mpsc::Sender<Outcome>,
) -> Result<(), PullError> {
    let (partial, missing) = open_partial(shared, item).await?;
    let done = item.wanted.size - missing.iter().map(|range| range.end - range.start).sum::<u64>();
    let guard = shared.begin_transfer(Transfer {
        folder: item.folder.clone(),
        name: item.name.clone(),
        done_bytes: done,
        size_bytes: item.wanted.size,
    });
    if !missing.is_empty() {
        let ranges = missing.iter().map(|range| (range.start, range.end)).collect();
        let mut reader = ask(connection, vec![GetItem { root: item.wanted.root, ranges }]).await?;
        let Some(granted) = read_grant(&mut reader, item, &missing).await? else {
            outcomes.send(Outcome::Failed(vec![item.clone()])).await.ok();
            return Ok(());
        };
        for range in granted {
            receive_range(shared, &mut reader, item, &partial, range, &guard).await?;
        }
    }
    match finish_partial(shared, item, partial).await? {
        Some(staged) => arrive(item.clone(), staged, arrivals).await,
        None => _ = outcomes.send(Outcome::Failed(vec![item.clone()])).await,
    }
    Ok(())
}

async fn open_partial(shared: &Arc<Shared>, item: &Item) -> Result<(Arc<Partial>, Vec<Range<u64>>), PullError> {
    let (repository, item) = (shared.repository.clone(), item.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let staging = repository.staging(&item.folder)?;
        let open = || {
            let partial = Partial::open(staging, item.wanted.root, item.wanted.size)?;
            let missing = partial.missing_ranges()?;
            Ok((Arc::new(partial), missing))
        };
        open().map_err(|source| io_error("opening the partial of", item.name.to_string(), source))
    });
    opened.await?
}

/// Reads one segment; the next bytes are read from the wire while the last are verified and written.
async fn receive_range(
    shared: &Arc<Shared>,
    reader: &mut FrameReader<RecvStream>,
    item: &Item,
    partial: &Arc<Partial>,
    range: Range<u64>,
    guard: &TransferGuard,
) -> Result<(), PullError> {
    let mut left = encoded_len(item.wanted.size, &range);
    let mut decoder = SegmentDecoder::new(item.wanted.root, item.wanted.size, range);
    let mut bytes = reader.read_raw(left.min(STEP_BYTES) as usize).await?;
    loop {
        left -= bytes.len() as u64;
        let (partial, name) = (partial.clone(), item.name.clone());
        let verifying = tokio::task::spawn_blocking(move || {
            let mut sink = Counted { sink: partial.as_ref(), bytes: 0 };
            let fed = decoder.feed(&bytes, &mut sink);
            let verified = sink.bytes;
            fed.map(|_| (decoder, verified)).map_err(|error| decode_error(error, &name))
        });
        let next = async {
            match left {
                0 => Ok(Bytes::new()),
                _ => reader.read_raw(left.min(STEP_BYTES) as usize).await,
            }
        };
        let (verified, next) = tokio::join!(verifying, next);
        let (back, count) = verified??;
        guard.advance(count);
        shared.received_bytes.fetch_add(count, Relaxed);
        if left == 0 {
            return if back.is_done() { Ok(()) } else { Err(PullError::Lie("segment")) };
        }
        (decoder, bytes) = (back, next?);
    }
}

/// Counts verified bytes on their way to the partial.
struct Counted<'p> {
    sink: &'p Partial,
    bytes: u64,
}

impl GroupSink for Counted<'_> {
    fn pair(&mut self, node: bao_tree::TreeNode, pair: &(blake3::Hash, blake3::Hash)) -> io::Result<()> {
        self.sink.pair(node, pair)
    }

    fn group(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.sink.group(offset, bytes)
    }
}

async fn finish_partial(shared: &Arc<Shared>, item: &Item, partial: Arc<Partial>) -> Result<Option<Staged>, PullError> {
    let (repository, item) = (shared.repository.clone(), item.clone());
    let finished = tokio::task::spawn_blocking(move || {
        let name = item.name.to_string();
        let Some(partial) = Arc::into_inner(partial) else { return Ok(None) };
        let finish = || {
            match partial.finish(item.wanted.modified, &repository.state().outboards) {
                Ok(staged) => Ok(Some(staged)),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None), // not whole: the rest is asked for again
                Err(error) => Err(error),
            }
        };
        finish().map_err(|source| io_error("finishing the partial of", name, source))
    });
    finished.await?
}

fn decode_error(error: DecodeError, name: &crate::domain::name::FileName) -> PullError {
    match error {
        DecodeError::Sink(source) => io_error("writing the partial of", name.to_string(), source),
        DecodeError::ParentMismatch | DecodeError::GroupMismatch { .. } => {
            tracing::warn!(%name, error = &error as &dyn std::error::Error, "the parent sent bytes that do not verify");
            PullError::Lie("content")
        }
    }
}

fn io_error(doing: &'static str, what: String, source: io::Error) -> PullError {
    RepositoryError::Io { doing, what, source }.into()
}
