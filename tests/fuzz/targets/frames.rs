//! Frames, and raw bytes between them, off a stream that comes in pieces and is dropped while it waits.

use bytes::Bytes;
use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, ReadBuf};
use wuasync::sync::{
    frames::Frame,
    wire::{FrameReader, MAX_FRAME_BYTES, encode_frame},
};

/// How an input wants to be read; the four bytes before the stream.
#[derive(Clone, Copy)]
struct Script {
    /// Bytes of the stream that arrive at once.
    piece: usize,
    /// Most bytes in a frame.
    limit: usize,
    /// After so many frames come raw bytes; 0 for never.
    raw_every: usize,
    /// How many raw bytes.
    raw_bytes: usize,
}

#[derive(Debug, PartialEq)]
enum Step {
    Frame(Frame),
    Raw(Bytes),
    End,
    Refused(String),
}

/// `[piece, limit, raw_every, raw_bytes, stream..]`
pub fn frames(data: &[u8]) {
    let Some((&[piece, limit, raw_every, raw_bytes], stream)) = data.split_first_chunk() else { return };
    let script = Script {
        piece: 1 + usize::from(piece),
        limit: if limit == 0 { MAX_FRAME_BYTES } else { usize::from(limit) * 16 },
        raw_every: usize::from(raw_every),
        raw_bytes: usize::from(raw_bytes) * 257,
    };
    let steps = read_all(stream, script);
    assert_eq!(steps, read_all(stream, Script { piece: usize::MAX, ..script }), "pieces change what is read");
    let is_whole = steps.last() == Some(&Step::End);
    assert!(!is_whole || raw_every > 0 || ends_between_frames(stream), "a frame that was cut is overlooked");
    assert!(bytes_of(&steps, script.limit) <= stream.len(), "more was read than there was: {steps:?}");
}

fn ends_between_frames(mut stream: &[u8]) -> bool {
    while let Some((length, rest)) = stream.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(after) = rest.get(length..) else { return false };
        stream = after;
    }
    stream.is_empty()
}

/// What the steps come to when written again; nothing is longer than it was.
fn bytes_of(steps: &[Step], limit: usize) -> usize {
    let lengths = steps.iter().map(|step| match step {
        Step::Frame(frame) => written_again(frame, limit),
        Step::Raw(bytes) => bytes.len(),
        Step::End | Step::Refused(_) => 0,
    });
    lengths.sum()
}

fn written_again(frame: &Frame, limit: usize) -> usize {
    let bytes = encode_frame(frame, limit).expect("what was read can be written");
    let once = Script { piece: usize::MAX, limit, raw_every: 0, raw_bytes: 0 };
    let read = read_all(&bytes, once);
    assert!(matches!(&read[..], [Step::Frame(again), Step::End] if again == frame), "{frame:?} became {read:?}");
    bytes.len()
}

fn read_all(stream: &[u8], script: Script) -> Vec<Step> {
    let mut reader = FrameReader::with_limit(Pieces { rest: stream, size: script.piece, is_due: false }, script.limit);
    let mut steps = Vec::new();
    loop {
        let raw_is_due = script.raw_every > 0 && steps.len() % (script.raw_every + 1) == script.raw_every;
        let step = if raw_is_due { raw(&mut reader, script.raw_bytes) } else { frame(&mut reader) };
        let is_over = matches!(step, Step::End | Step::Refused(_));
        steps.push(step);
        if is_over {
            return steps;
        }
        // Raw bytes may be none at all, so that only frames move on for certain.
        assert!(steps.len() <= 2 * stream.len() + 2, "reading does not end");
    }
}

fn frame(reader: &mut FrameReader<Pieces<'_>>) -> Step {
    loop {
        match poll_once(reader.read_frame()) {
            Poll::Ready(Ok(Some(frame))) => return Step::Frame(frame),
            Poll::Ready(Ok(None)) => return Step::End,
            Poll::Ready(Err(error)) => return Step::Refused(error.to_string()),
            Poll::Pending => {}
        }
    }
}

fn raw(reader: &mut FrameReader<Pieces<'_>>, length: usize) -> Step {
    loop {
        match poll_once(reader.read_raw(length)) {
            Poll::Ready(Ok(bytes)) => {
                assert_eq!(bytes.len(), length);
                return Step::Raw(bytes);
            }
            Poll::Ready(Err(error)) => return Step::Refused(error.to_string()),
            Poll::Pending => {}
        }
    }
}

/// Drops the future when it has to wait: nothing may be lost by that.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A stream that makes its reader wait before each piece.
struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
    is_due: bool,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.is_due = !self.is_due;
        if self.is_due {
            return Poll::Pending;
        }
        let (piece, rest) = self.rest.split_at(self.size.min(room.remaining()).min(self.rest.len()));
        room.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}
