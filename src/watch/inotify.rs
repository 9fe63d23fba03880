//! The shell over the operating system's events: turns them into [`FileEvent`]s.
//!
//! It never waits for files to settle and never opens one; a new name is looked at once (`lstat`),
//! to tell a hard link, a directory and a symbolic link from a file that is about to be written. One that
//! was moved in by this program is passed over.
//! Opens and reads are not asked for: serving a file is no event. A name that can't be mirrored is
//! told of when it comes and when it goes; nothing is told of what is beneath such a directory.
//!
//! A directory that comes is an event of its own: files may have been in it before it was watched.
//! [`Watcher::reach`] before it is looked through makes sure that it is. One that goes is
//! [`FileEvent::Gone`]. Only where events were lost, or the folder itself, is it
//! [`FileEvent::Overflow`]; [`Watcher::renew`] comes before the rescan.

use super::settle::FileEvent;
use crate::domain::name::{FileName, NameError};
use notify::{
    Config, ErrorKind, Event, EventKind, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode},
};
use rustix::io::Errno;
use std::{
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Why a folder can't be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The user's number of inotify watches is used up; each directory takes one.
    #[error(
        "too many directories are watched to watch {} too: raise the limit, \
         for example `sysctl -w fs.inotify.max_user_watches=1048576`", path.display()
    )]
    WatchLimit {
        /// The folder or the directory in it.
        path: PathBuf,
    },
    /// The user's number of inotify instances, or the process's of open files, is used up.
    #[error(
        "too many watchers are open to watch {} too: raise the limit, for example \
         `sysctl -w fs.inotify.max_user_instances=1024`, or the number of open files", path.display()
    )]
    InstanceLimit {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing has this path.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// Something else has this path.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The folder.
        path: PathBuf,
    },
    /// The system refused for another reason.
    #[error("watching {} failed", path.display())]
    Failed {
        /// The folder or the directory in it.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: notify::Error,
    },
}

impl WatchError {
    fn new(path: &Path, mut source: notify::Error) -> Self {
        let path = source.paths.pop().unwrap_or_else(|| path.to_owned());
        match &source.kind {
            ErrorKind::MaxFilesWatch => Self::WatchLimit { path },
            ErrorKind::PathNotFound => Self::Missing { path },
            ErrorKind::Io(e) if Errno::from_io_error(e) == Some(Errno::MFILE) => Self::InstanceLimit { path },
            _ => Self::Failed { path, source },
        }
    }
}

/// What is not watched at present.
#[derive(Debug, Default)]
pub(super) struct Health {
    is_lost: AtomicBool,
    part: Mutex<Option<String>>,
}

impl Health {
    /// Whether the folder itself was moved, removed or unmounted since it was last watched.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Why a part of the folder is not watched.
    pub(super) fn unwatched_part(&self) -> Option<String> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_lost(&self, is_lost: bool) {
        self.is_lost.store(is_lost, Ordering::Release);
    }

    fn set_part(&self, why: Option<String>) {
        *self.part.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// Watches one folder with everything beneath it until dropped.
#[derive(Debug)]
pub struct Watcher {
    inner: RecommendedWatcher,
    path: PathBuf,
    health: Arc<Health>,
}

impl Watcher {
    /// Watches `path`; events from here on go to `on_event`, on a thread of the watcher's own, unless
    /// `is_own` says of what was moved to a name that nobody has to hear of it. While they run the
    /// system's queue fills, so they should be short. Blocks while the directories
    /// beneath are walked. A folder with more directories than may be watched is watched in part.
    pub fn start(
        path: &Path,
        is_own: impl Fn(&FileName) -> bool + Send + 'static,
        mut on_event: impl FnMut(FileEvent) + Send + 'static,
    ) -> Result<Self, WatchError> {
        let (root, health) = (path.to_owned(), Arc::new(Health::default()));
        let seen_by = health.clone();
        let handler = move |event: notify::Result<Event>| {
            let told = |e| on_error(&root, &seen_by, e);
            if let Some(event) = event.map_or_else(told, |event| translate(&root, &seen_by, &is_own, &event)) {
                on_event(event);
            }
        };
        let inner = RecommendedWatcher::new(handler, config()).map_err(|e| WatchError::new(path, e))?;
        let mut watcher = Self { inner, path: path.to_owned(), health };
        match watcher.watch() {
            Ok(()) | Err(WatchError::WatchLimit { .. }) => Ok(watcher),
            Err(error) => Err(error),
        }
    }

    /// Watches the folder anew, as it is under its path at this moment: after events were lost some
    /// directories may not be watched, and the folder may be another one. What happens meanwhile may
    /// be lost, what happens after `Ok` is not. Blocks like [`start`](Self::start).
    pub fn renew(&mut self) -> Result<(), WatchError> {
        // It fails where the watch is lost already, which is a reason to be here.
        let _ = self.inner.unwatch(&self.path);
        self.watch()
    }

    /// Returns when every directory whose [`FileEvent::Directory`] was told before is watched, or
    /// can't be. Blocks for as long as the watcher's thread is behind.
    pub fn reach(&self) {
        // Any question does: it is answered by the thread that adds watches, after what it has read.
        let _ = self.inner.watched_paths();
    }

    pub(super) fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    fn watch(&mut self) -> Result<(), WatchError> {
        self.health.set_part(None);
        self.health.set_lost(false);
        self.watch_all().inspect_err(|error| {
            self.health.set_lost(!matches!(error, WatchError::WatchLimit { .. }));
            self.health.set_part(Some(error.to_string()));
        })
    }

    fn watch_all(&mut self) -> Result<(), WatchError> {
        let path = &self.path;
        match std::fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => return Err(WatchError::NotADirectory { path: path.clone() }),
            Ok(_) => {}
            Err(e) => return Err(WatchError::new(path, notify::Error::io_watch(e))),
        }
        self.inner.watch(path, RecursiveMode::Recursive).map_err(|e| WatchError::new(path, e))
    }
}

fn config() -> Config {
    let kinds = EventKindMask::CREATE
        | EventKindMask::REMOVE
        | EventKindMask::MODIFY_DATA
        | EventKindMask::MODIFY_NAME
        | EventKindMask::ACCESS_CLOSE;
    Config::default().with_event_kinds(kinds).with_follow_symlinks(false)
}

/// A directory that can't be read can't be scanned either, so it is only logged (a scan lists it); with
/// anything else events may be missing.
fn on_error(root: &Path, health: &Health, error: notify::Error) -> Option<FileEvent> {
    let is_ours = |path: &PathBuf| path == root || name_of(root, path).is_some();
    if !error.paths.is_empty() && !error.paths.iter().any(is_ours) {
        return None;
    }
    let unreadable = matches!(&error.kind, ErrorKind::Io(e) if e.kind() == io::ErrorKind::PermissionDenied);
    let error = WatchError::new(root, error);
    tracing::warn!(error = &error as &dyn std::error::Error, "part of the folder is not watched");
    if unreadable {
        return None;
    }
    health.set_part(Some(error.to_string()));
    Some(FileEvent::Overflow)
}

fn translate(root: &Path, health: &Health, is_own: &dyn Fn(&FileName) -> bool, event: &Event) -> Option<FileEvent> {
    if event.need_rescan() {
        return Some(FileEvent::Overflow);
    }
    let path = event.paths.first()?;
    if path == root {
        return on_root(health, event.kind);
    }
    let Some(name) = name_of(root, path) else { return on_refused(root, path, event.kind) };
    match event.kind {
        EventKind::Create(CreateKind::Folder) => Some(FileEvent::Directory(name)),
        EventKind::Create(_) => Some(on_appeared(path, name, FileEvent::Created)),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            (!is_own(&name)).then(|| on_appeared(path, name, FileEvent::Arrived))
        }
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Some(FileEvent::Gone(name)),
        EventKind::Modify(ModifyKind::Data(_)) => Some(FileEvent::Written(name)),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(FileEvent::Closed(name)),
        EventKind::Remove(RemoveKind::File) => Some(FileEvent::Gone(name)),
        // What was in it was told file by file.
        EventKind::Remove(RemoveKind::Folder) => None,
        // Something was unmounted.
        EventKind::Remove(_) => Some(FileEvent::Overflow),
        _ => None,
    }
}

/// The folder itself was removed, moved or unmounted: whatever has its path is not watched.
fn on_root(health: &Health, kind: EventKind) -> Option<FileEvent> {
    let lost = matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
    if lost {
        health.set_lost(true);
    }
    lost.then_some(FileEvent::Overflow)
}

/// Something whose name can't be mirrored came or went.
fn on_refused(root: &Path, path: &Path, kind: EventKind) -> Option<FileEvent> {
    let relative = path.strip_prefix(root).ok()?;
    let above = relative.parent()?.as_os_str().as_bytes();
    let why = FileName::from_bytes(relative.as_os_str().as_bytes()).err()?;
    // What is beneath a refused directory goes with it.
    if why == NameError::TooDeep || !above.is_empty() && FileName::from_bytes(above).is_err() {
        return None;
    }
    let why = match kind {
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            std::fs::symlink_metadata(path).is_ok().then_some(why)
        }
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => None,
        _ => return None,
    };
    Some(FileEvent::Refused(relative.to_string_lossy().into_owned(), why))
}

/// What it means that `name` came to exist; `as_file` says it of an ordinary file.
fn on_appeared(path: &Path, name: FileName, as_file: fn(FileName) -> FileEvent) -> FileEvent {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => FileEvent::Directory(name),
        // A link or a pipe has taken the name: whatever file had it is gone.
        Ok(metadata) if !metadata.is_file() => FileEvent::Gone(name),
        // A second name for a file that is there comes with its bytes, and no close follows.
        Ok(metadata) if metadata.nlink() > 1 => FileEvent::Arrived(name),
        // If it is gone again already, the event that says so follows.
        Ok(_) | Err(_) => as_file(name),
    }
}

fn name_of(root: &Path, path: &Path) -> Option<FileName> {
    FileName::from_bytes(path.strip_prefix(root).ok()?.as_os_str().as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        process::Command,
        sync::{Mutex, mpsc},
        time::Duration,
    };
    use tempfile::TempDir;

    /// Far above what any event takes: a test that waits this long has failed.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A watched folder `root` and a place `outside` of it, on one file system.
    struct Bench {
        home: TempDir,
        root: PathBuf,
        events: mpsc::Receiver<FileEvent>,
        watcher: Watcher,
    }

    impl Bench {
        fn new() -> Self {
            Self::with(|root| fs::write(root.join("old"), "old").unwrap())
        }

        fn with(prepare: impl FnOnce(&Path)) -> Self {
            let home = tempfile::tempdir().unwrap();
            let root = home.path().join("root");
            fs::create_dir(&root).unwrap();
            fs::write(home.path().join("outside"), "outside").unwrap();
            prepare(&root);
            let (tx, events) = mpsc::channel();
            let watcher = Watcher::start(&root, |_| false, move |event| drop(tx.send(event))).unwrap();
            Self { home, root, events, watcher }
        }

        /// Runs a line of shell beside the watched folder; every program in it must exist and succeed.
        fn run(&self, line: &str) {
            let done = Command::new("sh").args(["-ec", line]).current_dir(self.home.path()).output().unwrap();
            assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        }

        /// Every event up to the removal of a file that is made for the purpose.
        fn events(&self) -> Vec<FileEvent> {
            fs::write(self.root.join("end"), "").unwrap();
            fs::remove_file(self.root.join("end")).unwrap();
            let end = name("end");
            let mut events = Vec::new();
            loop {
                match self.events.recv_timeout(PATIENCE).unwrap() {
                    FileEvent::Gone(name) if name == end => return events,
                    FileEvent::Created(name) | FileEvent::Closed(name) if name == end => {}
                    event => events.push(event),
                }
            }
        }

        fn after(&self, line: &str) -> Vec<FileEvent> {
            self.run(line);
            let mut events = self.events();
            events.dedup();
            events
        }
    }

    fn name(name: &str) -> FileName {
        FileName::new(name).unwrap()
    }

    fn created(n: &str) -> FileEvent {
        FileEvent::Created(name(n))
    }

    fn written(n: &str) -> FileEvent {
        FileEvent::Written(name(n))
    }

    fn closed(n: &str) -> FileEvent {
        FileEvent::Closed(name(n))
    }

    fn arrived(n: &str) -> FileEvent {
        FileEvent::Arrived(name(n))
    }

    fn gone(n: &str) -> FileEvent {
        FileEvent::Gone(name(n))
    }

    #[test]
    fn a_copy_is_created_written_and_closed() {
        assert_eq!(Bench::new().after("cp outside root/new"), [created("new"), written("new"), closed("new")]);
    }

    #[test]
    fn reading_and_listing_is_no_event() {
        assert_eq!(Bench::new().after("cat root/old; ls -lR root; stat root/old; chmod 600 root/old"), []);
    }

    #[test]
    fn appending_and_truncating_in_place_are_writes_that_close() {
        let bench = Bench::new();
        assert_eq!(bench.after("echo more >> root/old"), [written("old"), closed("old")]);
        assert_eq!(bench.after(": > root/old"), [written("old"), closed("old")]);
    }

    #[test]
    fn a_file_moved_in_arrives_and_one_moved_out_is_gone() {
        let bench = Bench::new();
        assert_eq!(bench.after("mv outside root/new"), [arrived("new")]);
        assert_eq!(bench.after("mv root/new outside"), [gone("new")]);
    }

    #[test]
    fn a_rename_within_the_folder_is_gone_and_arrived() {
        assert_eq!(Bench::new().after("mv root/old root/new"), [gone("old"), arrived("new")]);
    }

    #[test]
    fn a_download_renamed_from_a_temporary_name_arrives() {
        let bench = Bench::new();
        let events = bench.after("cp outside root/x.crdownload; mv root/x.crdownload root/x");
        assert_eq!(events.last(), Some(&arrived("x")));
        assert_eq!(bench.after("mv outside root/x"), [arrived("x")]);
    }

    #[test]
    fn a_hard_link_arrives() {
        assert_eq!(Bench::new().after("ln outside root/new"), [arrived("new")]);
    }

    #[test]
    fn rsync_hides_its_temporary_and_arrives() {
        let mut events = Bench::new().after("rsync -a outside root/new");
        assert_eq!(events.pop(), Some(arrived("new")));
        assert!(matches!(events.last(), Some(FileEvent::Refused(_, None))), "{events:?}");
    }

    #[test]
    fn rsync_in_place_is_written_and_closed() {
        let bench = Bench::new();
        assert_eq!(bench.after("rsync --inplace outside root/old").last(), Some(&closed("old")));
    }

    #[test]
    fn a_removed_file_is_gone() {
        assert_eq!(Bench::new().after("rm root/old"), [gone("old")]);
    }

    #[test]
    fn a_symbolic_link_or_a_pipe_in_a_files_place_means_that_the_file_is_gone() {
        let bench = Bench::new();
        assert_eq!(bench.after("ln -s outside link; mv -T link root/old"), [gone("old")]);
        assert_eq!(bench.after("mkfifo root/pipe"), [gone("pipe")]);
    }

    #[test]
    fn what_lies_behind_a_symbolic_link_is_not_watched() {
        let bench = Bench::with(|root| {
            fs::create_dir(root.join("../other")).unwrap();
            std::os::unix::fs::symlink("../other", root.join("link")).unwrap();
        });
        assert_eq!(bench.after("cp outside other/x; cp outside root/link/y"), []);
    }

    #[test]
    fn names_that_can_not_be_mirrored_are_told_when_they_come_and_go_and_nothing_beneath_them() {
        let bench = Bench::with(|root| fs::create_dir(root.join(".other")).unwrap());
        let refused = |name: &str, why| FileEvent::Refused(name.to_owned(), why);
        let events =
            bench.after("cp outside root/.hidden; cp outside root/nul; mv root/nul root/trail.; rm root/trail.");
        let expected = [refused(".hidden", Some(NameError::LeadingDot)), refused("nul", None), refused("trail.", None)];
        // A name that is gone again when its event is read is told as gone.
        let last: Vec<_> =
            ["nul", "trail."].map(|of| events.iter().rfind(|event| is_refusal(event, of)).cloned()).into();
        assert_eq!(events.first(), Some(&expected[0]));
        assert_eq!(last, [Some(expected[1].clone()), Some(expected[2].clone())]);
        assert_eq!(bench.after("mkdir root/.other/deep; cp outside root/.other/partial; echo >> root/.hidden"), []);
        let events = bench.after("mkdir root/.new");
        assert_eq!(events, [refused(".new", Some(NameError::LeadingDot))]);
    }

    fn is_refusal(event: &FileEvent, of: &str) -> bool {
        matches!(event, FileEvent::Refused(name, _) if name == of)
    }

    #[test]
    fn files_in_directories_have_their_whole_name() {
        let bench = Bench::with(|root| fs::create_dir_all(root.join("a/b")).unwrap());
        assert_eq!(bench.after("mv outside root/a/b/c"), [arrived("a/b/c")]);
        assert_eq!(bench.after("rm -r root/a"), [gone("a/b/c")]);
    }

    #[test]
    fn a_new_directory_is_told_and_watched_once_reached() {
        let bench = Bench::new();
        bench.run("mkdir -p new root/sub; cp outside new/early; mv new root/moved");
        let events = bench.events();
        for directory in ["sub", "moved"] {
            assert!(events.contains(&FileEvent::Directory(name(directory))), "{events:?}");
        }
        assert!(!events.contains(&FileEvent::Overflow), "{events:?}");
        bench.watcher.reach();
        assert_eq!(
            bench.after("ln outside root/sub/a; ln outside root/moved/b"),
            [arrived("sub/a"), arrived("moved/b")]
        );
    }

    #[test]
    fn a_directory_that_moves_is_gone_and_comes_as_a_directory() {
        let bench = Bench::with(|root| fs::create_dir_all(root.join("a/b")).unwrap());
        let events = bench.after("mv root/a root/c");
        assert!(events.contains(&gone("a")) && events.contains(&FileEvent::Directory(name("c"))), "{events:?}");
        bench.watcher.reach();
        assert_eq!(bench.after("mv outside root/c/b/d"), [arrived("c/b/d")]);
        let events = bench.after("mv root/c elsewhere");
        assert!(events.iter().all(|event| *event == gone("c")) && !events.is_empty(), "{events:?}");
    }

    #[test]
    fn a_folder_that_is_replaced_asks_for_a_rescan_and_the_new_one_is_watched() {
        let mut bench = Bench::new();
        bench.run("mv root away; rm -r away");
        assert_eq!(bench.events.recv_timeout(PATIENCE).unwrap(), FileEvent::Overflow);
        assert!(matches!(bench.watcher.renew(), Err(WatchError::Missing { .. })));
        assert!(bench.watcher.health().is_lost());
        bench.run("mkdir root");
        bench.watcher.renew().unwrap();
        assert!(!bench.watcher.health().is_lost());
        bench.events();
        assert_eq!(bench.after("mv outside root/new"), [arrived("new")]);
    }

    #[test]
    fn a_full_system_queue_asks_for_a_rescan() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        let gate = std::sync::Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        let (tx, events) = mpsc::channel();
        let held = gate.clone();
        let _watcher = Watcher::start(
            root,
            |_| false,
            move |event| {
                let _open = held.lock().unwrap();
                let _ = tx.send(event);
            },
        )
        .unwrap();

        let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        for _ in 0..=most.trim().parse::<u32>().unwrap() / 2 {
            fs::write(root.join("x"), "").unwrap();
            fs::remove_file(root.join("x")).unwrap();
        }
        drop(closed);
        while events.recv_timeout(PATIENCE).unwrap() != FileEvent::Overflow {}
    }

    #[test]
    fn what_is_no_directory_is_refused_each_for_its_reason() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let start = |path: &Path| Watcher::start(path, |_| false, drop);
        assert!(matches!(start(&file), Err(WatchError::NotADirectory { .. })));
        assert!(matches!(start(&home.path().join("none")), Err(WatchError::Missing { .. })));
    }

    #[test]
    fn a_reached_limit_names_the_setting_that_raises_it() {
        let path = Path::new("/srv/waptwua");
        let limit = WatchError::new(path, notify::Error::new(ErrorKind::MaxFilesWatch));
        assert!(limit.to_string().contains("sysctl -w fs.inotify.max_user_watches="), "{limit}");
        let limit = WatchError::new(path, notify::Error::io(Errno::MFILE.into()));
        assert!(limit.to_string().contains("sysctl -w fs.inotify.max_user_instances="), "{limit}");
    }

    #[test]
    fn an_unreadable_directory_does_not_ask_for_rescans_for_ever() {
        let root = Path::new("/srv/waptwua");
        let health = Health::default();
        let error = |kind, path: &str| on_error(root, &health, notify::Error::new(kind).add_path(root.join(path)));
        let denied = || ErrorKind::Io(Errno::ACCESS.into());
        assert_eq!(error(denied(), "sub"), None);
        assert_eq!(health.unwatched_part(), None);
        assert_eq!(error(ErrorKind::Io(Errno::IO.into()), "sub"), Some(FileEvent::Overflow));
        assert_eq!(error(ErrorKind::MaxFilesWatch, "sub"), Some(FileEvent::Overflow));
        assert_eq!(error(ErrorKind::MaxFilesWatch, ".stfolder/x"), None);
        assert!(health.unwatched_part().unwrap().contains("max_user_watches"));
    }

    #[test]
    fn a_part_that_is_not_watched_is_remembered_until_the_folder_is_watched_anew() {
        let mut bench = Bench::new();
        let full = notify::Error::new(ErrorKind::MaxFilesWatch).add_path(bench.root.join("sub"));
        on_error(&bench.root, &bench.watcher.health, full);
        assert!(bench.watcher.health().unwatched_part().is_some());
        bench.watcher.renew().unwrap();
        assert_eq!(bench.watcher.health().unwatched_part(), None);
    }
}
