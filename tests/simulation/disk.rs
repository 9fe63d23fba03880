//! The machine's disk without waiting for it: nodes are killed here, but the machine never loses power.

use std::{io, path::Path, sync::Arc};
use wuasync::{
    base::read_at::ReadAt,
    store::disk::{At, Disk, DiskFile, Kind, Open, Replace, RootId, Space, Stat, real::RealDisk},
};

#[derive(Default)]
pub struct Hasty(RealDisk);

struct HastyFile(Arc<dyn DiskFile>);

impl Disk for Hasty {
    fn open_root(&self, path: &Path, create: bool) -> io::Result<RootId> {
        self.0.open_root(path, create)
    }

    fn stat_path(&self, path: &Path) -> io::Result<Stat> {
        self.0.stat_path(path)
    }

    fn open(&self, at: At<'_>, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(HastyFile(self.0.open(at, how)?)))
    }

    fn stat(&self, at: At<'_>) -> io::Result<Stat> {
        self.0.stat(at)
    }

    fn list(&self, at: At<'_>, each: &mut dyn FnMut(&[u8], Kind)) -> io::Result<()> {
        let mut all = Vec::new();
        self.0.list(at, &mut |name, kind| all.push((name.to_owned(), kind)))?;
        // The same order on every machine.
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.iter().for_each(|(name, kind)| each(name, *kind));
        Ok(())
    }

    fn make_directory(&self, at: At<'_>) -> io::Result<()> {
        self.0.make_directory(at)
    }

    fn remove_directory(&self, at: At<'_>) -> io::Result<()> {
        self.0.remove_directory(at)
    }

    fn rename(&self, from: At<'_>, to: At<'_>, replace: Replace) -> io::Result<()> {
        self.0.rename(from, to, replace)
    }

    fn link(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        self.0.link(from, to)
    }

    fn copy(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        self.0.copy(from, to)
    }

    fn remove(&self, at: At<'_>) -> io::Result<()> {
        self.0.remove(at)
    }

    fn sync_directory(&self, _: At<'_>) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self, _: RootId) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, root: RootId) -> io::Result<Space> {
        self.0.space(root)
    }
}

impl ReadAt for HastyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
}

impl DiskFile for HastyFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn set_modified(&self, seconds: i64) -> io::Result<()> {
        self.0.set_modified(seconds)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.0.set_mode(mode)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn stat(&self) -> io::Result<Stat> {
        self.0.stat()
    }
}
