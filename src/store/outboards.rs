//! Hash trees of the blobs above one group, as files in the state directory.
//!
//! An outboard is a cache: it can be computed again from the blob, whoever reads through it checks
//! what it says against the blob's root, and so it is never synced. Only its length is checked here.

use super::{
    disk::{DiskFile, Open, Replace, RootId, SharedDisk},
    layout,
    tree::outboard_len,
};
use crate::{base::read_at::ReadAt, domain::digest::Root};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// One read while copying, in bytes.
const BLOCK_BYTES: u64 = 256 << 10;

/// The outboards of every folder's blobs.
pub struct Outboards {
    disk: SharedDisk,
    state: RootId,
    next: AtomicU64,
}

/// An outboard that is being made. What is neither adopted nor discarded is swept at the next start.
pub struct NewOutboard {
    path: String,
    file: Arc<dyn DiskFile>,
}

impl NewOutboard {
    /// The empty file to write it to.
    pub fn file(&self) -> &dyn DiskFile {
        &*self.file
    }
}

impl Outboards {
    /// Prepares the directories in the state directory and sweeps what an earlier run was making. There
    /// is one opener at a time.
    pub fn open(disk: SharedDisk, state: RootId) -> io::Result<Self> {
        for directory in [layout::OUTBOARDS, layout::NEW_OUTBOARDS] {
            disk.make_directory(state.at(directory))?;
        }
        let mut left = Vec::new();
        disk.list(state.at(layout::NEW_OUTBOARDS), &mut |name, _| left.extend(layout::number_of(name)))?;
        for number in left {
            disk.remove(state.at(&layout::new_outboard(number)))?;
        }
        Ok(Self { disk, state, next: AtomicU64::new(0) })
    }

    /// The outboard of a blob of `size` bytes; none if it has none, or one of another length.
    pub fn read(&self, root: Root, size: u64) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let len = outboard_len(size);
        if len == 0 {
            return Ok(None);
        }
        match self.disk.open(self.state.at(&layout::outboard(root)), Open::Read) {
            Ok(file) => Ok((file.stat()?.size == len).then_some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Begins the outboard of a blob of `size` bytes whose root need not be known yet; none if a blob of
    /// that size needs none.
    pub fn begin(&self, size: u64) -> io::Result<Option<NewOutboard>> {
        if outboard_len(size) == 0 {
            return Ok(None);
        }
        let path = layout::new_outboard(self.next.fetch_add(1, Ordering::Relaxed));
        let file = self.disk.open(self.state.at(&path), Open::CreateNew)?;
        Ok(Some(NewOutboard { path, file }))
    }

    /// Makes a finished outboard that of the blob `root`.
    pub fn adopt(&self, new: NewOutboard, root: Root) -> io::Result<()> {
        self.disk.make_directory(self.state.at(&layout::outboard_directory(root)))?;
        self.disk.rename(self.state.at(&new.path), self.state.at(&layout::outboard(root)), Replace::Yes)
    }

    /// Drops an outboard that is not wanted after all.
    pub fn discard(&self, new: NewOutboard) -> io::Result<()> {
        self.disk.remove(self.state.at(&new.path))
    }

    /// Writes the outboard of the blob `root` of `size` bytes from another place.
    pub fn write(&self, root: Root, size: u64, from: &dyn ReadAt) -> io::Result<()> {
        let Some(new) = self.begin(size)? else { return Ok(()) };
        match copy(from, outboard_len(size), new.file()) {
            Ok(()) => self.adopt(new, root),
            Err(e) => {
                self.discard(new)?;
                Err(e)
            }
        }
    }

    /// Forgets a blob's outboard; `Ok` if it has none.
    pub fn remove(&self, root: Root) -> io::Result<()> {
        match self.disk.remove(self.state.at(&layout::outboard(root))) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

fn copy(from: &dyn ReadAt, len: u64, to: &dyn DiskFile) -> io::Result<()> {
    let mut block = vec![0; usize::try_from(BLOCK_BYTES.min(len)).unwrap_or(0)];
    for offset in (0..len).step_by(BLOCK_BYTES as usize) {
        let rest = usize::try_from(len - offset).unwrap_or(usize::MAX);
        let n = block.len().min(rest);
        from.read_exact_at(&mut block[..n], offset)?;
        to.write_all_at(&block[..n], offset)?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::{
        disk::{Disk, real::RealDisk},
        hash::hash_file,
        tree::tests::{blob, outboard_of},
    };
    use std::path::Path;

    pub(crate) fn outboards_in(directory: &Path) -> Outboards {
        let disk = RealDisk::new();
        let state = disk.open_root(directory, true).unwrap();
        Outboards::open(Arc::new(disk), state).unwrap()
    }

    fn read(outboards: &Outboards, root: Root, size: u64) -> Option<Vec<u8>> {
        let file = outboards.read(root, size).unwrap()?;
        let mut bytes = vec![0; file.stat().unwrap().size as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        Some(bytes)
    }

    #[test]
    fn an_outboard_made_while_hashing_is_found_by_its_root() {
        let directory = tempfile::tempdir().unwrap();
        let outboards = outboards_in(directory.path());
        let data = blob(1, 200_000);
        let new = outboards.begin(200_000).unwrap().unwrap();
        let hashed = hash_file(&data, 200_000, false, Some(new.file()), &mut |_| {}).unwrap();
        outboards.adopt(new, hashed.root).unwrap();
        assert_eq!(read(&outboards, hashed.root, 200_000), Some(outboard_of(&data).0));
        outboards.remove(hashed.root).unwrap();
        outboards.remove(hashed.root).unwrap();
        assert_eq!(read(&outboards, hashed.root, 200_000), None);
    }

    #[test]
    fn a_blob_of_one_group_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let outboards = outboards_in(directory.path());
        let root = Root([1; 32]);
        assert!(outboards.begin(65_536).unwrap().is_none());
        outboards.write(root, 65_536, &Vec::new()).unwrap();
        assert!(outboards.read(root, 65_536).unwrap().is_none());
    }

    #[test]
    fn an_outboard_of_another_length_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let outboards = outboards_in(directory.path());
        let root = Root([1; 32]);
        outboards.write(root, 65_537, &vec![0; 64]).unwrap();
        assert!(read(&outboards, root, 65_537).is_some());
        assert!(read(&outboards, root, 65_537 + 65_536).is_none());
        assert!(outboards.write(root, 200_000, &vec![0; 100]).is_err());
        assert!(read(&outboards, root, 65_537).is_some());
    }

    #[test]
    fn what_a_killed_run_was_making_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        outboards_in(directory.path()).begin(100_000).unwrap();
        let new = directory.path().join(layout::NEW_OUTBOARDS);
        assert_eq!(std::fs::read_dir(&new).unwrap().count(), 1);
        outboards_in(directory.path());
        assert_eq!(std::fs::read_dir(&new).unwrap().count(), 0);
    }
}
