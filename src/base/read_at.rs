//! Reads at a position, shared by files on disk and by bytes in memory.

use std::{io, ops::Range, os::fd::BorrowedFd};

/// Bytes that can be read from any offset by several readers at once. Calls block.
pub trait ReadAt: Send + Sync {
    /// Reads up to `buf.len()` bytes at `offset`; 0 means that the bytes end at or before `offset`.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// As [`ReadAt::read_at`], and never waits for a disk: `None` where it would have to, or where that can't be
    /// told. Fewer bytes than asked for say nothing about where the bytes end.
    fn read_at_once(&self, _buf: &mut [u8], _offset: u64) -> Option<io::Result<usize>> {
        None
    }

    /// Whether [`ReadAt::send_at`] can send these bytes, and as far as can be told without waiting for a disk.
    fn is_sendable(&self, _range: &Range<u64>) -> bool {
        false
    }

    /// Has the kernel send up to `len` bytes at `offset` to a connected socket, without a copy; 0 means that the
    /// bytes end at or before `offset`, `WouldBlock` that the socket takes nothing now. `Unsupported` where only
    /// reading is possible.
    fn send_at(&self, _socket: BorrowedFd<'_>, _offset: u64, _len: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Fills `buf` from `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buf = &mut buf[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(rest) = usize::try_from(offset).ok().and_then(|at| self.get(at..)) else { return Ok(0) };
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, and is interrupted before each.
    struct Slow(std::sync::atomic::AtomicUsize);

    impl ReadAt for Slow {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            if self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(2) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            b"slow".to_vec().read_at(&mut buf[..1], offset)
        }
    }

    #[test]
    fn bytes_end_where_they_end() {
        let bytes = b"12345".to_vec();
        let mut buf = [0; 4];
        assert_eq!((bytes.read_at(&mut buf, 2).unwrap(), &buf), (3, b"345\0"));
        for beyond in [5, 6, u64::MAX] {
            assert_eq!(bytes.read_at(&mut buf, beyond).unwrap(), 0);
        }
        assert_eq!(bytes.read_exact_at(&mut buf, 2).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_exact_read_goes_on_after_short_and_interrupted_ones() {
        let mut buf = [0; 4];
        Slow(0.into()).read_exact_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"slow");
    }
}
