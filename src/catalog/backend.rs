//! Lets redb live in any file that the daemon hands in.

use crate::base::random_access::RandomAccess;
use redb::StorageBackend;
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// redb's view of a [`RandomAccess`].
pub(super) struct Backend {
    file: Arc<dyn RandomAccess>,
    /// Set by the first operation that fails, and never taken back.
    failed: Arc<AtomicBool>,
}

impl Backend {
    pub(super) fn new(file: Arc<dyn RandomAccess>, failed: Arc<AtomicBool>) -> Self {
        Self { file, failed }
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.note(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(self.file.read_exact_at(out, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.file.write_all_at(data, offset))
    }
}
