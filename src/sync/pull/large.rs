//! One large file: into a partial, group by group, from wherever an earlier try left off.

use super::{
    parent::{PullError, patiently},
    plan::Item,
    stream::{Stream, io_error, read_grant},
};
use crate::{
    base::tasks,
    domain::name::FileName,
    repository::RepositoryError,
    store::{
        partial::Partial,
        segment::{DecodeError, GroupSink, SegmentDecoder, encoded_len},
        staging::Staged,
    },
    sync::{
        claims::Claim,
        frames::{GetItem, MAX_RANGES},
        shared::{Transfer, TransferGuard},
        wire::FrameReader,
    },
};
use bytes::Bytes;
use quinn::RecvStream;
use std::{
    io,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// Bytes that one step on a blocking thread verifies and writes.
const STEP_BYTES: u64 = 256 * 1024;

/// How a fetch ended without an error.
pub(super) enum Fetched {
    /// The whole file is staged, and this fetch's until it is published.
    Whole(Staged, Claim),
    /// The parent has not all of it.
    Absent,
    /// The index wants other content under this name meanwhile.
    Unwanted,
    /// Somebody waits for it, and brings it himself.
    TakenOver,
    /// It may not travel now; what has arrived stays.
    PutOff,
}

/// Fetches what is missing of a file, for as long as the index wants it.
pub(super) async fn fetch(stream: &Stream, item: &Item) -> Result<Fetched, PullError> {
    let Some(claim) = stream.shared.claims.try_take(item.wanted.root) else { return Ok(Fetched::TakenOver) };
    let (partial, missing) = open_partial(stream, item).await?;
    let left = missing.iter().map(|range| range.end - range.start).sum::<u64>();
    if left < item.wanted.size {
        let (here, size) = (item.wanted.size - left, item.wanted.size);
        tracing::info!(folder = %item.folder, name = %item.name, here, size, "a transfer goes on where it was");
    }
    let guard = stream.shared.begin_transfer(Transfer {
        folder: item.folder.clone(),
        name: item.name.clone(),
        done_bytes: item.wanted.size.saturating_sub(left),
        size_bytes: item.wanted.size,
    });
    if !missing.is_empty() {
        // More gaps than a frame can name are left to the next try.
        let asked = &missing[..missing.len().min(MAX_RANGES)];
        let ranges = asked.iter().map(|range| (range.start, range.end)).collect();
        let mut reader = stream.ask(vec![GetItem { root: item.wanted.root, ranges }]).await?;
        let Some(granted) = read_grant(&mut reader, item, asked).await? else { return Ok(Fetched::Absent) };
        for range in granted {
            match receive_range(stream, &mut reader, item, &partial, range, (&guard, &claim)).await? {
                Received::All => {}
                Received::Unwanted => {
                    tracing::info!(folder = %item.folder, name = %item.name, "a transfer is given up: its content is wanted no longer");
                    return Ok(Fetched::Unwanted);
                }
                Received::TakenOver => return Ok(Fetched::TakenOver),
                Received::PutOff => return Ok(Fetched::PutOff),
            }
        }
    }
    finish_partial(stream, item, partial, claim).await
}

async fn open_partial(stream: &Stream, item: &Item) -> Result<(Arc<Partial>, Vec<Range<u64>>), PullError> {
    let (repository, item) = (stream.shared.repository.clone(), item.clone());
    let opened = tasks::blocking_in(&stream.tasks, move || {
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

/// What became of a segment.
enum Received {
    All,
    /// The file is wanted no longer: what has arrived is left to the next sweep.
    Unwanted,
    /// Another one goes on with what has arrived.
    TakenOver,
    /// It goes on from here when it may.
    PutOff,
}

/// Reads one segment; the next bytes are read from the wire while the last are verified and written.
async fn receive_range(
    stream: &Stream,
    reader: &mut FrameReader<RecvStream>,
    item: &Item,
    partial: &Arc<Partial>,
    range: Range<u64>,
    (guard, claim): (&TransferGuard, &Claim),
) -> Result<Received, PullError> {
    let start = range.start;
    let mut left = encoded_len(item.wanted.size, &range);
    let mut decoder = SegmentDecoder::new(item.wanted.root, item.wanted.size, range);
    let Some(mut bytes) = next_step(stream, reader, item, left).await? else { return Ok(Received::PutOff) };
    loop {
        left -= bytes.len() as u64;
        let (partial, repository, wanted) = (partial.clone(), stream.shared.repository.clone(), item.clone());
        let verifying = tasks::blocking_in(&stream.tasks, move || {
            if !repository.is_wanted(&wanted.folder, &wanted.name, &wanted.wanted)? {
                return Ok(None);
            }
            let mut sink = Counted { sink: partial.as_ref(), bytes: 0 };
            let fed = decoder.feed(&bytes, &mut sink);
            let verified = sink.bytes;
            Ok::<_, RepositoryError>(Some((fed.map(|_| decoder), verified)))
        });
        let (verified, next) = tokio::join!(verifying, next_step(stream, reader, item, left));
        let Some((back, count)) = verified?? else { return Ok(Received::Unwanted) };
        guard.advance(count);
        stream.shared.received_bytes.fetch_add(count, Relaxed);
        let back = match back {
            Ok(back) => back,
            Err(error) => return Err(on_bad(stream, item, start, error).await),
        };
        if left == 0 {
            return if back.is_done() { Ok(Received::All) } else { Err(PullError::Lie("segment")) };
        }
        if claim.is_asked_for() {
            return Ok(Received::TakenOver);
        }
        let Some(next) = next? else { return Ok(Received::PutOff) };
        (decoder, bytes) = (back, next);
    }
}

/// The next bytes of the `left` ones; `None` where the file may go on no longer.
async fn next_step(
    stream: &Stream,
    reader: &mut FrameReader<RecvStream>,
    item: &Item,
    left: u64,
) -> Result<Option<Bytes>, PullError> {
    let step = usize::try_from(left.min(STEP_BYTES)).unwrap_or_default();
    tokio::select! {
        biased;
        () = stream.stopped(item), if step > 0 => Ok(None),
        bytes = patiently(reader.read_raw(step)) => bytes.map(Some),
    }
}

/// What the parent sent does not verify: it hears of it. `start` is where the segment began.
async fn on_bad(stream: &Stream, item: &Item, start: u64, error: DecodeError) -> PullError {
    let offset = match error {
        DecodeError::Sink(source) => return writing(&item.name, source),
        DecodeError::ParentMismatch => start,
        DecodeError::GroupMismatch { offset } => offset,
    };
    stream.report_bad(item.wanted.root, offset).await;
    PullError::Lie("content")
}

fn writing(name: &FileName, source: io::Error) -> PullError {
    io_error("writing the partial of", name.to_string(), source)
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

async fn finish_partial(
    stream: &Stream,
    item: &Item,
    partial: Arc<Partial>,
    claim: Claim,
) -> Result<Fetched, PullError> {
    let (repository, item) = (stream.shared.repository.clone(), item.clone());
    let finished = tasks::blocking_in(&stream.tasks, move || {
        let name = item.name.to_string();
        let Some(partial) = Arc::into_inner(partial) else { return Ok(Fetched::Absent) };
        match partial.finish(item.wanted.modified, &repository.state().outboards) {
            Ok(staged) => Ok(Fetched::Whole(staged, claim)),
            // Not whole: the rest is asked for again.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Fetched::Absent),
            Err(source) => Err(io_error("finishing the partial of", name, source)),
        }
    });
    finished.await?
}
