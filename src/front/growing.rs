//! The bytes of a file that is still arriving as a response body. Ends short, and never padded, where the
//! rest does not come.

use crate::supply::reader::Reader;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

type Reading = Pin<Box<dyn Future<Output = (Reader, Option<io::Result<Bytes>>)> + Send>>;

/// A range of a file on its way, sent once.
pub(super) struct GrowingBody {
    reading: Option<Reading>,
    /// Bytes that were not handed over yet.
    left: u64,
}

impl GrowingBody {
    pub(super) fn new(reader: Reader) -> Self {
        let left = reader.left();
        Self { reading: Some(read(reader)), left }
    }
}

fn read(mut reader: Reader) -> Reading {
    Box::pin(async move {
        let bytes = reader.next().await;
        (reader, bytes)
    })
}

impl Body for GrowingBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        let Some(reading) = &mut body.reading else { return Poll::Ready(None) };
        let (reader, bytes) = ready!(reading.as_mut().poll(cx));
        body.reading = None;
        if let Some(Ok(bytes)) = &bytes {
            body.left = body.left.saturating_sub(bytes.len() as u64);
            body.reading = (body.left > 0).then(|| read(reader));
        }
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
