//! The seam between this daemon and the machine's file systems: about fifteen operations.
//!
//! Paths never appear here: a place is a directory that was opened once and a relative path beneath
//! it, and no operation follows a symbolic link or leaves that directory.

mod path;
pub mod real;
#[cfg(test)]
pub(crate) mod simulated;

use crate::base::read_at::ReadAt;
use std::{io, path::Path, sync::Arc};

/// A directory that was opened by [`Disk::open_root`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootId(pub u32);

/// A place: `path` is relative to `root`, with `/` between components; empty is the root itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At<'a> {
    /// The directory everything stays beneath.
    pub root: RootId,
    /// Where beneath it.
    pub path: &'a str,
}

impl RootId {
    /// The place `path` beneath this root.
    pub fn at(self, path: &str) -> At<'_> {
        At { root: self, path }
    }
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; created if absent.
    Create,
    /// For reading and writing; it must not exist.
    CreateNew,
}

/// What kind of thing has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ordinary file.
    File,
    /// A directory.
    Directory,
    /// A link, socket, pipe or device: never opened.
    Other,
}

/// What the file system knows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Length in bytes.
    pub size: u64,
    /// Last modification, nanoseconds since 1970 UTC.
    pub modified_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Device number; unstable over reboots.
    pub device: u64,
}

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Everything.
    pub total: u64,
    /// What an unprivileged program may still use.
    pub available: u64,
}

/// Whether a rename may replace what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// What has the name is replaced atomically.
    Yes,
    /// `AlreadyExists` if something has the name.
    No,
}

/// The machine's file systems. Calls block.
pub trait Disk: Send + Sync {
    /// Opens a directory; with `create`, makes it (and its parents) first, mode 0750.
    fn open_root(&self, path: &Path, create: bool) -> io::Result<RootId>;
    /// Looks at an absolute path; links are followed, as [`Disk::open_root`] does.
    fn stat_path(&self, path: &Path) -> io::Result<Stat>;
    /// Opens a file; created ones are mode 0640.
    fn open(&self, at: At<'_>, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading as [`Disk::open`] does, and never waits for a disk: `None` where it would have to,
    /// or where that can't be told.
    fn open_at_once(&self, _at: At<'_>) -> Option<io::Result<Arc<dyn DiskFile>>> {
        None
    }
    /// Looks at a name without following a link.
    fn stat(&self, at: At<'_>) -> io::Result<Stat>;
    /// Calls `each` with every name in a directory, `.` and `..` aside, in no order.
    fn list(&self, at: At<'_>, each: &mut dyn FnMut(&[u8], Kind)) -> io::Result<()>;
    /// Makes one directory, mode 0750; `Ok` if it is there already.
    fn make_directory(&self, at: At<'_>) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_directory(&self, at: At<'_>) -> io::Result<()>;
    /// Renames, atomically, within one mount.
    fn rename(&self, from: At<'_>, to: At<'_>, replace: Replace) -> io::Result<()>;
    /// Gives a file a second name.
    fn link(&self, from: At<'_>, to: At<'_>) -> io::Result<()>;
    /// Copies a file's bytes to a new file, sharing extents where the file system can.
    fn copy(&self, from: At<'_>, to: At<'_>) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, at: At<'_>) -> io::Result<()>;
    /// Makes a directory's names durable.
    fn sync_directory(&self, at: At<'_>) -> io::Result<()>;
    /// Makes everything on the root's file system durable (`syncfs`).
    fn sync_all(&self, root: RootId) -> io::Result<()>;
    /// Room on the root's file system.
    fn space(&self, root: RootId) -> io::Result<Space>;
}

/// An open file. Calls block.
pub trait DiskFile: ReadAt {
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Sets the modification time, whole seconds since 1970 UTC.
    fn set_modified(&self, seconds: i64) -> io::Result<()>;
    /// Sets the permission bits.
    fn set_mode(&self, mode: u32) -> io::Result<()>;
    /// Locks the file against every other opening of it, for as long as it is open; `false` if it is
    /// locked already.
    fn try_lock(&self) -> io::Result<bool>;
    /// Makes the file's bytes durable.
    fn sync(&self) -> io::Result<()>;
    /// What the file system knows of it.
    fn stat(&self) -> io::Result<Stat>;
    /// Lets go of what memory keeps of `len` bytes from `offset` (0: to the end), so that the next reading
    /// comes from the disk, and one long reading does not drive out what others use. Best effort.
    fn drop_cached(&self, _offset: u64, _len: u64) {}
}

/// The disk that is handed around.
pub type SharedDisk = Arc<dyn Disk>;
