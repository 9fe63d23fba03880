//! A file that a database lives in.

use super::read_at::ReadAt;
use std::io;

/// Positioned reads and writes with explicit durability. Calls block.
pub trait RandomAccess: ReadAt {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts, or extends with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written so far durable.
    fn sync(&self) -> io::Result<()>;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
