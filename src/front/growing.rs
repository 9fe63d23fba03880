//! The bytes of a file that is still arriving as a response body. Ends short, and never padded, where the
//! rest does not come.

use crate::supply::reader::{Part, Reader};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

type Reading = Pin<Box<dyn Future<Output = (Reader, Option<io::Result<Part>>)> + Send>>;

/// A range of a file on its way, sent once.
pub(super) struct GrowingBody {
    reading: Option<Reading>,
    /// Bytes that were not handed over yet.
    left: u64,
    is_direct: bool,
}

impl GrowingBody {
    /// Where the connection `is_direct`, what it can send without being read is not read.
    pub(super) fn new(reader: Reader, is_direct: bool) -> Self {
        let left = reader.left();
        Self { reading: Some(read(reader, is_direct)), left, is_direct }
    }

    /// The next part, as [`hyper::body::Body`] has its frames.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Part>>> {
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let (reader, part) = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        if let Some(Ok(_)) = &part {
            self.left = reader.left();
            self.reading = (self.left > 0).then(|| read(reader, self.is_direct));
        }
        Poll::Ready(part)
    }

    /// How many bytes were not handed over yet.
    pub(super) fn left(&self) -> u64 {
        self.left
    }
}

fn read(mut reader: Reader, is_direct: bool) -> Reading {
    Box::pin(async move {
        let part =
            if is_direct { reader.next_part().await } else { reader.next().await.map(|read| read.map(Part::Read)) };
        (reader, part)
    })
}
