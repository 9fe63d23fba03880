//! Asking for a file, and what comes: frames that announce bytes, and the bytes behind them, within their limits.

use super::{FAILED, MissError};
use crate::{
    base::{tasks, throttle::Urgency},
    domain::{
        digest::Root,
        file::MAX_FILE_BYTES,
        name::{FileName, FolderName},
    },
    store::segment::{DecodeError, GROUP_BYTES, SegmentDecoder, aligned, encoded_len},
    sync::{
        bounded::Text,
        frames::{Ask, Coming, Frame, Granted, MAX_PIECE_BYTES, Piece, RefusedReason, Seek},
        pull::parent::{PullError, patiently},
        shared::{ParentConnection, Shared},
        wire::{FrameReader, FrameWriter},
    },
};
use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use std::{ops::Range, time::Duration};
use tokio::time::timeout;

/// For the parent's first word: it waits for its own source, half a minute.
const FIRST_WORD: Duration = Duration::from_secs(45);

pub(super) type Stream = (FrameWriter<SendStream>, FrameReader<RecvStream>, Coming);

/// Asks for a file, and waits for the parent's first word.
pub(super) async fn ask(
    shared: &Shared,
    parent: &ParentConnection,
    folder: &FolderName,
    name: &FileName,
    describe: bool,
    from: u64,
) -> Result<Stream, MissError> {
    let (send, receive) = parent.connection.open_bi().await?;
    let mut writer = FrameWriter::new(send);
    let mut reader = FrameReader::new(receive).below(&shared.throttle, Urgency::Awaited);
    let (Some(folder), Some(name)) = (Text::new(folder.as_str()), Text::new(name.as_str())) else {
        return Err(MissError::Unknown);
    };
    patiently(writer.write_frame(Ask { folder, name, describe, from })).await?;
    let word = timeout(FIRST_WORD, reader.read_frame()).await.map_err(|_| PullError::Late)?;
    match word.map_err(PullError::from)? {
        Some(Frame::Coming(coming)) if coming.size <= MAX_FILE_BYTES => Ok((writer, reader, coming)),
        Some(Frame::Coming(_)) => Err(PullError::Lie("size").into()),
        Some(Frame::NotNow(not_now)) => {
            Err(MissError::NotNow(Duration::from_secs(u64::from(not_now.retry_after_seconds))))
        }
        Some(Frame::Refused(refused)) if refused.reason == RefusedReason::Unknown => Err(MissError::Unknown),
        Some(Frame::Refused(_)) => Err(MissError::NotNow(FAILED)),
        Some(other) => Err(PullError::OutOfPlace(other.name()).into()),
        None => Err(PullError::Ended.into()),
    }
}

pub(super) async fn seek(writer: &mut FrameWriter<SendStream>, piece: &Range<u64>) -> Result<(), MissError> {
    // What is before it in its group comes along.
    let start = piece.start / GROUP_BYTES * GROUP_BYTES;
    Ok(patiently(writer.write_frame(Seek { start, end: piece.end })).await?)
}

/// The segment that a frame announces, and where its bytes belong.
pub(super) async fn read_segment(
    reader: &mut FrameReader<RecvStream>,
    frame: Option<Frame>,
    size: u64,
) -> Result<(Range<u64>, Bytes), MissError> {
    let Granted { size: said, ranges, .. } = match frame {
        Some(Frame::Granted(granted)) => granted,
        other => return Err(ended(other)),
    };
    let range = match ranges.as_slice() {
        &[(start, end)] if said == size && start < end && end <= size && end - start <= u64::from(MAX_PIECE_BYTES) => {
            aligned(start..end, size)
        }
        _ => return Err(PullError::Lie("grant").into()),
    };
    let length = usize::try_from(encoded_len(size, &range)).map_err(|_| PullError::Flood)?;
    Ok((range, patiently(reader.read_raw(length)).await?))
}

/// The plain bytes that a frame announces, and where they belong.
pub(super) async fn read_piece(
    reader: &mut FrameReader<RecvStream>,
    frame: Option<Frame>,
    size: u64,
) -> Result<(Range<u64>, Bytes), MissError> {
    let Piece { offset, length } = match frame {
        Some(Frame::Piece(piece)) => piece,
        other => return Err(ended(other)),
    };
    let is_small = (1..=MAX_PIECE_BYTES).contains(&length);
    let end = offset.checked_add(u64::from(length)).filter(|end| *end <= size && is_small);
    let Some(end) = end else { return Err(PullError::Lie("piece").into()) };
    Ok((offset..end, patiently(reader.read_raw(length as usize)).await?))
}

/// Verifies a whole segment, away from the tasks that must not wait for it.
pub(super) async fn decode<T: Send + 'static>(
    root: Root,
    size: u64,
    range: Range<u64>,
    segment: Bytes,
    feed: impl FnOnce(&mut SegmentDecoder, &[u8]) -> Result<T, DecodeError> + Send + 'static,
) -> Result<Result<T, DecodeError>, MissError> {
    let start = range.start;
    let decoded = tasks::blocking(move || {
        let mut decoder = SegmentDecoder::new(root, size, range);
        let fed = feed(&mut decoder, &segment)?;
        if decoder.is_done() { Ok(fed) } else { Err(DecodeError::GroupMismatch { offset: start }) }
    });
    Ok(decoded.await?)
}

/// Anything else than bytes.
fn ended(frame: Option<Frame>) -> MissError {
    match frame {
        // The rest failed to arrive there; another try may find more.
        Some(Frame::NotNow(_)) | None => PullError::Ended.into(),
        Some(other) => PullError::OutOfPlace(other.name()).into(),
    }
}
