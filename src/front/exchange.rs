//! One request and its answer: from the head that was read to the last byte handed over.
//!
//! The exchange travels inside the response body; where the body is dropped, complete or cut, it is
//! counted, logged, and the connection waits for the next request.

use super::{
    body::FileBody,
    counters::FrontCounters,
    growing::GrowingBody,
    outlet::{Outlet, Piece},
    request::FileRequest,
};
use crate::base::clock::SharedClock;
use crate::supply::reader::Part;
use bytes::{Buf, Bytes};
use http::{Method, StatusCode, request::Parts};
use hyper::body::{Body, Frame, SizeHint};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Instant,
};

/// Whose turn it is on a connection: even while the client owes a request, odd while an answer is owed.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU64);

impl Turn {
    /// Grows by one whenever the turn passes.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn is_ours(count: u64) -> bool {
        count % 2 == 1
    }

    pub(super) fn pass(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Where and when a request came in.
pub(super) struct Exchange {
    turn: Arc<Turn>,
    counters: Arc<FrontCounters>,
    clock: SharedClock,
    began: Instant,
    peer: SocketAddr,
    /// What the kernel sends by itself, where it can.
    outlet: Option<Arc<Outlet>>,
    /// Method and path; kept only where somebody reads them.
    line: Option<(Method, String)>,
    /// None until there is an answer.
    status: Option<StatusCode>,
    bytes: u64,
}

impl Exchange {
    /// Begins with a request whose head is complete.
    pub(super) fn begin(
        head: &Parts,
        peer: SocketAddr,
        outlet: Option<Arc<Outlet>>,
        turn: Arc<Turn>,
        counters: Arc<FrontCounters>,
        clock: SharedClock,
    ) -> Self {
        turn.pass();
        let line = tracing::enabled!(tracing::Level::DEBUG).then(|| (head.method.clone(), head.uri.path().to_owned()));
        let began = clock.monotonic();
        Self { turn, counters, clock, began, peer, outlet, line, status: None, bytes: 0 }
    }

    /// Who sent the request, as far as the connection tells.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether the connection can send what nobody reads.
    pub(super) fn is_direct(&self) -> bool {
        self.outlet.is_some()
    }

    /// What HTTP sends for a part of a body.
    fn piece(&self, part: Part) -> io::Result<Piece> {
        match (&self.outlet, part) {
            (Some(outlet), part) => Ok(outlet.piece(part)),
            (None, Part::Read(bytes)) => Ok(Piece::Bytes(bytes)),
            (None, Part::Lies(..)) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The body that ends this exchange.
    pub(super) fn answer(mut self, status: StatusCode, content: Content) -> AnswerBody {
        self.status = Some(status);
        AnswerBody { content, exchange: self }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.turn.pass();
        self.counters.on_ended(self.status, self.bytes);
        let Some((method, path)) = &self.line else { return };
        let ms = self.clock.monotonic().saturating_duration_since(self.began).as_millis() as u64;
        let status = self.status.map_or(0, |status| status.as_u16());
        tracing::debug!(peer = %self.peer, %method, ?path, status, bytes = self.bytes, ms, "answered");
    }
}

/// What an answer carries.
pub(super) enum Content {
    /// A few bytes that are there; taken when they are sent.
    Bytes(Bytes),
    /// A range of a file.
    File(FileRequest, FileBody),
    /// A range of a file that is still arriving.
    Growing(FileRequest, GrowingBody),
}

impl Content {
    /// No body at all.
    pub(super) const EMPTY: Self = Self::Bytes(Bytes::new());
}

/// A response body that ends its exchange when it is dropped.
pub(super) struct AnswerBody {
    content: Content,
    exchange: Exchange,
}

impl Body for AnswerBody {
    type Data = Piece;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Piece>>>> {
        let Self { content, exchange } = self.get_mut();
        let part = match content {
            Content::Bytes(bytes) if bytes.is_empty() => None,
            Content::Bytes(bytes) => Some(Ok(Part::Read(std::mem::take(bytes)))),
            Content::File(file, body) => {
                let part = match exchange.outlet.as_ref().and_then(|_| body.unread_part()) {
                    Some(part) => Some(Ok(part)),
                    None => {
                        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                        frame.map(|frame| frame.map(|frame| Part::Read(frame.into_data().unwrap_or_default())))
                    }
                };
                if let Some(Err(error)) = &part {
                    tracing::warn!(folder = %file.folder, name = %file.name, %error, "a response was cut: the file can't be read");
                }
                part
            }
            Content::Growing(file, body) => {
                let part = std::task::ready!(body.poll_part(cx));
                if let Some(Err(error)) = &part {
                    tracing::info!(folder = %file.folder, name = %file.name, %error, "a response was cut short");
                }
                part
            }
        };
        let piece = part.map(|part| part.and_then(|part| exchange.piece(part)));
        if let Some(Ok(piece)) = &piece {
            exchange.bytes += piece.remaining() as u64;
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Bytes(bytes) => bytes.is_empty(),
            Content::File(_, body) => body.is_end_stream(),
            Content::Growing(_, body) => body.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::File(_, body) => body.size_hint(),
            Content::Growing(_, body) => SizeHint::with_exact(body.left()),
        }
    }
}
