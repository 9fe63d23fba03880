//! The way into a folder and out of it: staging, publishing by rename, and looking.
//!
//! Owns one folder and its staging directory on the same mount. Order of events for a new file:
//! stage, [`Staging::sync_staged`], [`Staging::publish`], [`Staging::sync_published`]; only then may a row
//! speak of it. Never decides what belongs into the folder, and never syncs on its own.

use super::{
    disk::{At, DiskFile, Kind, Open, Replace, RootId, SharedDisk, Space, Stat},
    download::Downloads,
    layout,
    room::{NoRoom, Room},
    walk::{self, Walked},
};
use crate::domain::name::{FileName, FolderName};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// From here on one `syncfs` is cheaper than a sync of each file or directory: every one of them
/// waits for the journal.
pub(super) const SYNC_ALL_FROM: usize = 8;

/// Why a folder can't be written to. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenStagingError {
    /// Nothing has the folder's name.
    #[error("folder {path} is missing: create it or correct its `path`")]
    FolderMissing {
        /// The folder as configured.
        path: PathBuf,
    },
    /// Something else has the folder's name.
    #[error("{path} is not a directory: correct the folder's `path`")]
    FolderNotADirectory {
        /// The folder as configured.
        path: PathBuf,
    },
    /// The system refused to open it.
    #[error("opening folder {path}: let the daemon's user read and enter it")]
    OpenFolder {
        /// The folder as configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder or its staging can't be written to.
    #[error("{path} is not writable: let the daemon's user write there (under systemd also `ReadWritePaths=`)")]
    NotWritable {
        /// The directory that refused.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Staging is not there, and the daemon's user can't make it.
    #[error("can't make staging {path}: as root: `install -d -o {user} -m 750 {path}`", path = .path.display())]
    StagingMissing {
        /// The directory that is to be made.
        path: PathBuf,
        /// The number of the daemon's user.
        user: u32,
        /// What the system said.
        source: io::Error,
    },
    /// A rename from staging into the folder can't be atomic.
    #[error("staging {staging} is on another mount than {folder}: set the folder's `staging` to a directory beside it")]
    AnotherMount {
        /// Where staging would be.
        staging: PathBuf,
        /// The folder as configured.
        folder: PathBuf,
    },
    /// Anything else, such as a full disk.
    #[error("preparing staging {path}: check the file system that it is on")]
    Prepare {
        /// Where staging would be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A whole file in staging. Whoever holds it publishes or discards it; what neither happens to is
/// swept at the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Where it is, relative to staging.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Another path in staging that lives as long as this one.
    pub(super) companion: Option<String>,
    /// What was seen of it after its last byte, where the descriptor was at hand.
    pub(super) stat: Option<Stat>,
}

/// One folder and its staging directory.
pub struct Staging {
    disk: SharedDisk,
    folder: RootId,
    stage: RootId,
    /// A root of its own: every small file passes through it, and would resolve its path three times.
    incoming: RootId,
    /// The first number of this run: whatever has a smaller one is left from an earlier run.
    first: u64,
    next: AtomicU64,
    room: Arc<Room>,
    downloads: Downloads,
}

impl Staging {
    /// Opens the folder, finds and makes the place for its staging, and tries a real rename between
    /// the two. Staging is in `staging_override`, if given; else beside the folder, or inside it where it
    /// is a mount point.
    pub fn open(
        disk: SharedDisk,
        folder_path: &Path,
        folder: &FolderName,
        staging_override: Option<&Path>,
    ) -> Result<Self, OpenStagingError> {
        let opener = Opener { folder: open_folder(&disk, folder_path)?, disk, folder_path };
        if let Some(place) = staging_override {
            return opener.attempt(&layout::staging_in(place, folder));
        }
        let inside = layout::staging_inside(folder_path);
        let Some(beside) = layout::staging_beside(folder_path, folder).filter(|_| !opener.is_mount_point()) else {
            return opener.attempt(&inside);
        };
        match opener.attempt(&beside) {
            // A bind mount, or a folder behind a symbolic link: the same device need not be the same mount.
            Err(OpenStagingError::AnotherMount { .. }) => opener.attempt(&inside),
            opened => opened,
        }
    }

    /// The folder itself.
    pub fn folder_root(&self) -> RootId {
        self.folder
    }

    /// Device and inode of the folder: others than last time mean that something else is mounted there.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let stat = self.disk.stat(self.folder.at(""))?;
        Ok((stat.device, stat.inode))
    }

    /// Room on the folder's file system.
    pub fn space(&self) -> io::Result<Space> {
        self.disk.space(self.folder)
    }

    /// Whatever is staged from here on leaves this many bytes free, or is refused with [`NoRoom`].
    pub fn keep_free(&self, bytes: u64) {
        self.room.keep_free(bytes);
    }

    /// What was refused last for lack of room, if there still is none.
    pub fn shortage(&self) -> io::Result<Option<NoRoom>> {
        self.room.shortage()
    }

    /// Stages a small file with its modification time in seconds since 1970 UTC. Not synced.
    pub fn stage_bytes(&self, bytes: &[u8], modified: i64) -> io::Result<Staged> {
        let size = bytes.len() as u64;
        self.room.claim(size)?;
        let (mut staged, file) = self.room.note(size, self.stage_new())?;
        let written = file.write_all_at(bytes, 0).and_then(|()| file.set_modified(modified)).and_then(|()| file.stat());
        match self.room.note(size, written) {
            Ok(stat) => (staged.size, staged.stat) = (size, Some(stat)),
            Err(e) => {
                self.discard(&staged)?;
                return Err(e);
            }
        }
        Ok(staged)
    }

    /// Stages an empty file that the caller fills; its `size` is to be set by the caller.
    pub fn stage_new(&self) -> io::Result<(Staged, Arc<dyn DiskFile>)> {
        let path = self.next_incoming();
        let file = self.disk.open(self.staged_at(&path), Open::CreateNew)?;
        Ok((Staged { path, size: 0, companion: None, stat: None }, file))
    }

    /// Stages the content of a file in the folder: the same inode, its time untouched, if it is
    /// `immutable`; else, or where the system refuses a link, a copy with the given time.
    pub fn link_or_copy(&self, from: &FileName, modified: i64, immutable: bool) -> io::Result<Staged> {
        let path = self.next_incoming();
        let (source, target) = (self.folder.at(from.as_str()), self.staged_at(&path));
        let linked = immutable && self.disk.link(source, target).is_ok();
        if !linked {
            let size = self.disk.stat(source)?.size;
            self.room.claim(size)?;
            self.room.note(size, self.disk.copy(source, target))?;
            self.disk.open(target, Open::Write)?.set_modified(modified)?;
        }
        let stat = self.disk.stat(target)?;
        // A rename between two names of one inode does nothing: then the staged name has to go as well.
        let companion = linked.then(|| path.clone());
        let staged = Staged { path, size: stat.size, companion, stat: None };
        if stat.kind == Kind::File {
            return Ok(staged);
        }
        self.discard(&staged)?;
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }

    /// Makes staged files' bytes durable.
    pub fn sync_staged(&self, staged: &[&Staged]) -> io::Result<()> {
        if staged.len() >= SYNC_ALL_FROM {
            return self.disk.sync_all(self.stage);
        }
        staged.iter().try_for_each(|staged| self.disk.open(self.staged_at(&staged.path), Open::Read)?.sync())
    }

    /// Makes files in the folder durable where they lie: bytes and names. The program that wrote them
    /// need not have synced anything; one that is gone meanwhile is passed over.
    pub fn sync_in_place(&self, names: &[&FileName]) -> io::Result<()> {
        if names.len() >= SYNC_ALL_FROM {
            return self.disk.sync_all(self.folder);
        }
        names.iter().try_for_each(|name| passing_absent(self.open_file(name).and_then(|file| file.sync())))?;
        let directories: BTreeSet<_> = names.iter().flat_map(|name| parents(name.as_str())).chain([""]).collect();
        let sync = |directory: &&str| passing_absent(self.disk.sync_directory(self.folder.at(directory)));
        directories.iter().rev().try_for_each(sync)
    }

    /// Sets the modification time of a file in the folder, in seconds since 1970 UTC.
    pub fn set_modified(&self, name: &FileName, seconds: i64) -> io::Result<Stat> {
        let file = self.disk.open(self.folder.at(name.as_str()), Open::Write)?;
        file.set_modified(seconds)?;
        file.stat()
    }

    /// Gives a staged file its name, replacing what had it if told so, and makes missing parent directories. The
    /// answer describes the very file that was staged, even if another program replaces it at once.
    pub fn publish(&self, staged: &Staged, name: &FileName, replace: Replace) -> io::Result<Stat> {
        let (from, to) = (self.staged_at(&staged.path), self.folder.at(name.as_str()));
        let stat = staged.stat.map_or_else(|| self.disk.stat(from), Ok)?;
        match self.disk.rename(from, to, replace) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.make_parents(self.folder, name.as_str())?;
                self.disk.rename(from, to, replace)?;
            }
            renamed => renamed?,
        }
        self.remove_companion(staged)?;
        Ok(stat)
    }

    /// Makes published names durable: every directory above them, once.
    pub fn sync_published<'a>(&self, names: impl IntoIterator<Item = &'a FileName>) -> io::Result<()> {
        let mut directories = BTreeSet::new();
        for name in names {
            directories.insert("");
            directories.extend(parents(name.as_str()));
        }
        if directories.len() >= SYNC_ALL_FROM {
            return self.disk.sync_all(self.folder);
        }
        // The deepest first: a directory is never durable before what it leads to.
        directories.iter().rev().try_for_each(|directory| self.disk.sync_directory(self.folder.at(directory)))
    }

    /// Makes it durable that names are gone; a directory that went with them needs no sync of its own.
    pub(super) fn sync_removed<'a>(&self, names: impl IntoIterator<Item = &'a FileName>) -> io::Result<()> {
        let directories: BTreeSet<_> = names.into_iter().map(|name| name.parent().unwrap_or("")).collect();
        if directories.len() >= SYNC_ALL_FROM {
            return self.disk.sync_all(self.folder);
        }
        directories.iter().try_for_each(|directory| passing_absent(self.disk.sync_directory(self.folder.at(directory))))
    }

    /// Opens a staged file for reading.
    pub fn open_staged(&self, staged: &Staged) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(self.staged_at(&staged.path), Open::Read)
    }

    /// Removes a staged file; `Ok` if it is gone already.
    pub fn discard(&self, staged: &Staged) -> io::Result<()> {
        self.remove_if_there(&staged.path)?;
        self.remove_companion(staged)
    }

    /// Removes whatever earlier runs left in `incoming`.
    pub fn sweep_incoming(&self) -> io::Result<()> {
        let mut left = Vec::new();
        self.disk.list(self.incoming.at(""), &mut |name, _| {
            left.extend(layout::number_of(name).filter(|number| *number < self.first));
        })?;
        left.into_iter().try_for_each(|number| self.remove_if_there(&layout::incoming(number)))
    }

    /// Opens a file of the folder for reading.
    pub fn open_file(&self, name: &FileName) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(self.folder.at(name.as_str()), Open::Read)
    }

    /// As [`Staging::open_file`], and never waits for a disk: see [`super::disk::Disk::open_at_once`].
    pub fn open_file_at_once(&self, name: &FileName) -> Option<io::Result<Arc<dyn DiskFile>>> {
        self.disk.open_at_once(self.folder.at(name.as_str()))
    }

    /// Looks at a name in the folder.
    pub fn stat(&self, name: &FileName) -> io::Result<Stat> {
        self.disk.stat(self.folder.at(name.as_str()))
    }

    /// Whether the directory or file of that name can be read.
    pub fn is_readable(&self, name: &FileName) -> io::Result<bool> {
        let at = self.folder.at(name.as_str());
        let tried = match self.disk.stat(at)?.kind {
            Kind::Directory => self.disk.list(at, &mut |_, _| ()),
            _ => self.disk.open(at, Open::Read).map(drop),
        };
        Ok(tried.is_ok())
    }

    /// Looks at everything beneath a directory of the folder.
    pub fn walk_beneath(&self, directory: &FileName, each: &mut dyn FnMut(Walked)) -> io::Result<()> {
        walk::walk_beneath(&*self.disk, self.folder, directory, each)
    }

    /// Removes the directories above a name that are empty, but never the folder itself. Not synced.
    pub fn remove_empty_parents(&self, name: &FileName) {
        let parents: Vec<_> = parents(name.as_str()).collect();
        for directory in parents.into_iter().rev() {
            if self.disk.remove_directory(self.folder.at(directory)).is_err() {
                return;
            }
        }
    }

    /// Looks at everything in the folder, what [`layout::is_reserved`] at its top aside; see [`Walked`].
    pub fn walk(&self, each: &mut dyn FnMut(Walked)) -> io::Result<()> {
        walk::walk(&*self.disk, self.folder, each)
    }

    /// Where files of unknown root arrive.
    pub fn downloads(&self) -> &Downloads {
        &self.downloads
    }

    pub(super) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub(super) fn disk(&self) -> &SharedDisk {
        &self.disk
    }

    pub(super) fn stage_root(&self) -> RootId {
        self.stage
    }

    /// Makes the directories above `path`, beneath `root`.
    pub(super) fn make_parents(&self, root: RootId, path: &str) -> io::Result<()> {
        parents(path).try_for_each(|directory| self.disk.make_directory(root.at(directory)))
    }

    pub(super) fn remove_if_there(&self, staged_path: &str) -> io::Result<()> {
        match self.disk.remove(self.staged_at(staged_path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn remove_companion(&self, staged: &Staged) -> io::Result<()> {
        staged.companion.as_deref().map_or(Ok(()), |path| self.remove_if_there(path))
    }

    fn next_incoming(&self) -> String {
        layout::incoming(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Where a path relative to staging is.
    fn staged_at<'a>(&self, path: &'a str) -> At<'a> {
        let incoming = path.strip_prefix(layout::INCOMING).and_then(|rest| rest.strip_prefix('/'));
        incoming.map_or(self.stage.at(path), |name| self.incoming.at(name))
    }
}

/// What is gone needs no sync.
fn passing_absent(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        synced => synced,
    }
}

/// `a`, `a/b` for `a/b/c`.
pub(super) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn open_folder(disk: &SharedDisk, folder_path: &Path) -> Result<RootId, OpenStagingError> {
    let path = folder_path.to_owned();
    disk.open_root(folder_path, false).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => OpenStagingError::FolderMissing { path },
        io::ErrorKind::NotADirectory => OpenStagingError::FolderNotADirectory { path },
        _ => OpenStagingError::OpenFolder { path, source },
    })
}

/// A folder whose staging is still to be found.
struct Opener<'a> {
    disk: SharedDisk,
    folder: RootId,
    folder_path: &'a Path,
}

impl Opener<'_> {
    /// Only a first guess, so that nothing is made beside a mount point in vain: the rename decides.
    fn is_mount_point(&self) -> bool {
        let device = |root: RootId| self.disk.stat(root.at("")).ok().map(|stat| stat.device);
        let parent = self.folder_path.parent().and_then(|parent| self.disk.open_root(parent, false).ok());
        parent.is_some_and(|parent| device(parent) != device(self.folder))
    }

    /// What was made for a staging that is refused goes again.
    fn attempt(&self, place: &Path) -> Result<Staging, OpenStagingError> {
        let absent: Vec<_> = place.ancestors().take_while(|path| self.disk.stat_path(path).is_err()).collect();
        let opened = self.attempt_at(place);
        match (opened, absent.last()) {
            (Err(OpenStagingError::NotWritable { source, .. }), Some(first)) if self.disk.stat_path(first).is_err() => {
                let parent = place.parent().filter(|parent| absent.contains(parent)).unwrap_or(place);
                let user = rustix::process::geteuid().as_raw();
                Err(OpenStagingError::StagingMissing { path: parent.to_owned(), user, source })
            }
            (Err(error), _) => {
                absent.iter().for_each(|path| self.remove_made(path));
                Err(error)
            }
            (opened, _) => opened,
        }
    }

    /// Best effort: an empty directory harms nobody.
    fn remove_made(&self, path: &Path) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return;
        };
        if let Ok(root) = self.disk.open_root(parent, false) {
            let _ = self.disk.remove_directory(root.at(name));
        }
    }

    fn attempt_at(&self, place: &Path) -> Result<Staging, OpenStagingError> {
        let refused = |source: io::Error| self.refused(place, source);
        let stage = self.disk.open_root(place, true).map_err(refused)?;
        self.probe(place, stage)?;
        for directory in [layout::INCOMING, layout::PARTIALS, layout::DOWNLOADS, layout::TRASH] {
            self.disk.make_directory(stage.at(directory)).map_err(refused)?;
        }
        let incoming = self.disk.open_root(&place.join(layout::INCOMING), false).map_err(refused)?;
        let first = self.first_number(incoming).map_err(refused)?;
        let (disk, folder, next) = (self.disk.clone(), self.folder, AtomicU64::new(first));
        let room = Arc::new(Room::new(disk.clone(), folder));
        let downloads = Downloads::new(disk.clone(), stage, room.clone());
        Ok(Staging { disk, folder, stage, incoming, first, next, room, downloads })
    }

    /// Renames an empty file from staging into the folder and removes it there.
    fn probe(&self, place: &Path, stage: RootId) -> Result<(), OpenStagingError> {
        let (from, to) = (stage.at(layout::PROBE), self.folder.at(layout::PROBE));
        self.disk.open(from, Open::Create).map_err(|source| self.refused(place, source))?;
        if let Err(source) = self.disk.rename(from, to, Replace::Yes) {
            // What refused the rename is the news, not what becomes of an empty file.
            let _ = self.disk.remove(from);
            return Err(match source.kind() {
                io::ErrorKind::CrossesDevices => {
                    OpenStagingError::AnotherMount { staging: place.to_owned(), folder: self.folder_path.to_owned() }
                }
                _ => self.refused(self.folder_path, source),
            });
        }
        self.disk.remove(to).map_err(|source| self.refused(self.folder_path, source))
    }

    fn first_number(&self, incoming: RootId) -> io::Result<u64> {
        let mut first = 0;
        self.disk.list(incoming.at(""), &mut |name, _| {
            first = first.max(layout::number_of(name).map_or(0, |number| number.saturating_add(1)));
        })?;
        Ok(first)
    }

    fn refused(&self, path: &Path, source: io::Error) -> OpenStagingError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                OpenStagingError::NotWritable { path, source }
            }
            _ => OpenStagingError::Prepare { path, source },
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::disk::real::RealDisk;
    use std::fs;

    /// A folder `waptwua` in a directory of its own, on a real disk.
    pub(crate) struct Place {
        pub(crate) directory: tempfile::TempDir,
        pub(crate) staging: Staging,
    }

    pub(crate) fn place() -> Place {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("waptwua")).unwrap();
        let staging = reopen(directory.path());
        Place { directory, staging }
    }

    fn reopen(directory: &Path) -> Staging {
        open(&directory.join("waptwua"), None).unwrap()
    }

    fn open(folder_path: &Path, place: Option<&Path>) -> Result<Staging, OpenStagingError> {
        Staging::open(Arc::new(RealDisk::new()), folder_path, &FolderName::new("waptwua").unwrap(), place)
    }

    impl Place {
        pub(crate) fn folder(&self, name: &str) -> PathBuf {
            self.directory.path().join("waptwua").join(name)
        }

        pub(crate) fn stage(&self, name: &str) -> PathBuf {
            self.directory.path().join(".wuasync/waptwua").join(name)
        }
    }

    pub(crate) fn name(text: &str) -> FileName {
        FileName::new(text).unwrap()
    }

    fn names(directory: PathBuf) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_staged_file_is_published_whole_with_its_time_and_missing_directories() {
        let place = place();
        let staged = place.staging.stage_bytes(b"hello", 1_700_000_000).unwrap();
        assert_eq!(names(place.folder("")), [""; 0]);
        place.staging.sync_staged(&[&staged]).unwrap();
        let stat = place.staging.publish(&staged, &name("a/b/c.cab"), Replace::Yes).unwrap();
        assert_eq!(stat, place.staging.stat(&name("a/b/c.cab")).unwrap());
        assert_eq!((stat.size, stat.modified_ns), (5, 1_700_000_000_000_000_000));
        place.staging.sync_published([&name("a/b/c.cab")]).unwrap();
        assert_eq!(fs::read(place.folder("a/b/c.cab")).unwrap(), b"hello");
        assert_eq!(names(place.stage("incoming")), [""; 0]);
    }

    #[test]
    fn publishing_replaces_what_had_the_name_and_readers_keep_the_old_bytes() {
        let place = place();
        let publish = |bytes: &[u8]| {
            let staged = place.staging.stage_bytes(bytes, 0).unwrap();
            place.staging.publish(&staged, &name("f"), Replace::Yes).unwrap()
        };
        publish(b"old");
        let reader = place.staging.open_file(&name("f")).unwrap();
        publish(b"new");
        let mut bytes = [0; 3];
        reader.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"old");
        assert_eq!(fs::read(place.folder("f")).unwrap(), b"new");
    }

    #[test]
    fn an_immutable_file_is_linked_and_another_is_copied() {
        let place = place();
        fs::write(place.folder("a"), "bytes").unwrap();
        let inode = place.staging.stat(&name("a")).unwrap().inode;
        let linked = place.staging.link_or_copy(&name("a"), 5, true).unwrap();
        let copied = place.staging.link_or_copy(&name("a"), 5, false).unwrap();
        assert_eq!(place.staging.publish(&linked, &name("b"), Replace::Yes).unwrap().inode, inode);
        let copy = place.staging.publish(&copied, &name("c"), Replace::Yes).unwrap();
        assert_ne!(copy.inode, inode);
        assert_eq!((copied.size, copy.modified_ns), (5, 5_000_000_000));
        assert_ne!(place.staging.stat(&name("a")).unwrap().modified_ns, 5_000_000_000);
    }

    #[test]
    fn publishing_a_link_over_its_own_inode_leaves_nothing_in_staging() {
        let place = place();
        fs::write(place.folder("a"), "bytes").unwrap();
        let linked = place.staging.link_or_copy(&name("a"), 5, true).unwrap();
        place.staging.publish(&linked, &name("a"), Replace::Yes).unwrap();
        assert_eq!(names(place.stage("incoming")), [""; 0]);
        assert_eq!(fs::read(place.folder("a")).unwrap(), b"bytes");
    }

    #[test]
    fn only_what_earlier_runs_left_is_swept_from_incoming() {
        let place = place();
        let left = place.staging.stage_bytes(b"left", 0).unwrap();
        let staging = reopen(place.directory.path());
        let own = staging.stage_bytes(b"own", 0).unwrap();
        assert_ne!(left.path, own.path);
        staging.sweep_incoming().unwrap();
        assert!(!place.stage(&left.path).exists());
        assert!(place.stage(&own.path).exists());
        staging.discard(&own).unwrap();
        staging.discard(&own).unwrap();
        assert_eq!(names(place.stage("incoming")), [""; 0]);
    }

    #[test]
    fn many_files_are_synced_at_once_and_few_one_by_one() {
        let place = place();
        for count in [0, 1, SYNC_ALL_FROM - 1, SYNC_ALL_FROM, 20] {
            let staged: Vec<_> = (0..count).map(|_| place.staging.stage_bytes(b"x", 0).unwrap()).collect();
            place.staging.sync_staged(&staged.iter().collect::<Vec<_>>()).unwrap();
            let names: Vec<_> = (0..count).map(|n| name(&format!("{count}/{n}/f"))).collect();
            for (staged, name) in staged.iter().zip(&names) {
                place.staging.publish(staged, name, Replace::Yes).unwrap();
            }
            place.staging.sync_published(&names).unwrap();
        }
    }

    #[test]
    fn probing_leaves_nothing_in_the_folder() {
        let place = place();
        fs::write(place.folder(layout::PROBE), "left by a kill").unwrap();
        reopen(place.directory.path());
        assert_eq!(names(place.folder("")), [""; 0]);
    }

    #[test]
    fn staging_is_where_the_settings_say() {
        let place = place();
        let elsewhere = place.directory.path().join("elsewhere");
        let staging = open(&place.folder(""), Some(&elsewhere)).unwrap();
        let staged = staging.stage_bytes(b"x", 0).unwrap();
        assert!(elsewhere.join("waptwua").join(&staged.path).exists());
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named_with_the_cure() {
        let place = place();
        fs::write(place.folder("file"), "").unwrap();
        let message = |folder: &str| open(&place.folder(folder), None).err().unwrap().to_string();
        assert!(message("gone").ends_with("gone is missing: create it or correct its `path`"));
        assert!(message("file").ends_with("file is not a directory: correct the folder's `path`"));
    }

    #[test]
    fn staging_on_another_mount_is_refused_and_leaves_nothing_behind() {
        let place = place();
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        let staging = elsewhere.path().join("a/b");
        let refused = open(&place.folder(""), Some(&staging)).err().unwrap();
        assert!(matches!(refused, OpenStagingError::AnotherMount { .. }), "{refused}");
        assert_eq!(names(elsewhere.path().to_owned()), [""; 0]);
    }

    #[test]
    fn staging_that_can_not_be_made_comes_with_the_line_that_makes_it() {
        let (path, source) = (PathBuf::from("/var/www/.wuasync"), io::ErrorKind::PermissionDenied.into());
        let said = OpenStagingError::StagingMissing { path, user: 998, source }.to_string();
        assert!(said.contains("`install -d -o 998 -m 750 /var/www/.wuasync`"), "{said}");
    }

    #[test]
    fn the_identity_of_a_folder_changes_when_another_takes_its_place() {
        let place = place();
        let before = place.staging.identity().unwrap();
        assert_eq!(reopen(place.directory.path()).identity().unwrap(), before);
        fs::rename(place.folder(""), place.directory.path().join("old")).unwrap();
        fs::create_dir(place.folder("")).unwrap();
        assert_ne!(reopen(place.directory.path()).identity().unwrap(), before);
    }
}
