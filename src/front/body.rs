//! The bytes of a file as a response body: block by block, never padded.
//!
//! What lies in memory is not read at all where the connection can send it so (`FileBody::unread_part`). Elsewhere
//! a block that lies in memory is read where it is sent, so that it goes from one cache of the processor to the
//! other once. What has to come from a disk is read on a thread that may wait, one block ahead. A body holds at
//! most two blocks; a written block's memory is read into again.

use crate::{base::read_at::ReadAt, supply::reader::Part};
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use std::{
    io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// Bytes per read. Large enough that handing work to the blocking threads costs little beside the
/// copy, small enough that thousands of slow clients fit into memory.
pub const BLOCK_BYTES: usize = 256 * 1024;
/// Least bytes that are worth a call of their own: fewer leave together with the head.
const UNREAD_BYTES: u64 = 64 * 1024;

/// A range of an open file, sent once.
pub struct FileBody {
    file: Arc<dyn ReadAt>,
    /// What nobody reads yet.
    unread: Range<u64>,
    next: Next,
    /// Whether the block read last had to be waited for.
    waits: bool,
    /// The block handed over last; ours again once the connection has written it.
    lent: Option<Bytes>,
    /// Bytes that were not handed over yet.
    left: u64,
}

/// The block that is handed over next.
enum Next {
    Ready(io::Result<BytesMut>),
    Reading(JoinHandle<io::Result<BytesMut>>),
    None,
}

impl FileBody {
    /// Reads the first block, so that a file that can't be read is known before the status is sent
    /// and a small file leaves together with its headers. `range` must not run backwards.
    pub async fn open(file: Arc<dyn ReadAt>, range: Range<u64>) -> io::Result<Self> {
        let mut body = Self::unread(file, range);
        body.read_next();
        body.next = match body.next {
            Next::Ready(read) => Next::Ready(Ok(read?)),
            Next::Reading(read) => Next::Ready(Ok(finished(read.await)?)),
            Next::None => Next::None,
        };
        Ok(body)
    }

    /// As [`FileBody::open`]; what can be sent without being read is left to [`FileBody::unread_part`].
    pub(super) async fn open_unread(file: Arc<dyn ReadAt>, range: Range<u64>) -> io::Result<Self> {
        let body = Self::unread(file, range);
        if body.sendable().is_some() { Ok(body) } else { Self::open(body.file, body.unread).await }
    }

    fn unread(file: Arc<dyn ReadAt>, range: Range<u64>) -> Self {
        let left = range.end.saturating_sub(range.start);
        Self { file, unread: range, next: Next::None, waits: false, lent: None, left }
    }

    /// The next bytes where they lie, at most a block of them; none where they have to be read.
    pub(super) fn unread_part(&mut self) -> Option<Part> {
        let range = self.sendable()?;
        self.unread.start = range.end;
        self.left = self.left.saturating_sub(range.end - range.start);
        Some(Part::Lies(self.file.clone(), range))
    }

    fn sendable(&self) -> Option<Range<u64>> {
        let start = self.unread.start;
        let range = start..self.unread.end.min(start.saturating_add(BLOCK_BYTES as u64));
        let is_next = matches!(self.next, Next::None) && range.end.saturating_sub(start) >= UNREAD_BYTES;
        (is_next && self.file.is_sendable(&range)).then_some(range)
    }

    /// Reads the next block, if there is one, or begins to; nothing may be on its way.
    fn read_next(&mut self) {
        let start = self.unread.start;
        let len = self.unread.end.saturating_sub(start).min(BLOCK_BYTES as u64) as usize;
        if len == 0 {
            return;
        }
        self.unread.start += len as u64;
        let mut block = self.blank(len);
        let here = read_at_once(self.file.as_ref(), &mut block, start);
        self.waits = here.as_ref().is_ok_and(|here| *here < len);
        self.next = match here {
            Ok(here) if self.waits => {
                let file = self.file.clone();
                let rest = move || file.read_exact_at(&mut block[here..], start + here as u64).map(|()| block);
                Next::Reading(spawn_blocking(rest))
            }
            here => Next::Ready(here.map(|_| block)),
        };
    }

    /// Memory for `len` bytes: the block lent last if it came back, else new.
    fn blank(&mut self, len: usize) -> BytesMut {
        match self.lent.take().map(Bytes::try_into_mut) {
            Some(Ok(mut block)) if block.len() >= len => {
                block.truncate(len);
                block
            }
            _ => BytesMut::zeroed(len),
        }
    }
}

/// Reads from `start` what needs no waiting; answers with how much that was.
fn read_at_once(file: &dyn ReadAt, block: &mut [u8], start: u64) -> io::Result<usize> {
    let mut here = 0;
    while here < block.len() {
        match file.read_at_once(&mut block[here..], start + here as u64) {
            None => break,
            Some(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(read) => here += read?,
        }
    }
    Ok(here)
}

fn finished(read: Result<io::Result<BytesMut>, JoinError>) -> io::Result<BytesMut> {
    read.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        if matches!(body.next, Next::None) {
            body.read_next();
        }
        let read = match std::mem::replace(&mut body.next, Next::None) {
            Next::None => return Poll::Ready(None),
            Next::Ready(read) => read,
            Next::Reading(mut read) => match Pin::new(&mut read).poll(cx) {
                Poll::Ready(read) => finished(read),
                Poll::Pending => {
                    body.next = Next::Reading(read);
                    return Poll::Pending;
                }
            },
        };
        let block = match read {
            Ok(block) => block.freeze(),
            Err(error) => {
                body.unread.start = body.unread.end;
                return Poll::Ready(Some(Err(error)));
            }
        };
        body.left = body.left.saturating_sub(block.len() as u64);
        if body.waits {
            body.read_next();
        }
        if body.left > 0 {
            body.lent = Some(block.clone());
        }
        Poll::Ready(Some(Ok(Frame::data(block))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::sync::atomic::{AtomicU64, Ordering};

    const BLOCK: u64 = BLOCK_BYTES as u64;

    fn bytes(len: u64) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    /// Counts the bytes that were read.
    struct Watched {
        bytes: Vec<u8>,
        read: AtomicU64,
    }

    impl ReadAt for Watched {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let n = self.bytes.read_at(buf, offset)?;
            self.read.fetch_add(n as u64, Ordering::SeqCst);
            Ok(n)
        }
    }

    /// In memory up to `here`, and beyond only a few bytes at a time; the rest has to be waited for.
    struct Partly {
        bytes: Vec<u8>,
        here: u64,
    }

    impl ReadAt for Partly {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            assert!(offset >= self.here, "what is here was waited for");
            self.bytes.read_at(buf, offset)
        }

        fn read_at_once(&self, buf: &mut [u8], offset: u64) -> Option<io::Result<usize>> {
            let few = self.here.checked_sub(offset).filter(|left| *left > 0)?.min(100_000).min(buf.len() as u64);
            Some(self.bytes.read_at(&mut buf[..few as usize], offset))
        }
    }

    #[tokio::test]
    async fn every_range_arrives_exactly_wherever_it_has_to_be_waited_for() {
        let all = bytes(3 * BLOCK + 7);
        for here in [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 5, 3 * BLOCK + 7] {
            every_range_arrives(&all, Arc::new(Partly { bytes: all.clone(), here })).await;
        }
        every_range_arrives(&all, Arc::new(all.clone())).await;
    }

    async fn every_range_arrives(all: &[u8], file: Arc<dyn ReadAt>) {
        for range in [
            0..0,
            0..1,
            5..5,
            0..BLOCK - 1,
            0..BLOCK,
            0..BLOCK + 1,
            1..BLOCK + 1,
            BLOCK..3 * BLOCK,
            17..3 * BLOCK + 7,
            0..3 * BLOCK + 7,
        ] {
            let body = FileBody::open(file.clone(), range.clone()).await.unwrap();
            assert_eq!(body.size_hint().exact(), Some(range.end - range.start));
            assert_eq!(body.is_end_stream(), range.is_empty());
            let sent = body.collect().await.unwrap().to_bytes();
            assert!(sent == all[range.start as usize..range.end as usize], "{range:?}");
        }
    }

    #[tokio::test]
    async fn a_small_file_is_one_frame_that_ends_the_body() {
        let mut body = FileBody::open(Arc::new(bytes(BLOCK)), 0..BLOCK).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((frame.len() as u64, body.is_end_stream()), (BLOCK, true));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_costs_one_block_and_one_more_once_it_takes() {
        let file = Arc::new(Watched { bytes: bytes(5 * BLOCK), read: AtomicU64::new(0) });
        let mut body = FileBody::open(file.clone(), 0..5 * BLOCK).await.unwrap();
        assert_eq!(file.read.load(Ordering::SeqCst), BLOCK);
        for taken in 1..=5 {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.data_ref().unwrap().len() as u64, BLOCK);
            let read = file.read.load(Ordering::SeqCst);
            assert!((taken * BLOCK..=(taken + 1) * BLOCK).contains(&read), "{taken} taken, {read} read");
        }
    }

    #[tokio::test]
    async fn the_memory_of_a_written_block_is_used_again_and_a_kept_one_is_left_alone() {
        let all = bytes(4 * BLOCK);
        let mut body = FileBody::open(Arc::new(all.clone()), 0..4 * BLOCK).await.unwrap();
        let (mut seen, mut squatters) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            seen.push(body.frame().await.unwrap().unwrap().into_data().unwrap().as_ptr() as usize);
            // Takes the memory if it was given back to the allocator.
            squatters.push(vec![1_u8; BLOCK_BYTES]);
        }
        assert_eq!((seen[0], seen[1]), (seen[2], seen[3]));

        let mut body = FileBody::open(Arc::new(all.clone()), 0..4 * BLOCK).await.unwrap();
        let mut kept = Vec::new();
        while let Some(frame) = body.frame().await {
            kept.push(frame.unwrap().into_data().unwrap());
        }
        assert!(kept.concat() == all);
    }

    #[tokio::test]
    async fn a_file_that_is_shorter_than_promised_fails_and_is_never_padded() {
        let file: Arc<dyn ReadAt> = Arc::new(bytes(BLOCK + 10));
        assert!(FileBody::open(file.clone(), BLOCK..BLOCK + 11).await.is_err());

        let mut body = FileBody::open(file, 0..BLOCK + 11).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), BLOCK_BYTES);
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(body.frame().await.is_none());
        assert!(!body.is_end_stream());
    }
}
