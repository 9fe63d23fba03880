//! One file for a member that somebody waits for there: what is here, or arrives here, in the order in which
//! it is wanted.
//!
//! Order of events: the file is asked for at this node's own supply, which makes it fly where it is not here;
//! its length is told; then its bytes go out as they come, from where the member wants them, until it ends the
//! stream.

use super::{
    connection::{ServeError, patiently, write_content},
    rights,
};
use crate::{
    base::{tasks, throttle::Urgency},
    domain::{
        member::MemberRecord,
        name::{FileName, FolderName},
    },
    repository::RepositoryError,
    store::segment::{SegmentEncoder, aligned, encoded_len},
    supply::{
        Client, Sight,
        reader::Reader,
        source::{Answer, Ask as Question, HeldFile},
    },
    sync::{
        frames::{Ask, Coming, Frame, Granted, MAX_PIECE_BYTES, NotNow, Piece, Refused, RefusedReason, Seek},
        shared::Shared,
        wire::{FrameReader, FrameWriter},
    },
};
use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use std::{
    io,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// Bytes that one step sends: what a member wants instead is seen after it.
const STEP_BYTES: u64 = 256 * 1024;
/// Above that of every other stream, which is 0.
const AWAITED: i32 = 1;
/// When to come back where the rest of a file failed to arrive.
const RETRY: Duration = Duration::from_secs(5);

/// The bit in the features of a Welcome that says that files are given by their names.
pub(in crate::sync) const GIVES_ON_MISS: u64 = 2;

/// Serves one stream, of one file.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    member: &MemberRecord,
    ask: Ask,
    reader: &mut FrameReader<RecvStream>,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    let refused = Refused { reason: RefusedReason::Unknown };
    let (Ok(folder), Ok(name)) = (FolderName::new(ask.folder.as_str()), FileName::new(ask.name.as_str())) else {
        return Err(ServeError::OutOfPlace("Ask"));
    };
    let Some(source) = shared.source().filter(|_| rights::may_mirror(member, &folder)) else {
        return patiently(writer.write_frame(refused)).await;
    };
    let question = Question { folder, name, client: Client::Member(member.name.clone()), describe: ask.describe };
    let answer = tokio::select! {
        answer = source.find(&question) => answer,
        // It has left, or wants something before there is anything.
        frame = reader.read_frame() => return match frame? {
            None => Ok(()),
            Some(other) => Err(ServeError::OutOfPlace(other.name())),
        },
    };
    let (coming, feed) = match answer {
        Answer::Held(held) => opened(shared, held).await?,
        Answer::Growing(growing) => {
            let coming = Coming { size: growing.size, modified: growing.modified, root: growing.root };
            (coming, growing.reader(0..coming_end(&ask)).map(Feed::Flight))
        }
        Answer::Unknown => return patiently(writer.write_frame(refused)).await,
        Answer::NotYet { retry_after } | Answer::OverQuota { retry_after } => {
            return patiently(writer.write_frame(not_now(retry_after))).await;
        }
    };
    let size = coming.size;
    patiently(writer.write_frame(coming)).await?;
    let Some(feed) = feed.filter(|_| !ask.describe) else { return Ok(()) };
    // Somebody waits for it: it goes before what is mirrored.
    writer.get_mut().set_priority(AWAITED).ok();
    Sending { shared, reader, writer, feed, size }.run(ask.from..size).await
}

fn coming_end(ask: &Ask) -> u64 {
    if ask.describe { 0 } else { u64::MAX }
}

fn not_now(wait: Duration) -> NotNow {
    NotNow { retry_after_seconds: u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1) }
}

/// A file that is here. Its bytes are proven to the member where its hash tree is at hand.
async fn opened(shared: &Shared, held: HeldFile) -> Result<(Coming, Option<Feed>), ServeError> {
    let repository = shared.repository.clone();
    let blob = match held.root {
        Some(root) => tasks::blocking(move || repository.open_blob(&root)).await??.map(|blob| (root, blob)),
        None => None,
    };
    let coming = Coming { size: held.size, modified: Some(held.modified), root: blob.as_ref().map(|(root, _)| *root) };
    let (bytes, outboard) = match blob {
        Some((_, blob)) => (blob.data, blob.outboard),
        None => (held.bytes, None),
    };
    let nothing = Sight {
        start: 0,
        size: held.size,
        modified: coming.modified,
        root: coming.root,
        may_flow: true,
        here: Arc::default(),
        bytes,
        outboard,
    };
    Ok((coming, Some(Feed::Whole(nothing.whole()))))
}

/// Where bytes come from.
enum Feed {
    /// All of them are here.
    Whole(Sight),
    /// They arrive.
    Flight(Reader),
}

impl Feed {
    /// Waits until something of `wanted` is here; up to where.
    async fn readable(&mut self, wanted: &Range<u64>) -> io::Result<(Sight, u64)> {
        match self {
            Self::Whole(sight) => Ok((sight.clone(), wanted.end)),
            Self::Flight(reader) => {
                reader.seek(wanted.clone());
                reader.readable().await
            }
        }
    }
}

struct Sending<'s> {
    shared: &'s Shared,
    reader: &'s mut FrameReader<RecvStream>,
    writer: &'s mut FrameWriter<SendStream>,
    feed: Feed,
    size: u64,
}

impl Sending<'_> {
    /// Sends what is wanted, from `wanted` on, until the member ends the stream.
    async fn run(mut self, mut wanted: Range<u64>) -> Result<(), ServeError> {
        loop {
            let step = tokio::select! {
                biased;
                frame = self.reader.read_frame() => match frame? {
                    Some(Frame::Seek(Seek { start, end })) => {
                        wanted = start..end.min(self.size);
                        continue;
                    }
                    Some(other) => return Err(ServeError::OutOfPlace(other.name())),
                    None => return Ok(()),
                },
                step = self.feed.readable(&wanted), if !wanted.is_empty() => step,
            };
            let Ok((sight, until)) = step else { return patiently(self.writer.write_frame(not_now(RETRY))).await };
            wanted.start = self.send(&sight, wanted.start..until).await?;
        }
    }

    /// Sends some of what is here; answers with where that ends.
    async fn send(&mut self, sight: &Sight, here: Range<u64>) -> Result<u64, ServeError> {
        let end = here.end.min(here.start.saturating_add(STEP_BYTES));
        let (frame, bytes, sent): (Frame, _, _) = match sight.root {
            None => {
                let bytes = read(sight, here.start..end).await?;
                let piece = Piece { offset: here.start, length: u32::try_from(bytes.len()).unwrap_or(MAX_PIECE_BYTES) };
                (piece.into(), bytes, end)
            }
            Some(_) => {
                let range = aligned(here.start..end, self.size);
                let segment = encode(sight, range.clone()).await?;
                let granted = Granted { size: self.size, ranges: vec![(range.start, range.end)], more: true };
                (granted.into(), segment, range.end)
            }
        };
        self.shared.sent_bytes.fetch_add(bytes.len() as u64, Relaxed);
        patiently(self.writer.write_frame(frame)).await?;
        write_content(self.shared, self.writer, bytes, Urgency::Awaited).await?;
        Ok(sent)
    }
}

async fn read(sight: &Sight, range: Range<u64>) -> Result<Bytes, ServeError> {
    let (file, len) = (sight.bytes.clone(), (range.end - range.start) as usize);
    let read = tasks::blocking(move || {
        let mut block = vec![0; len];
        file.read_exact_at(&mut block, range.start).map(|()| Bytes::from(block))
    });
    read.await?.map_err(unreadable)
}

async fn encode(sight: &Sight, range: Range<u64>) -> Result<Bytes, ServeError> {
    let all = usize::try_from(encoded_len(sight.size, &range)).unwrap_or(usize::MAX / 2);
    let mut encoder = SegmentEncoder::new(sight.size, range, sight.bytes.clone(), sight.outboard.clone());
    let encoded = tasks::blocking(move || encoder.next_batch(all));
    Ok(encoded.await?.map_err(unreadable)?.unwrap_or_default())
}

fn unreadable(source: io::Error) -> ServeError {
    RepositoryError::Io { doing: "reading", what: "a file for a member".into(), source }.into()
}
