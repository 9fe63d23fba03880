//! The machine's file systems, through `openat2`, so that no path leaves its root or follows a link.
//!
//! Owns one descriptor for every root, for as long as the process runs; a root is never given back,
//! and a renamed root directory is followed, not its name.

use super::{At, Disk, DiskFile, Kind, Open, Replace, RootId, Space, Stat, path};
use crate::base::read_at::ReadAt;
use rustix::{
    fd::{BorrowedFd, OwnedFd},
    fs::{
        self, AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Timespec, Timestamps,
        UTIME_OMIT,
    },
    io::{Errno, ReadWriteFlags, preadv2, retry_on_intr},
};
use std::{
    fs::{DirBuilder, File},
    io::{self, IoSliceMut},
    num::NonZeroU64,
    ops::Range,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

/// Owner reads and writes, group reads: a web server in the daemon's group may serve the files.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// Only what the kernel's cache of names knows (Linux 5.12).
const AT_ONCE: ResolveFlags = BENEATH.union(ResolveFlags::CACHED);
/// File systems that are memory, as `statfs` has them: linux/magic.h.
const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The machine's disks. Roots are shared by everybody who holds it.
#[derive(Debug, Default)]
pub struct RealDisk {
    /// Only ever grows, so that a [`RootId`] stays what it was.
    roots: RwLock<Vec<Arc<OwnedFd>>>,
}

impl RealDisk {
    /// A disk with no root opened yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn root(&self, id: RootId) -> io::Result<Arc<OwnedFd>> {
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        roots.get(id.0 as usize).cloned().ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// The directory itself; the root's own descriptor where the path is empty.
    fn directory(&self, root: RootId, path: &str) -> io::Result<Arc<OwnedFd>> {
        path::check(path)?;
        let root = self.root(root)?;
        if path.is_empty() { Ok(root) } else { Ok(Arc::new(open_beneath(&root, path, DIRECTORY)?)) }
    }

    /// The directory that holds a name, and the name in it.
    fn parent<'a>(&self, at: At<'a>) -> io::Result<(Arc<OwnedFd>, &'a str)> {
        let (parent, name) = path::split(at.path)?;
        Ok((self.directory(at.root, parent)?, name))
    }

    fn open_file(&self, at: At<'_>, how: Open) -> io::Result<RealFile> {
        path::check(at.path)?;
        let root = self.root(at.root)?;
        let place = if at.path.is_empty() { "." } else { at.path };
        let opened = open_beneath(&root, place, flags(how))?;
        // What is made here, and only here, is a regular file.
        if how == Open::CreateNew { Ok(RealFile(opened.into())) } else { regular(opened) }
    }
}

fn regular(opened: OwnedFd) -> io::Result<RealFile> {
    let file = RealFile(opened.into());
    match file.stat()?.kind {
        Kind::File => Ok(file),
        Kind::Directory => Err(io::ErrorKind::IsADirectory.into()),
        Kind::Other => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// `NONBLOCK`: opening a pipe would otherwise wait for its other end. It means nothing to regular files.
fn flags(how: Open) -> OFlags {
    let access = match how {
        Open::Read => OFlags::RDONLY,
        Open::Write => OFlags::RDWR,
        Open::Create => OFlags::RDWR | OFlags::CREATE,
        Open::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
    };
    access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY
}

fn open_beneath(root: &OwnedFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(FILE_MODE) } else { Mode::empty() };
    match retry_on_intr(|| fs::openat2(root, path, flags, mode, BENEATH)) {
        Err(Errno::LOOP) => Err(io::Error::new(io::ErrorKind::InvalidInput, "a symbolic link")),
        opened => Ok(opened?),
    }
}

impl Disk for RealDisk {
    fn open_root(&self, path: &Path, create: bool) -> io::Result<RootId> {
        if create {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        }
        let directory = retry_on_intr(|| fs::open(path, DIRECTORY, Mode::empty()))?;
        let mut roots = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        let id = u32::try_from(roots.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        roots.push(Arc::new(directory));
        Ok(RootId(id))
    }

    fn stat_path(&self, path: &Path) -> io::Result<Stat> {
        Ok(stat_of(&retry_on_intr(|| fs::stat(path))?))
    }

    fn open(&self, at: At<'_>, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.open_file(at, how)?))
    }

    /// An older kernel refuses the flag, another file system may refuse the way.
    fn open_at_once(&self, at: At<'_>) -> Option<io::Result<Arc<dyn DiskFile>>> {
        path::check(at.path).ok()?;
        let root = self.root(at.root).ok()?;
        let opened = fs::openat2(&*root, at.path, flags(Open::Read), Mode::empty(), AT_ONCE).ok()?;
        Some(regular(opened).map(|file| Arc::new(file) as _))
    }

    fn stat(&self, at: At<'_>) -> io::Result<Stat> {
        if at.path.is_empty() {
            let root = self.root(at.root)?;
            return Ok(stat_of(&retry_on_intr(|| fs::fstat(&*root))?));
        }
        let (parent, name) = self.parent(at)?;
        Ok(stat_of(&retry_on_intr(|| fs::statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW))?))
    }

    fn list(&self, at: At<'_>, each: &mut dyn FnMut(&[u8], Kind)) -> io::Result<()> {
        let directory = self.directory(at.root, at.path)?;
        // A stream of its own, so that two listings of one root do not share a position.
        let mut stream = fs::Dir::new(open_beneath(&directory, ".", DIRECTORY)?)?;
        while let Some(entry) = stream.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            match kind_of_entry(&directory, &entry) {
                Ok(kind) => each(name, kind),
                Err(Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn make_directory(&self, at: At<'_>) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        match retry_on_intr(|| fs::mkdirat(&*parent, name, Mode::from_raw_mode(DIRECTORY_MODE))) {
            Err(Errno::EXIST) if self.stat(at)?.kind == Kind::Directory => Ok(()),
            made => Ok(made?),
        }
    }

    fn remove_directory(&self, at: At<'_>) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        Ok(retry_on_intr(|| fs::unlinkat(&*parent, name, AtFlags::REMOVEDIR))?)
    }

    fn rename(&self, from: At<'_>, to: At<'_>, replace: Replace) -> io::Result<()> {
        let (from_parent, from_name) = self.parent(from)?;
        let (to_parent, to_name) = self.parent(to)?;
        let flags = match replace {
            Replace::Yes => RenameFlags::empty(),
            Replace::No => RenameFlags::NOREPLACE,
        };
        match retry_on_intr(|| fs::renameat_with(&*from_parent, from_name, &*to_parent, to_name, flags)) {
            // Some file systems (NFS, older ZFS) know no NOREPLACE; a second name never replaces either.
            Err(Errno::INVAL) if replace == Replace::No => {
                self.link(from, to)?;
                self.remove(from)
            }
            renamed => Ok(renamed?),
        }
    }

    fn link(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let (from_parent, from_name) = self.parent(from)?;
        let (to_parent, to_name) = self.parent(to)?;
        Ok(retry_on_intr(|| fs::linkat(&*from_parent, from_name, &*to_parent, to_name, AtFlags::empty()))?)
    }

    fn copy(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let source = self.open_file(from, Open::Read)?;
        let target = self.open_file(to, Open::CreateNew)?;
        if fs::ioctl_ficlone(&target.0, &source.0).is_ok() {
            return Ok(());
        }
        // The standard library's copy uses copy_file_range where both ends know it.
        let copied = io::copy(&mut &source.0, &mut &target.0);
        if copied.is_err() {
            self.remove(to)?;
        }
        copied.map(drop)
    }

    fn remove(&self, at: At<'_>) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        Ok(retry_on_intr(|| fs::unlinkat(&*parent, name, AtFlags::empty()))?)
    }

    fn sync_directory(&self, at: At<'_>) -> io::Result<()> {
        let directory = self.directory(at.root, at.path)?;
        Ok(retry_on_intr(|| fs::fsync(&*directory))?)
    }

    fn sync_all(&self, root: RootId) -> io::Result<()> {
        let root = self.root(root)?;
        Ok(retry_on_intr(|| fs::syncfs(&*root))?)
    }

    fn space(&self, root: RootId) -> io::Result<Space> {
        let root = self.root(root)?;
        let room = retry_on_intr(|| fs::fstatvfs(&*root))?;
        Ok(Space {
            total: room.f_blocks.saturating_mul(room.f_frsize),
            available: room.f_bavail.saturating_mul(room.f_frsize),
        })
    }
}

fn kind_of_entry(directory: &OwnedFd, entry: &fs::DirEntry) -> rustix::io::Result<Kind> {
    match entry.file_type() {
        // Not every file system writes the type into the directory.
        FileType::Unknown => retry_on_intr(|| fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW))
            .map(|stat| kind_of(FileType::from_raw_mode(stat.st_mode))),
        known => Ok(kind_of(known)),
    }
}

fn kind_of(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => Kind::Other,
    }
}

fn stat_of(stat: &fs::Stat) -> Stat {
    Stat {
        kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add_unsigned(stat.st_mtime_nsec),
        inode: stat.st_ino,
        device: stat.st_dev,
    }
}

/// An open regular file.
#[derive(Debug)]
struct RealFile(File);

impl ReadAt for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buf, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// tmpfs does not know the flag, and does not need it.
    fn read_at_once(&self, buf: &mut [u8], offset: u64) -> Option<io::Result<usize>> {
        match preadv2(&self.0, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => Some(Ok(read)),
            Err(Errno::OPNOTSUPP) if is_memory(&self.0) => Some(self.read_at(buf, offset)),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::AGAIN | Errno::INTR) => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    /// By its last byte: what is read or written in order leaves the kernel's memory in order, too.
    fn is_sendable(&self, range: &Range<u64>) -> bool {
        let last = range.end.checked_sub(1).filter(|last| *last >= range.start);
        last.is_some_and(|last| matches!(self.read_at_once(&mut [0], last), Some(Ok(1))))
    }

    fn send_at(&self, socket: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<usize> {
        match retry_on_intr(|| fs::sendfile(socket, &self.0, Some(&mut { offset }), len)) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
            sent => Ok(sent?),
        }
    }
}

fn is_memory(file: &File) -> bool {
    fs::fstatfs(file).is_ok_and(|stat| [TMPFS, RAMFS].contains(&stat.f_type))
}

impl DiskFile for RealFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn set_modified(&self, seconds: i64) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
        };
        Ok(retry_on_intr(|| fs::futimens(&self.0, &times))?)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::fchmod(&self.0, Mode::from_raw_mode(mode)))?)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match retry_on_intr(|| fs::flock(&self.0, FlockOperation::NonBlockingLockExclusive)) {
            Err(Errno::WOULDBLOCK) => Ok(false),
            locked => Ok(locked.map(|()| true)?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(stat_of(&retry_on_intr(|| fs::fstat(&self.0))?))
    }

    fn drop_cached(&self, offset: u64, len: u64) {
        // An advice: a file system that does not take it costs memory, nothing else.
        let _ = fs::fadvise(&self.0, offset, NonZeroU64::new(len), fs::Advice::DontNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::BTreeMap,
        os::{fd::AsFd, unix::fs::symlink},
    };

    struct Here {
        disk: RealDisk,
        root: RootId,
        outside: tempfile::TempDir,
        inside: std::path::PathBuf,
    }

    fn here() -> Here {
        let outside = tempfile::tempdir().unwrap();
        let inside = outside.path().join("root");
        let disk = RealDisk::new();
        let root = disk.open_root(&inside, true).unwrap();
        Here { disk, root, outside, inside }
    }

    impl Here {
        fn write(&self, path: &str, bytes: &[u8]) {
            self.disk.open(self.root.at(path), Open::Create).unwrap().write_all_at(bytes, 0).unwrap();
        }

        fn read(&self, path: &str) -> Vec<u8> {
            let file = self.disk.open(self.root.at(path), Open::Read).unwrap();
            let mut bytes = vec![0; file.stat().unwrap().size as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        }
    }

    #[test]
    fn a_link_is_never_followed_wherever_it_stands_and_wherever_it_leads() {
        let here = here();
        let Here { disk, root, outside, inside } = &here;
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        std::fs::create_dir(inside.join("real")).unwrap();
        std::fs::write(inside.join("real/file"), "f").unwrap();
        symlink(outside.path(), inside.join("absolute")).unwrap();
        symlink("..", inside.join("upwards")).unwrap();
        symlink("real", inside.join("sideways")).unwrap();
        symlink("real/file", inside.join("link")).unwrap();
        for path in ["absolute/secret", "upwards/secret", "sideways/file", "link"] {
            for how in [Open::Read, Open::Write, Open::Create] {
                assert!(disk.open(root.at(path), how).is_err(), "{path} {how:?}");
            }
        }
        for path in ["absolute/secret", "upwards/secret", "sideways/file"] {
            assert!(disk.stat(root.at(path)).is_err(), "{path}");
            assert!(disk.remove(root.at(path)).is_err(), "{path}");
            assert!(disk.rename(root.at(path), root.at("x"), Replace::Yes).is_err(), "{path}");
            assert!(disk.rename(root.at("real/file"), root.at(path), Replace::Yes).is_err(), "{path}");
            assert!(disk.link(root.at(path), root.at("x")).is_err(), "{path}");
            assert!(disk.copy(root.at(path), root.at("x")).is_err(), "{path}");
        }
        for path in ["absolute/new", "sideways/new"] {
            assert!(disk.make_directory(root.at(path)).is_err(), "{path}");
        }
        assert!(disk.list(root.at("sideways"), &mut |_, _| {}).is_err());
        assert!(disk.sync_directory(root.at("sideways")).is_err());
        assert_eq!(disk.stat(root.at("link")).unwrap().kind, Kind::Other);
    }

    #[test]
    fn dots_never_lead_out_of_the_root() {
        let here = here();
        let Here { disk, root, outside, .. } = &here;
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        for path in ["..", "../secret", "a/../../secret", ".", "/etc/passwd"] {
            assert!(disk.stat(root.at(path)).is_err(), "{path}");
            assert!(disk.open(root.at(path), Open::Read).is_err(), "{path}");
            assert!(disk.rename(root.at(path), root.at("x"), Replace::Yes).is_err(), "{path}");
        }
    }

    #[test]
    fn a_pipe_is_refused_at_once() {
        let here = here();
        let Here { disk, root, inside, .. } = &here;
        fs::mknodat(fs::CWD, inside.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        for how in [Open::Read, Open::Write, Open::Create] {
            assert!(disk.open(root.at("pipe"), how).is_err(), "{how:?}");
        }
    }

    #[test]
    fn a_lock_keeps_every_other_opening_out_until_it_is_dropped() {
        let here = here();
        here.write("f", b"");
        let open = || here.disk.open(here.root.at("f"), Open::Read).unwrap();
        let first = open();
        assert!(first.try_lock().unwrap());
        assert!(!open().try_lock().unwrap());
        drop(first);
        assert!(open().try_lock().unwrap());
    }

    #[test]
    fn the_kernel_sends_what_is_there_and_says_where_it_ends() {
        let here = here();
        here.write("f", b"0123456789");
        let file = here.disk.open(here.root.at("f"), Open::Read).unwrap();
        let (mine, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        for (range, expected) in [(0..10, true), (9..10, true), (0..11, false), (3..3, false), (0..0, false)] {
            assert_eq!(file.is_sendable(&range), expected, "{range:?}");
        }
        assert_eq!((file.send_at(mine.as_fd(), 2, 3).unwrap(), file.send_at(mine.as_fd(), 8, 9).unwrap()), (3, 2));
        assert_eq!(file.send_at(mine.as_fd(), 10, 5).unwrap(), 0);
        drop(mine);
        assert_eq!(std::io::read_to_string(theirs).unwrap(), "23489");
    }

    #[test]
    fn what_was_just_written_is_opened_and_read_at_once_and_links_are_not() {
        let here = here();
        let Here { disk, root, inside, outside } = &here;
        disk.make_directory(root.at("d")).unwrap();
        here.write("d/f", b"bytes");
        let file = disk.open_at_once(root.at("d/f")).unwrap().unwrap();
        let mut buf = [0; 9];
        assert_eq!((file.read_at_once(&mut buf, 1).unwrap().unwrap(), &buf[..4]), (4, &b"ytes"[..]));
        assert_eq!(file.read_at_once(&mut buf, 5).unwrap().unwrap(), 0);
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        symlink(outside.path(), inside.join("absolute")).unwrap();
        symlink("d", inside.join("sideways")).unwrap();
        for path in ["absolute/secret", "sideways/f", "absolute", "gone", "../secret", "", "d"] {
            assert!(disk.open_at_once(root.at(path)).is_none_or(|opened| opened.is_err()), "{path}");
        }
    }

    #[test]
    fn a_path_is_looked_at_from_the_top() {
        let here = here();
        let found = here.disk.stat_path(&here.inside).unwrap();
        assert_eq!(found, here.disk.stat(here.root.at("")).unwrap());
        assert!(here.disk.stat_path(&here.inside.join("gone")).is_err());
    }

    #[test]
    fn a_directory_is_no_file() {
        let here = here();
        let Here { disk, root, .. } = &here;
        disk.make_directory(root.at("d")).unwrap();
        for path in ["", "d"] {
            let error = disk.open(root.at(path), Open::Read).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        }
    }

    #[test]
    fn a_rename_that_must_not_replace_leaves_both_files_alone() {
        let here = here();
        here.write("a", b"a");
        here.write("b", b"b");
        let refused = here.disk.rename(here.root.at("a"), here.root.at("b"), Replace::No).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(here.read("b"), b"b");
        here.disk.rename(here.root.at("a"), here.root.at("b"), Replace::Yes).unwrap();
        assert_eq!(here.read("b"), b"a");
        here.disk.rename(here.root.at("b"), here.root.at("c"), Replace::No).unwrap();
        assert_eq!(here.disk.stat(here.root.at("b")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_new_file_is_never_an_old_one() {
        let here = here();
        here.write("a", b"a");
        let refused = here.disk.open(here.root.at("a"), Open::CreateNew).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        let missing = here.disk.open(here.root.at("b"), Open::Write).err().unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_listing_tells_files_directories_and_everything_else_apart() {
        let here = here();
        here.write("file", b"");
        here.disk.make_directory(here.root.at("directory")).unwrap();
        symlink("file", here.inside.join("link")).unwrap();
        let mut seen = BTreeMap::new();
        for _ in 0..2 {
            seen.clear();
            here.disk.list(here.root.at(""), &mut |name, kind| seen.extend([(name.to_vec(), kind)])).unwrap();
        }
        let expected = [("directory", Kind::Directory), ("file", Kind::File), ("link", Kind::Other)];
        assert_eq!(seen, expected.map(|(name, kind)| (name.as_bytes().to_vec(), kind)).into());
    }

    #[test]
    fn making_a_directory_twice_is_fine_but_not_over_a_file() {
        let here = here();
        here.write("file", b"");
        here.disk.make_directory(here.root.at("d")).unwrap();
        here.disk.make_directory(here.root.at("d")).unwrap();
        let refused = here.disk.make_directory(here.root.at("file")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        here.disk.remove_directory(here.root.at("d")).unwrap();
        assert_eq!(here.disk.stat(here.root.at("d")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_copy_is_another_file_and_a_link_is_the_same() {
        let here = here();
        let bytes = vec![7; 300_000];
        here.write("a", &bytes);
        here.disk.copy(here.root.at("a"), here.root.at("copy")).unwrap();
        here.disk.link(here.root.at("a"), here.root.at("link")).unwrap();
        let inode = |path| here.disk.stat(here.root.at(path)).unwrap().inode;
        assert_eq!(inode("a"), inode("link"));
        assert_ne!(inode("a"), inode("copy"));
        assert_eq!(here.read("copy"), bytes);
        assert!(here.disk.copy(here.root.at("a"), here.root.at("copy")).is_err());
        assert_eq!(here.read("copy"), bytes);
    }

    #[test]
    fn times_and_lengths_are_what_was_set() {
        let here = here();
        let file = here.disk.open(here.root.at("a"), Open::CreateNew).unwrap();
        file.set_len(10).unwrap();
        file.write_all_at(b"xy", 20).unwrap();
        file.set_modified(-5).unwrap();
        file.sync().unwrap();
        let stat = here.disk.stat(here.root.at("a")).unwrap();
        assert_eq!((stat.size, stat.modified_ns), (22, -5_000_000_000));
        assert_eq!(stat, file.stat().unwrap());
        assert_eq!(file.read_at(&mut [0; 4], 22).unwrap(), 0);
    }

    #[test]
    fn syncing_and_asking_for_room_work_on_any_root() {
        let here = here();
        here.disk.make_directory(here.root.at("d")).unwrap();
        here.disk.sync_directory(here.root.at("d")).unwrap();
        here.disk.sync_directory(here.root.at("")).unwrap();
        here.disk.sync_all(here.root).unwrap();
        let space = here.disk.space(here.root).unwrap();
        assert!(space.total >= space.available && space.total > 0);
        assert_eq!(here.disk.stat(here.root.at("")).unwrap().kind, Kind::Directory);
    }

    #[test]
    fn a_root_that_was_never_opened_is_an_error() {
        assert!(RealDisk::new().stat(RootId(0).at("a")).is_err());
        let missing = RealDisk::new().open_root(Path::new("/nonexistent-for-sure/x"), false).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
