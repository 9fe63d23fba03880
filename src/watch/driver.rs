//! The task that joins the system's events, the machine and time.

use super::{
    inbox::Inbox,
    inotify::{Health, WatchError, Watcher},
    own::Own,
    settle::{FileEvent, Settle, Settled},
};
use crate::{base::clock::SharedClock, domain::name::FileName};
use std::{
    error::Error,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, Permit, Receiver, Sender},
    task::spawn_blocking,
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

/// Quiet after which a closed mutable file has settled (design: "close-write and 30 s of quiet").
const QUIET_MUTABLE: Duration = Duration::from_secs(30);
/// Quiet after which removals are told: long enough for a program that replaces by unlink and
/// create, short enough that a removed file is soon known to be missing.
const QUIET_REMOVED: Duration = Duration::from_secs(2);
/// Names from a scan on their way to the task: enough not to wait for every single one.
const SEEN_CAPACITY: usize = 256;

/// A watched folder. Dropping it ends the task; the receiver then finds its channel closed.
#[derive(Debug)]
pub struct Watch {
    seen: Sender<FileName>,
    watcher: Arc<Mutex<Watcher>>,
    health: Arc<Health>,
    _task: AbortOnDropHandle<()>,
}

impl Watch {
    /// Watches `path` and tells `tx` what has settled, for as long as both live. Whatever happens
    /// after this returned is told, unless it is `own`; what was there before is for a first scan to find.
    ///
    /// Must be called within a Tokio runtime; blocks while the directories beneath are walked.
    pub fn start(path: &Path, clock: SharedClock, own: Arc<Own>, tx: Sender<Settled>) -> Result<Self, WatchError> {
        let inbox = Arc::new(Inbox::default());
        let (sink, time, known) = (inbox.clone(), clock.clone(), own.clone());
        let is_own = move |name: &FileName| own.is_own(name, time.monotonic());
        let watcher = Watcher::start(path, is_own, move |event| {
            if event == FileEvent::Overflow {
                known.forget();
            }
            sink.push(event);
        })?;
        if watcher.health().unwatched_part().is_some() {
            inbox.push(FileEvent::Overflow);
        }
        Ok(Self::spawn(Driver::new(watcher, clock, inbox), tx))
    }

    /// Tells that a scan found `name` to exist and to differ from what is known. It comes back as
    /// settled, unless events say more of it.
    pub async fn on_seen(&self, name: FileName) {
        // The task ends when nobody receives what settles, and then nobody misses this name.
        let _ = self.seen.send(name).await;
    }

    /// Where a scan on a thread of its own puts the names of [`on_seen`](Self::on_seen).
    pub fn seen(&self) -> Sender<FileName> {
        self.seen.clone()
    }

    /// Whether the folder itself went (moved, removed, unmounted) and is not watched since.
    pub fn is_lost(&self) -> bool {
        self.health.is_lost()
    }

    /// Why a part of the folder is not watched, if one is not; rescans go on in its place.
    pub fn unwatched_part(&self) -> Option<String> {
        self.health.unwatched_part()
    }

    /// Watches the folder anew, as it is under its path at this moment; a scan should follow.
    pub async fn renew(&self) -> Result<(), WatchError> {
        let watcher = self.watcher.clone();
        // It fails only while the runtime ends.
        spawn_blocking(move || lock(&watcher).renew()).await.unwrap_or(Ok(()))
    }

    fn spawn(driver: Driver, tx: Sender<Settled>) -> Self {
        let (seen, seen_rx) = mpsc::channel(SEEN_CAPACITY);
        let watcher = driver.watcher.clone();
        let health = lock(&watcher).health();
        Self { seen, watcher, health, _task: AbortOnDropHandle::new(tokio::spawn(driver.run(seen_rx, tx))) }
    }
}

fn lock(watcher: &Mutex<Watcher>) -> MutexGuard<'_, Watcher> {
    watcher.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Driver {
    clock: SharedClock,
    settle: Settle,
    inbox: Arc<Inbox>,
    watcher: Arc<Mutex<Watcher>>,
}

impl Driver {
    fn new(watcher: Watcher, clock: SharedClock, inbox: Arc<Inbox>) -> Self {
        let settle = Settle::new(QUIET_MUTABLE, QUIET_REMOVED);
        Self { clock, settle, inbox, watcher: Arc::new(Mutex::new(watcher)) }
    }

    async fn run(mut self, mut seen: Receiver<FileName>, tx: Sender<Settled>) {
        loop {
            let wait = self.time_to_next();
            let is_due = wait.is_some_and(|wait| wait.is_zero());
            tokio::select! {
                () = self.inbox.filled() => self.on_events(),
                Some(name) = seen.recv() => self.on_event(FileEvent::Seen(name)),
                Ok(room) = tx.reserve(), if is_due => self.on_room(room).await,
                () = sleep(wait.unwrap_or_default()), if wait.is_some() && !is_due => {}
                () = tx.closed() => return,
            }
        }
    }

    fn time_to_next(&self) -> Option<Duration> {
        let due = self.settle.next_timeout()?;
        Some(due.saturating_duration_since(self.clock.monotonic()))
    }

    fn on_events(&mut self) {
        for event in self.inbox.take() {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: FileEvent) {
        self.settle.on_event(event, self.clock.monotonic());
    }

    /// The receiver has room: the newest events are read first, so that nothing is told which a
    /// writer has just taken up again.
    async fn on_room(&mut self, room: Permit<'_, Settled>) {
        self.on_events();
        let Some(settled) = self.settle.poll(self.clock.monotonic()) else { return };
        match settled {
            Settled::Rescan => self.renew().await,
            Settled::Directory(_) => self.reach().await,
            _ => {}
        }
        room.send(settled);
    }

    /// The rescan must not run before every directory is watched: a file that came in between would
    /// be missed. Where that fails, rescans go on in the watch's place.
    async fn renew(&mut self) {
        let watcher = self.watcher.clone();
        let renewed = spawn_blocking(move || lock(&watcher).renew()).await;
        let error: Box<dyn Error> = match renewed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        };
        tracing::warn!(error = &*error, "the folder is not watched");
        drop(error);
        self.on_event(FileEvent::Overflow);
    }

    /// A directory must not be looked through before it is watched: what came in between would be missed.
    async fn reach(&self) {
        let watcher = self.watcher.clone();
        // It fails only while the runtime ends.
        let _ = spawn_blocking(move || lock(&watcher).reach()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{Clock, RuntimeClock, SystemClock};
    use std::fs;
    use tempfile::TempDir;
    use tokio::time::timeout;

    /// Far above what any event takes: a test that waits this long has failed.
    const PATIENCE: Duration = Duration::from_secs(90);

    fn name(name: &str) -> FileName {
        FileName::new(name).unwrap()
    }

    fn immutable(n: u32) -> FileName {
        name(&format!("kb{n}_da39a3ee5e6b4b0d3255bfef95601890afd80709.cab"))
    }

    /// A driver with a folder in which nothing happens; events are pushed by the test.
    fn quiet(capacity: usize) -> (TempDir, Arc<Inbox>, Watch, Receiver<Settled>) {
        let root = tempfile::tempdir().unwrap();
        let inbox = Arc::new(Inbox::default());
        let watcher = Watcher::start(root.path(), |_| false, drop).unwrap();
        let (tx, rx) = mpsc::channel(capacity);
        let watch = Watch::spawn(Driver::new(watcher, Arc::new(RuntimeClock), inbox.clone()), tx);
        (root, inbox, watch, rx)
    }

    /// What is told next; under the runtime's clock this waits for all that the machine waits for.
    async fn next(rx: &mut Receiver<Settled>) -> Settled {
        timeout(PATIENCE, rx.recv()).await.unwrap().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_told_when_the_clock_says_so() {
        let (_root, inbox, _watch, mut rx) = quiet(8);
        let start = RuntimeClock.monotonic();
        inbox.push(FileEvent::Closed(name("wsusscn2.cab")));
        inbox.push(FileEvent::Gone(name("a")));
        inbox.push(FileEvent::Closed(immutable(1)));
        let told = |settled| (RuntimeClock.monotonic().duration_since(start).as_secs(), settled);
        assert_eq!(told(next(&mut rx).await), (0, Settled::Arrived(immutable(1))));
        assert_eq!(told(next(&mut rx).await), (2, Settled::Gone(vec![name("a")])));
        assert_eq!(told(next(&mut rx).await), (30, Settled::Arrived(name("wsusscn2.cab"))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_taken_up_again_while_the_receiver_is_busy_is_not_told() {
        // Which arm a task takes first is drawn, so once would prove little.
        for _ in 0..32 {
            let (_root, inbox, _watch, mut rx) = quiet(1);
            inbox.push(FileEvent::Closed(immutable(1)));
            inbox.push(FileEvent::Closed(immutable(2)));
            sleep(Duration::from_secs(1)).await;
            inbox.push(FileEvent::Gone(immutable(2)));
            assert_eq!(next(&mut rx).await, Settled::Arrived(immutable(1)));
            assert_eq!(next(&mut rx).await, Settled::Gone(vec![immutable(2)]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_a_scan_saw_all_come_back() {
        let (_root, _inbox, watch, mut rx) = quiet(1);
        let count = SEEN_CAPACITY as u32 * 2;
        let scan = tokio::spawn(async move {
            for n in 0..count {
                watch.on_seen(immutable(n)).await;
            }
            watch
        });
        let mut told = Vec::new();
        for _ in 0..count {
            told.push(next(&mut rx).await);
        }
        let watch = scan.await.unwrap();
        told.sort_by_key(|settled| format!("{settled:?}"));
        told.dedup();
        assert_eq!(told.len(), count as usize);
        drop(watch);
    }

    #[tokio::test]
    async fn dropping_the_watch_closes_the_channel() {
        let (_root, _inbox, watch, mut rx) = quiet(1);
        drop(watch);
        assert_eq!(timeout(PATIENCE, rx.recv()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_receiver_that_goes_ends_the_task() {
        let (_root, _inbox, watch, rx) = quiet(1);
        drop(rx);
        timeout(PATIENCE, watch.seen.closed()).await.unwrap();
    }

    #[tokio::test]
    async fn a_new_directory_is_told_and_what_comes_into_it_afterwards_too() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(home.path().join("file"), "x").unwrap();
        let (tx, mut rx) = mpsc::channel(8);
        let _watch = Watch::start(&root, Arc::new(SystemClock), Arc::default(), tx).unwrap();

        fs::create_dir(root.join("sub")).unwrap();
        assert_eq!(next(&mut rx).await, Settled::Directory(name("sub")));
        let inside = format!("sub/{}", immutable(1));
        fs::rename(home.path().join("file"), root.join(&inside)).unwrap();
        assert_eq!(next(&mut rx).await, Settled::Arrived(name(&inside)));
    }

    #[tokio::test]
    async fn what_this_program_moves_in_is_not_told_and_what_another_does_is() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        fs::create_dir(&root).unwrap();
        let (tx, mut rx) = mpsc::channel(8);
        let own = Arc::new(Own::default());
        let _watch = Watch::start(&root, Arc::new(SystemClock), own.clone(), tx).unwrap();

        let move_in = |name: &FileName| {
            fs::write(home.path().join("file"), "x").unwrap();
            fs::rename(home.path().join("file"), root.join(name.as_str())).unwrap();
        };
        own.expect(&immutable(1), SystemClock.monotonic());
        [1, 2].map(immutable).iter().for_each(move_in);
        assert_eq!(next(&mut rx).await, Settled::Arrived(immutable(2)));
        move_in(&immutable(1));
        assert_eq!(next(&mut rx).await, Settled::Arrived(immutable(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_is_missing_is_rescanned_every_minute_until_it_is_back() {
        let (root, inbox, _watch, mut rx) = quiet(8);
        fs::remove_dir(root.path()).unwrap();
        inbox.push(FileEvent::Overflow);
        let start = RuntimeClock.monotonic();
        assert_eq!(next(&mut rx).await, Settled::Rescan);
        assert_eq!(next(&mut rx).await, Settled::Rescan);
        assert_eq!(RuntimeClock.monotonic().duration_since(start).as_secs(), 60);
        fs::create_dir(root.path()).unwrap();
        assert_eq!(next(&mut rx).await, Settled::Rescan);
        assert!(timeout(Duration::from_secs(600), rx.recv()).await.is_err());
    }
}
