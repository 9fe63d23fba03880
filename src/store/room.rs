//! Room on a folder's file system: how much is kept free, and what was refused for lack of it.
//!
//! Raises no alarm: it remembers the last refusal, for whoever tells people.

use super::disk::{RootId, SharedDisk};
use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

/// Taking up this much would leave too little. Wrapped in an [`io::Error`] of kind `StorageFull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for {size_bytes} bytes: {available_bytes} are free, and {reserve_bytes} of them are kept free")]
pub struct NoRoom {
    /// What was to be stored.
    pub size_bytes: u64,
    /// What is free.
    pub available_bytes: u64,
    /// What is kept free.
    pub reserve_bytes: u64,
}

impl From<NoRoom> for io::Error {
    fn from(refused: NoRoom) -> Self {
        Self::new(io::ErrorKind::StorageFull, refused)
    }
}

/// The room of one folder.
pub(super) struct Room {
    disk: SharedDisk,
    root: RootId,
    reserve: AtomicU64,
    /// One more than the size that was refused last; 0 if nothing was.
    refused: AtomicU64,
}

impl Room {
    pub(super) fn new(disk: SharedDisk, root: RootId) -> Self {
        Self { disk, root, reserve: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    pub(super) fn keep_free(&self, bytes: u64) {
        self.reserve.store(bytes, Ordering::Relaxed);
    }

    /// Refuses what would touch the reserve. Where nothing is kept free, the file system itself decides.
    pub(super) fn claim(&self, size_bytes: u64) -> io::Result<()> {
        if self.reserve.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let judged = self.judge(size_bytes)?;
        self.note(size_bytes, judged.map_err(io::Error::from))
    }

    /// Remembers a refusal, the file system's own too.
    pub(super) fn note<T>(&self, size_bytes: u64, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            self.refused.store(size_bytes.saturating_add(1), Ordering::Relaxed);
        }
        result
    }

    /// What was refused last, if there still is no room for it.
    pub(super) fn shortage(&self) -> io::Result<Option<NoRoom>> {
        let Some(size_bytes) = self.refused.load(Ordering::Relaxed).checked_sub(1) else { return Ok(None) };
        let shortage = self.judge(size_bytes)?.err();
        if shortage.is_none() {
            self.refused.store(0, Ordering::Relaxed);
        }
        Ok(shortage)
    }

    fn judge(&self, size_bytes: u64) -> io::Result<Result<(), NoRoom>> {
        let reserve_bytes = self.reserve.load(Ordering::Relaxed);
        let available_bytes = self.disk.space(self.root)?.available;
        let fits = available_bytes >= size_bytes.saturating_add(reserve_bytes);
        Ok(if fits { Ok(()) } else { Err(NoRoom { size_bytes, available_bytes, reserve_bytes }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::{Disk, simulated::SimulatedDisk};
    use std::{path::Path, sync::Arc};

    fn room(available: u64, reserve: u64) -> (SimulatedDisk, Room) {
        let disk = SimulatedDisk::new();
        let root = disk.open_root(Path::new("/srv"), true).unwrap();
        disk.set_available(available);
        let room = Room::new(Arc::new(disk.clone()), root);
        room.keep_free(reserve);
        (disk, room)
    }

    #[test]
    fn what_would_touch_the_reserve_is_refused_until_there_is_room() {
        let (disk, room) = room(1_000, 100);
        room.claim(900).unwrap();
        assert_eq!(room.shortage().unwrap(), None);
        assert_eq!(room.claim(901).unwrap_err().kind(), io::ErrorKind::StorageFull);
        let shortage = NoRoom { size_bytes: 901, available_bytes: 1_000, reserve_bytes: 100 };
        assert_eq!(room.shortage().unwrap(), Some(shortage));
        disk.set_available(1_001);
        assert_eq!(room.shortage().unwrap(), None);
    }

    #[test]
    fn a_full_file_system_is_remembered_like_a_refusal() {
        let (disk, room) = room(10, 0);
        room.claim(900).unwrap();
        let full: io::Result<()> = Err(io::ErrorKind::StorageFull.into());
        assert!(room.note(900, full).is_err());
        assert!(room.shortage().unwrap().is_some());
        disk.set_available(900);
        assert_eq!(room.shortage().unwrap(), None);
        let other: io::Result<()> = Err(io::ErrorKind::PermissionDenied.into());
        assert!(room.note(1 << 50, other).is_err());
        assert_eq!(room.shortage().unwrap(), None);
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let (_disk, room) = room(10, u64::MAX);
        assert!(room.claim(u64::MAX).is_err());
        assert!(room.shortage().unwrap().is_some());
    }
}
