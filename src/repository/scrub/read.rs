//! One file is read again, whole, and proven against its root; what fails is taken out of service.

use super::super::{
    error::RepositoryError,
    find::{holds, is_absent},
    open::Repository,
    quarantine::Quarantined,
};
use crate::{
    base::read_at::ReadAt,
    catalog::HoldingRecord,
    domain::name::{FileName, FolderName},
    store::{
        disk::DiskFile,
        segment::GROUP_BYTES,
        verified::{outboard_is_whole, verify},
    },
};
use rustix::io::Errno;
use std::{
    io,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

/// Places of one file that the disk can't read before the rest of it is not tried: each costs a disk
/// that retries by itself some seconds.
const MAX_UNREADABLE: usize = 16;
/// Stands for bytes that can't be read: no good file has them there.
const UNREADABLE: u8 = 0xee;

/// Called with the bytes of each piece that was read; may block, to rest. `false` stops the reading.
pub type Rest<'r> = dyn FnMut(u64) -> bool + Send + 'r;

/// What reading a file again came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scrubbed {
    /// It is no holding.
    NotHeld,
    /// It is what was verified.
    Whole {
        /// Its length in bytes.
        bytes: u64,
    },
    /// It was edited or removed, or is being written; whoever tends the folder looks at it.
    Changed,
    /// It can't be opened.
    Unopened(String),
    /// It was damaged, and is in the trash.
    Damaged {
        /// Its length in bytes.
        bytes: u64,
        /// How many groups of 64 KiB were bad.
        groups: u64,
        /// Whether its content is wanted, and so fetched again.
        wanted: bool,
    },
    /// `rest` said so.
    Stopped,
}

impl Repository {
    /// Reads a holding again and proves every group of it. One that fails, or that the disk can't read, is
    /// taken out of service: its row goes, then its bytes go to the trash. Blocks; holds no more than a
    /// few groups in memory.
    pub fn scrub_file(
        &self,
        folder: &FolderName,
        name: &FileName,
        rest: &mut Rest<'_>,
    ) -> Result<Scrubbed, RepositoryError> {
        let Some(holding) = self.state.index.read()?.holding(folder, name)? else { return Ok(Scrubbed::NotHeld) };
        let file = match self.folder(folder)?.staging.open_file(name) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => {
                self.note_fault(folder, name);
                return Ok(Scrubbed::Changed);
            }
            Err(error) => return Ok(Scrubbed::Unopened(error.to_string())),
        };
        let is_held = || {
            let stat = file.stat().map_err(RepositoryError::io("looking at", name))?;
            Ok::<_, RepositoryError>(holds(&stat, &holding))
        };
        if !is_held()? {
            self.note_fault(folder, name);
            return Ok(Scrubbed::Changed);
        }
        let bad = match self.bad_groups(file.as_ref(), name, &holding, rest)? {
            Some(bad) => bad,
            None => return Ok(Scrubbed::Stopped),
        };
        if !is_held()? {
            self.note_fault(folder, name);
            return Ok(Scrubbed::Changed);
        }
        let bytes = holding.size;
        if bad == 0 {
            self.clear_damaged(folder, name);
            return Ok(Scrubbed::Whole { bytes });
        }
        Ok(match self.quarantine(folder, name, &holding, bad)? {
            Quarantined::Gone(wanted) => Scrubbed::Damaged { bytes, groups: bad, wanted },
            Quarantined::Changed => Scrubbed::Changed,
        })
    }

    /// How many groups of a file are bad; `None` if the reading was stopped.
    fn bad_groups(
        &self,
        file: &dyn DiskFile,
        name: &FileName,
        holding: &HoldingRecord,
        rest: &mut Rest<'_>,
    ) -> Result<Option<u64>, RepositoryError> {
        let (root, size) = (holding.root, holding.size);
        let outboards = &self.state.outboards;
        let tree_error = || RepositoryError::io("reading the hash tree of", name);
        let outboard = outboards.read(root, size).map_err(tree_error())?;
        file.drop_cached(0, 0);
        let reading = Reading::new(file, rest);
        let outboard = outboard.as_deref().map(|outboard| outboard as &dyn ReadAt);
        let bad = match verify(&reading, outboard, root, size) {
            Ok(bad) => groups_in(&bad),
            Err(_) if reading.is_stopped() => return Ok(None),
            Err(error) if is_unreadable(&error) => 1,
            Err(error) => return Err(RepositoryError::io("reading", name)(error)),
        };
        let unreadable = reading.unreadable.load(Relaxed) as u64;
        if bad == 0
            && let Some(outboard) = outboard
            && !outboard_is_whole(outboard, root, size).map_err(tree_error())?
        {
            tracing::warn!(%name, "a file's hash tree was damaged; it is made again");
            outboards.remove(root).map_err(tree_error())?;
        }
        Ok(Some(bad.max(u64::from(unreadable > 0))))
    }
}

fn groups_in(bad: &[Range<u64>]) -> u64 {
    // A wrong file of no bytes is bad as a range of none.
    bad.iter().map(|range| (range.end - range.start).div_ceil(GROUP_BYTES).max(1)).sum()
}

fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

/// A file under reading: rests between its pieces, and reads on behind places that the disk can't read.
struct Reading<'f, 'r, 'c> {
    file: &'f dyn DiskFile,
    rest: Mutex<&'r mut Rest<'c>>,
    stopped: AtomicBool,
    unreadable: AtomicUsize,
}

impl<'f, 'r, 'c> Reading<'f, 'r, 'c> {
    fn new(file: &'f dyn DiskFile, rest: &'r mut Rest<'c>) -> Self {
        Self { file, rest: Mutex::new(rest), stopped: AtomicBool::new(false), unreadable: AtomicUsize::new(0) }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }
}

impl ReadAt for Reading<'_, '_, '_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.is_stopped() {
            return Err(io::Error::other("stopped"));
        }
        let read = match self.file.read_at(buf, offset) {
            Err(error) if is_unreadable(&error) && self.unreadable.fetch_add(1, Relaxed) < MAX_UNREADABLE => {
                buf.fill(UNREADABLE);
                buf.len()
            }
            read => read?,
        };
        self.file.drop_cached(offset, read as u64);
        let go_on = (self.rest.lock().unwrap_or_else(PoisonError::into_inner))(read as u64);
        if !go_on {
            self.stopped.store(true, Relaxed);
            return Err(io::Error::other("stopped"));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
