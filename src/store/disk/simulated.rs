//! A disk in memory that keeps a log, fails on request, and can lose its power.
//!
//! The model, kept small:
//! * A file has present bytes and durable ones; `sync` and `sync_all` make the present ones durable, the
//!   modification time with them.
//! * A directory operation (create, link, rename, remove, make or remove a directory) takes effect at once
//!   and waits until `sync_directory` of a directory that it touches, or `sync_all` of the mount. Such a
//!   sync takes along every earlier operation on the same names, as a journal does: the history of
//!   one name never has a hole. A rename is one operation: both names or neither.
//! * [`SimulatedDisk::crash`] gives the disk after a power cut; [`Lost`] says what of the unsynced is gone.
//!   Operations on unrelated names may be lost apart from each other, and pages of a file too. That is
//!   more than any one file system shows, and less than POSIX allows.
//! * Syncing a file says nothing of its name. Directories that `open_root` makes are durable at once.
//! * Every operation counts, reads too, and those of open files; one that is made to fail does nothing.

mod state;

use super::{At, Disk, DiskFile, Kind, Open, Replace, RootId, Space, Stat};
use crate::base::read_at::ReadAt;
use state::State;
use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The device failed.
pub(crate) const EIO: i32 = 5;
/// The file system is full.
pub(crate) const ENOSPC: i32 = 28;
/// A file that was opened for reading is written to.
const EBADF: i32 = 9;

/// What a power cut takes of what was not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lost {
    /// The system had written everything by chance.
    Nothing,
    /// The system had written nothing that it did not have to.
    Everything,
    /// A mixture; the same seed loses the same.
    Random(u64),
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimulatedDisk(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    state: State,
    log: Vec<String>,
    /// Which lines of the log changed or synced something.
    changes: Vec<usize>,
    fault: Option<Fault>,
}

/// Operations `first` to `last` fail.
struct Fault {
    first: usize,
    last: usize,
    errno: i32,
}

#[derive(PartialEq)]
enum Effect {
    Looks,
    Changes,
}

impl SimulatedDisk {
    /// An empty disk.
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Makes `path` the top of another mount: nothing is renamed or linked across.
    pub(crate) fn mount(&self, path: &Path) {
        self.recorded().state.mount(path);
    }

    /// What is free from here on, in bytes; nothing is counted off.
    pub(crate) fn set_available(&self, bytes: u64) {
        self.recorded().state.available = bytes;
    }

    /// What was asked of the disk so far, one line for each operation.
    pub(crate) fn log(&self) -> Vec<String> {
        self.recorded().log.clone()
    }

    /// The numbers, from 0, of the operations that changed or synced something: the instants at which a
    /// power cut makes a difference.
    pub(crate) fn changes(&self) -> Vec<usize> {
        self.recorded().changes.clone()
    }

    /// Operation `number`, counted from 0, fails with `errno`.
    pub(crate) fn fail_at(&self, number: usize, errno: i32) {
        self.recorded().fault = Some(Fault { first: number, last: number, errno });
    }

    /// Operation `number` and all that follow fail with `errno`: a broken disk, or a power cut.
    pub(crate) fn fail_from(&self, number: usize, errno: i32) {
        self.recorded().fault = Some(Fault { first: number, last: usize::MAX, errno });
    }

    /// The disk after a power cut: empty log, no fault, no root opened. This one goes on as before.
    pub(crate) fn crash(&self, lost: Lost) -> Self {
        let state = self.recorded().state.after_power_cut(lost);
        Self(Arc::new(Mutex::new(Recorded { state, ..Recorded::default() })))
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation, fails it if it is to fail, else does it.
    fn perform<T>(
        &self,
        effect: Effect,
        line: String,
        operation: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut recorded = self.recorded();
        let number = recorded.log.len();
        recorded.log.push(line);
        if effect == Effect::Changes {
            recorded.changes.push(number);
        }
        match &recorded.fault {
            Some(fault) if (fault.first..=fault.last).contains(&number) => {
                Err(io::Error::from_raw_os_error(fault.errno))
            }
            _ => operation(&mut recorded.state),
        }
    }
}

fn show(at: At<'_>) -> String {
    format!("{}:{}", at.root.0, at.path)
}

impl Disk for SimulatedDisk {
    fn open_root(&self, path: &Path, create: bool) -> io::Result<RootId> {
        let line = format!("open_root {} {create}", path.display());
        self.perform(Effect::Looks, line, |state| state.open_root(path, create))
    }

    fn stat_path(&self, path: &Path) -> io::Result<Stat> {
        let line = format!("stat_path {}", path.display());
        self.perform(Effect::Looks, line, |state| state.stat_path(path))
    }

    fn open(&self, at: At<'_>, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let effect = if matches!(how, Open::Create | Open::CreateNew) { Effect::Changes } else { Effect::Looks };
        let inode = self.perform(effect, format!("open {how:?} {}", show(at)), |state| state.open(at, how))?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), inode, name: show(at), writable: how != Open::Read }))
    }

    fn stat(&self, at: At<'_>) -> io::Result<Stat> {
        self.perform(Effect::Looks, format!("stat {}", show(at)), |state| state.stat(state.find(at)?))
    }

    fn list(&self, at: At<'_>, each: &mut dyn FnMut(&[u8], Kind)) -> io::Result<()> {
        // Collected first: `each` may use the disk.
        let names = self.perform(Effect::Looks, format!("list {}", show(at)), |state| state.list(at))?;
        names.iter().for_each(|(name, kind)| each(name.as_bytes(), *kind));
        Ok(())
    }

    fn make_directory(&self, at: At<'_>) -> io::Result<()> {
        self.perform(Effect::Changes, format!("make_directory {}", show(at)), |state| state.make_directory(at))
    }

    fn remove_directory(&self, at: At<'_>) -> io::Result<()> {
        self.perform(Effect::Changes, format!("remove_directory {}", show(at)), |state| state.remove_directory(at))
    }

    fn rename(&self, from: At<'_>, to: At<'_>, replace: Replace) -> io::Result<()> {
        let line = format!("rename {} {} {replace:?}", show(from), show(to));
        self.perform(Effect::Changes, line, |state| state.rename(from, to, replace))
    }

    fn link(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        self.perform(Effect::Changes, format!("link {} {}", show(from), show(to)), |state| state.link(from, to))
    }

    fn copy(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        self.perform(Effect::Changes, format!("copy {} {}", show(from), show(to)), |state| state.copy(from, to))
    }

    fn remove(&self, at: At<'_>) -> io::Result<()> {
        self.perform(Effect::Changes, format!("remove {}", show(at)), |state| state.remove(at))
    }

    fn sync_directory(&self, at: At<'_>) -> io::Result<()> {
        self.perform(Effect::Changes, format!("sync_directory {}", show(at)), |state| state.sync_directory(at))
    }

    fn sync_all(&self, root: RootId) -> io::Result<()> {
        self.perform(Effect::Changes, format!("sync_all {}", root.0), |state| state.sync_all(root))
    }

    fn space(&self, root: RootId) -> io::Result<Space> {
        self.perform(Effect::Looks, format!("space {}", root.0), |state| {
            state.find(root.at("")).map(|_| Space { total: 1 << 40, available: state.available })
        })
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    inode: u64,
    name: String,
    writable: bool,
}

impl SimulatedFile {
    fn change(&self, line: String, operation: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        self.disk.perform(Effect::Changes, line, |state| {
            if self.writable { operation(state) } else { Err(io::Error::from_raw_os_error(EBADF)) }
        })
    }
}

impl ReadAt for SimulatedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let line = format!("read {} {offset}+{}", self.name, buf.len());
        self.disk.perform(Effect::Looks, line, |state| state.read(self.inode, buf, offset))
    }
}

impl DiskFile for SimulatedFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let line = format!("write {} {offset}+{}", self.name, bytes.len());
        self.change(line, |state| state.write(self.inode, bytes, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(format!("set_len {} {len}", self.name), |state| state.set_len(self.inode, len))
    }

    /// Allowed on a file that was opened for reading, as on a real one.
    fn set_modified(&self, seconds: i64) -> io::Result<()> {
        let line = format!("set_modified {} {seconds}", self.name);
        self.disk.perform(Effect::Changes, line, |state| state.set_modified(self.inode, seconds))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.perform(Effect::Changes, format!("sync {}", self.name), |state| state.sync(self.inode))
    }

    fn stat(&self) -> io::Result<Stat> {
        self.disk.perform(Effect::Looks, format!("stat {}", self.name), |state| state.stat(self.inode))
    }

    /// There is one opener on a disk in memory.
    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// Nobody here is refused anything: modes are not kept.
    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.disk.perform(Effect::Looks, format!("set_mode {} {mode:o}", self.name), |_| Ok(()))
    }
}

mod tests {
    use super::*;

    const LOSSES: [Lost; 6] =
        [Lost::Nothing, Lost::Everything, Lost::Random(1), Lost::Random(2), Lost::Random(3), Lost::Random(4)];

    fn disk() -> (SimulatedDisk, RootId) {
        let disk = SimulatedDisk::new();
        let root = disk.open_root(Path::new("/srv/root"), true).unwrap();
        (disk, root)
    }

    fn write(disk: &SimulatedDisk, root: RootId, path: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
        let file = disk.open(root.at(path), Open::Create).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    /// What is at a path after a power cut; none if nothing is.
    fn after(disk: &SimulatedDisk, lost: Lost, path: &str) -> Option<Vec<u8>> {
        let crashed = disk.crash(lost);
        let root = crashed.open_root(Path::new("/srv/root"), false).unwrap();
        let file = crashed.open(root.at(path), Open::Read).ok()?;
        let mut bytes = vec![0; file.stat().unwrap().size as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_was_synced_with_its_name_survives_every_power_cut() {
        let (disk, root) = disk();
        write(&disk, root, "a", b"synced").sync().unwrap();
        disk.sync_directory(root.at("")).unwrap();
        for lost in LOSSES {
            assert_eq!(after(&disk, lost, "a").unwrap(), b"synced", "{lost:?}");
        }
    }

    #[test]
    fn an_unsynced_file_may_be_gone_and_one_whose_name_alone_was_synced_is_empty() {
        let (disk, root) = disk();
        let file = write(&disk, root, "a", b"bytes");
        assert_eq!(after(&disk, Lost::Everything, "a"), None);
        assert_eq!(after(&disk, Lost::Nothing, "a").unwrap(), b"bytes");
        disk.sync_directory(root.at("")).unwrap();
        assert_eq!(after(&disk, Lost::Everything, "a").unwrap(), b"");
        file.sync().unwrap();
        file.write_all_at(b"later", 0).unwrap();
        assert_eq!(after(&disk, Lost::Everything, "a").unwrap(), b"bytes");
        disk.sync_all(root).unwrap();
        assert_eq!(after(&disk, Lost::Everything, "a").unwrap(), b"later");
    }

    #[test]
    fn a_rename_happens_as_a_whole_or_not_at_all() {
        let (disk, root) = disk();
        for (path, bytes) in [("old", b"old"), ("new", b"new")] {
            write(&disk, root, path, bytes);
        }
        disk.sync_all(root).unwrap();
        disk.rename(root.at("new"), root.at("old"), Replace::Yes).unwrap();
        let mut outcomes = Vec::new();
        for lost in LOSSES {
            let renamed = after(&disk, lost, "old").unwrap() == b"new";
            assert_eq!(after(&disk, lost, "new").is_none(), renamed, "{lost:?}");
            outcomes.push(renamed);
        }
        assert!(outcomes.contains(&true) && outcomes.contains(&false));
    }

    #[test]
    fn syncing_the_directory_of_the_new_name_makes_the_whole_rename_durable() {
        let (disk, root) = disk();
        disk.make_directory(root.at("from")).unwrap();
        disk.make_directory(root.at("to")).unwrap();
        disk.sync_directory(root.at("")).unwrap();
        write(&disk, root, "from/f", b"f").sync().unwrap();
        disk.rename(root.at("from/f"), root.at("to/f"), Replace::Yes).unwrap();
        disk.sync_directory(root.at("to")).unwrap();
        for lost in LOSSES {
            assert_eq!(after(&disk, lost, "to/f").unwrap(), b"f", "{lost:?}");
            assert_eq!(after(&disk, lost, "from/f"), None, "{lost:?}");
        }
    }

    #[test]
    fn a_file_in_a_directory_that_was_lost_is_lost_with_it() {
        let (disk, root) = disk();
        disk.make_directory(root.at("d")).unwrap();
        write(&disk, root, "d/f", b"f").sync().unwrap();
        disk.sync_directory(root.at("d")).unwrap();
        assert_eq!(after(&disk, Lost::Everything, "d/f"), None);
        disk.sync_directory(root.at("")).unwrap();
        assert_eq!(after(&disk, Lost::Everything, "d/f").unwrap(), b"f");
    }

    #[test]
    fn a_removed_file_may_come_back_and_never_half() {
        let (disk, root) = disk();
        write(&disk, root, "a", b"a");
        disk.sync_all(root).unwrap();
        disk.remove(root.at("a")).unwrap();
        assert_eq!(after(&disk, Lost::Everything, "a").unwrap(), b"a");
        assert_eq!(after(&disk, Lost::Nothing, "a"), None);
        disk.sync_directory(root.at("")).unwrap();
        assert_eq!(after(&disk, Lost::Everything, "a"), None);
    }

    #[test]
    fn a_random_power_cut_mixes_old_and_new_pages_and_is_repeatable() {
        let (disk, root) = disk();
        let file = write(&disk, root, "a", &[1; 64 * 4096]);
        disk.sync_all(root).unwrap();
        file.write_all_at(&[2; 64 * 4096], 0).unwrap();
        let mixed = after(&disk, Lost::Random(9), "a").unwrap();
        assert!(mixed.contains(&1) && mixed.contains(&2));
        assert_eq!(after(&disk, Lost::Random(9), "a").unwrap(), mixed);
    }

    #[test]
    fn the_asked_operation_fails_and_does_nothing() {
        let (disk, root) = disk();
        let file = write(&disk, root, "a", b"a");
        disk.fail_at(disk.log().len(), ENOSPC);
        assert_eq!(file.write_all_at(b"b", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(after(&disk, Lost::Nothing, "a").unwrap(), b"a");
        file.write_all_at(b"c", 0).unwrap();
        disk.fail_from(disk.log().len(), EIO);
        assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(EIO));
        assert_eq!(disk.stat(root.at("a")).unwrap_err().raw_os_error(), Some(EIO));
    }

    #[test]
    fn the_log_says_what_was_done_and_what_of_it_matters() {
        let (disk, root) = disk();
        write(&disk, root, "a", b"abc");
        disk.stat(root.at("a")).unwrap();
        assert_eq!(disk.log(), ["open_root /srv/root true", "open Create 0:a", "write 0:a 0+3", "stat 0:a"]);
        assert_eq!(disk.changes(), [1, 2]);
    }

    #[test]
    fn mounts_are_as_apart_as_real_ones() {
        let (disk, root) = disk();
        disk.mount(Path::new("/srv/other"));
        let other = disk.open_root(Path::new("/srv/other"), false).unwrap();
        write(&disk, root, "a", b"a");
        for refused in [
            disk.rename(root.at("a"), other.at("a"), Replace::Yes).unwrap_err(),
            disk.link(root.at("a"), other.at("a")).unwrap_err(),
        ] {
            assert_eq!(refused.kind(), io::ErrorKind::CrossesDevices);
        }
        disk.sync_all(other).unwrap();
        assert_eq!(after(&disk, Lost::Everything, "a"), None);
    }

    #[test]
    fn names_behave_as_on_a_real_disk() {
        use io::ErrorKind::*;
        let (disk, root) = disk();
        write(&disk, root, "f", b"f");
        disk.make_directory(root.at("d")).unwrap();
        disk.make_directory(root.at("d")).unwrap();
        disk.copy(root.at("f"), root.at("d/copy")).unwrap();
        let kind = |result: io::Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(disk.make_directory(root.at("f"))), AlreadyExists);
        assert_eq!(kind(disk.make_directory(root.at("x/y"))), NotFound);
        assert_eq!(kind(disk.remove_directory(root.at("d"))), DirectoryNotEmpty);
        assert_eq!(kind(disk.remove_directory(root.at("f"))), NotADirectory);
        assert_eq!(kind(disk.remove(root.at("d"))), IsADirectory);
        assert_eq!(kind(disk.remove(root.at("f/x"))), NotADirectory);
        assert_eq!(kind(disk.rename(root.at("f"), root.at("d/copy"), Replace::No)), AlreadyExists);
        assert_eq!(kind(disk.rename(root.at("f"), root.at("d"), Replace::Yes)), IsADirectory);
        assert_eq!(kind(disk.link(root.at("f"), root.at("d/copy"))), AlreadyExists);
        assert_eq!(kind(disk.copy(root.at("f"), root.at("d/copy"))), AlreadyExists);
        assert_eq!(disk.open(root.at("f"), Open::CreateNew).err().unwrap().kind(), AlreadyExists);
        assert_eq!(disk.open(root.at("d"), Open::Read).err().unwrap().kind(), IsADirectory);
        assert!(disk.stat(root.at("..")).is_err());
        let reader = disk.open(root.at("f"), Open::Read).unwrap();
        assert_eq!(reader.write_all_at(b"x", 0).unwrap_err().raw_os_error(), Some(EBADF));
        let mut names = Vec::new();
        disk.list(root.at(""), &mut |name, kind| names.push((name.to_vec(), kind))).unwrap();
        assert_eq!(names, [(b"d".to_vec(), Kind::Directory), (b"f".to_vec(), Kind::File)]);
        assert!(disk.space(root).unwrap().available > 0);
    }
}
