//! Bytes that the kernel sends by itself, in their place among those that HTTP writes.
//!
//! Owns one line of ranges per connection, in the order in which HTTP sends them. HTTP is handed a blank of the same
//! length for each of them and does with it what it does with any bytes. [`Direct`] knows a blank by the place in
//! memory where it lies, never writes one, and has the kernel send what it stands for. Whoever takes a blank for
//! bytes, copies it or lets it go unsent breaks the outlet: from then on nothing is sent.

use crate::{base::read_at::ReadAt, supply::reader::Part};
use bytes::{Buf, Bytes};
use rustix::{
    io::retry_on_intr,
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};
use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    ops::Range,
    os::fd::AsFd,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

/// Most bytes of one range, and of a blank at once.
pub(super) const PART_BYTES: usize = 256 * 1024;
/// Most bytes of a range that are copied at once, where the kernel can't send by itself.
const COPIED_BYTES: usize = 64 * 1024;

/// What blanks are made of.
static BLANK: [u8; PART_BYTES] = [0; PART_BYTES];

fn is_blank(slice: &[u8]) -> bool {
    !slice.is_empty() && BLANK.as_ptr_range().contains(&slice.as_ptr())
}

/// What a connection still has to send without HTTP.
#[derive(Default)]
pub(super) struct Outlet(Mutex<Line>);

#[derive(Default)]
struct Line {
    ranges: VecDeque<(Arc<dyn ReadAt>, Range<u64>)>,
    /// Bytes that are sent, of which HTTP has not taken note.
    sent: usize,
    is_broken: bool,
}

impl Outlet {
    /// What HTTP sends for `part`; parts are sent in the order in which they came here.
    pub(super) fn piece(self: &Arc<Self>, part: Part) -> Piece {
        match part {
            Part::Read(bytes) => Piece::Bytes(bytes),
            Part::Lies(bytes, range) => {
                let left = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
                self.line().ranges.push_back((bytes, range));
                Piece::Blank(Blank { outlet: self.clone(), left })
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Before anything is sent: HTTP has to have taken note of all that was.
    fn check(&self) -> io::Result<()> {
        if self.is_broken || self.sent > 0 { Err(io::Error::other("an answer lost its order")) } else { Ok(()) }
    }

    /// HTTP goes on behind `count` bytes of blanks.
    fn on_passed(&mut self, count: usize) {
        self.is_broken |= count > self.sent;
        self.sent = self.sent.saturating_sub(count);
    }

    /// Sends what at most `len` bytes of a blank stand for.
    fn send(&mut self, stream: &TcpStream, len: usize) -> io::Result<usize> {
        self.check()?;
        let Some((bytes, range)) = self.ranges.front_mut() else { return Err(io::Error::other("a blank too many")) };
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX).min(len);
        let sent = match bytes.send_at(stream.as_fd(), range.start, len) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => copy(&**bytes, stream, range.start, len),
            sent => sent,
        }?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        range.start += sent as u64;
        if range.start >= range.end {
            self.ranges.pop_front();
        }
        self.sent += sent;
        Ok(sent)
    }
}

fn copy(bytes: &dyn ReadAt, stream: &TcpStream, offset: u64, len: usize) -> io::Result<usize> {
    let mut block = vec![0; len.min(COPIED_BYTES)];
    let read = bytes.read_at(&mut block, offset)?;
    if read == 0 { Ok(0) } else { send(stream, &[IoSlice::new(&block[..read])], SendFlags::empty()) }
}

fn send(stream: &TcpStream, slices: &[IoSlice<'_>], flags: SendFlags) -> io::Result<usize> {
    let flags = flags | SendFlags::NOSIGNAL;
    Ok(retry_on_intr(|| sendmsg(stream, slices, &mut SendAncillaryBuffer::default(), flags))?)
}

/// What a body hands to HTTP.
pub(super) enum Piece {
    /// Bytes.
    Bytes(Bytes),
    /// What stands for bytes that the kernel sends.
    Blank(Blank),
}

/// As many bytes as are not sent yet.
pub(super) struct Blank {
    outlet: Arc<Outlet>,
    left: usize,
}

impl Drop for Blank {
    fn drop(&mut self) {
        if self.left > 0 {
            self.outlet.line().is_broken = true;
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.remaining(),
            Self::Blank(blank) => blank.left,
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.chunk(),
            Self::Blank(blank) => &BLANK[..blank.left.min(PART_BYTES)],
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            Self::Blank(blank) => {
                blank.outlet.line().on_passed(count);
                blank.left = blank.left.saturating_sub(count);
            }
        }
    }
}

/// A TCP connection that sends what blanks stand for.
pub(super) struct Direct {
    stream: TcpStream,
    outlet: Arc<Outlet>,
}

impl Direct {
    pub(super) fn new(stream: TcpStream, outlet: Arc<Outlet>) -> Self {
        Self { stream, outlet }
    }

    /// Tries `send` whenever the socket takes something.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        mut send: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_io(Interest::WRITABLE, || send(&self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

impl AsyncRead for Direct {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Direct {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outlet.line().check()?;
        match slices.iter().position(|slice| is_blank(slice)) {
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
            Some(first) if slices[..first].iter().all(|slice| slice.is_empty()) => {
                self.poll_send(cx, |stream| self.outlet.line().send(stream, slices[first].len()))
            }
            // A head waits in the kernel for what follows it.
            Some(first) => self.poll_send(cx, |stream| send(stream, &slices[..first], SendFlags::MORE)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
