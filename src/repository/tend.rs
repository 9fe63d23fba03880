//! Tends one folder for as long as the daemon runs: listens to the watcher, scans, hashes what
//! differs, and publishes in groups.
//!
//! Order of events for one file on a main: it settles, is examined (hashed) on a blocking thread,
//! and is published with whatever else was examined meanwhile, in one commit. What fails or changed
//! meanwhile is looked at again. Names wait in bounded queues; where those are full, the watcher's
//! own debounce holds them back, and beyond that a scan finds them.

use super::{
    attention::Alarm,
    error::RepositoryError,
    examine::{Adoptable, Examined, QUIET},
    hashers::{self, Hashing, Outcome, Work},
    later::Later,
    open::{Progress, Repository},
    scan::ScanSummary,
};
use crate::{
    base::{spacing::Spacing, tasks},
    domain::{
        member::Role,
        name::{FileName, FolderName},
    },
    watch::{Settled, Watch},
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, error::TrySendError},
    },
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Settled names that wait at once.
const SETTLED: usize = 1_024;
/// Batches of files that share one commit at most: some 4,000 small files.
const GROUP: usize = 64;
/// Commits are at least this far apart: each costs several syncs, and a burst shares them. The first
/// of a burst waits for nothing, nor does a full group.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// An immutable file that changed while it was read is looked at again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// When every place before the hashers is taken, names wait this long.
const HASHERS_BUSY: Duration = Duration::from_millis(50);
/// How often the trash is looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// How often it is looked at whether the folder is in its place and watched.
const LOOK_AT_PLACE_EVERY: Duration = Duration::from_secs(2);
/// How often what could not be read is tried again.
const TRY_UNREADABLE_EVERY: Duration = Duration::from_secs(60);
/// Directories that wait to be looked through; beyond it a scan finds what is in them.
const MAX_DIRECTORIES: usize = 10_000;
/// How often the room on the disk is looked at.
const LOOK_AT_ROOM_EVERY: Duration = Duration::from_secs(30);

/// How a folder is tended.
#[derive(Debug, Clone, Copy)]
pub struct TendConfig {
    /// How often the whole tree is compared with the rows.
    pub rescan_every: Duration,
    /// How long removed files rest.
    pub trash_for: Duration,
    /// Files that are hashed at once, over all folders.
    pub hashers: usize,
}

/// The tender of one folder.
pub struct Tend {
    repository: Arc<Repository>,
    folder: FolderName,
    config: TendConfig,
    hashers: Arc<Semaphore>,
    work: mpsc::Sender<Work>,
    later: Later,
    scanning: Option<JoinHandle<Result<ScanSummary, RepositoryError>>>,
    commits: Spacing,
    watched: bool,
    scan_again: bool,
    /// Absent where watching could not begin.
    watch: Option<Watch>,
    was_in_place: bool,
    directories: BTreeSet<FileName>,
    walking: Option<JoinHandle<Result<(), RepositoryError>>>,
    /// The running scan failed: it does not count as having seen the folder.
    scan_failed: bool,
}

impl Tend {
    /// A tender of `folder`; `hashers` is shared by all of them.
    pub fn new(repository: Arc<Repository>, folder: FolderName, config: TendConfig, hashers: Arc<Semaphore>) -> Self {
        let (work, _) = mpsc::channel(1);
        let (later, scanning) = (Later::default(), None);
        let commits = Spacing::new(COMMIT_EVERY);
        Self {
            repository,
            folder,
            config,
            hashers,
            work,
            later,
            scanning,
            commits,
            watched: true,
            scan_again: false,
            watch: None,
            was_in_place: true,
            directories: BTreeSet::new(),
            walking: None,
            scan_failed: false,
        }
    }

    /// Goes by rescans alone, where nobody tells what happens in the folder.
    pub fn unwatched(self) -> Self {
        Self { watched: false, ..self }
    }

    /// Tends the folder until `cancel`.
    pub async fn run(mut self, cancel: CancellationToken) {
        let (settled_tx, mut settled) = mpsc::channel(SETTLED);
        let Hashing { work, mut outcomes, task: _hashing } =
            hashers::start(self.repository.clone(), self.folder.clone(), self.hashers.clone());
        self.work = work;
        self.watch = self.watch(settled_tx).await;
        let repository = self.repository.clone();
        let Some(open) = repository.folders.get(&self.folder) else { return };
        let mut changes = self.repository.changes();
        let mut rescan = tokio::time::interval(self.config.rescan_every);
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        let mut room = tokio::time::interval(LOOK_AT_ROOM_EVERY);
        let mut place = tokio::time::interval(LOOK_AT_PLACE_EVERY);
        let mut unreadable = tokio::time::interval(TRY_UNREADABLE_EVERY);
        let mut group = Vec::new();
        loop {
            let (wake, has_room) = (self.later.next_due(), self.later.has_room());
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(settled) = settled.recv(), if has_room => self.on_settled(settled).await,
                n = receive_after(self.wait_for_commit(), &mut outcomes, &mut group) => if n > 0 { self.on_outcomes(&mut group).await },
                scanned = join(&mut self.scanning) => self.on_scanned(scanned).await,
                walked = join(&mut self.walking) => self.on_walked(walked),
                () = sleep_until(wake) => self.on_wake(),
                () = open.progress.wake.notified() => self.begin_scan(),
                Ok(()) = changes.changed(), if has_room => self.on_changes(),
                _ = rescan.tick() => self.begin_scan(),
                _ = sweep.tick() => self.sweep_trash().await,
                _ = room.tick() => self.look_at_room().await,
                _ = place.tick() => self.look_at_place().await,
                _ = unreadable.tick() => self.try_unreadable().await,
            }
        }
    }

    async fn watch(&self, settled: mpsc::Sender<Settled>) -> Option<Watch> {
        let path = self.repository.folder_path(&self.folder).filter(|_| self.watched)?.clone();
        let own = self.repository.folders.get(&self.folder)?.own.clone();
        let (place, clock) = (path.clone(), self.repository.clock().clone());
        let started = tasks::blocking(move || Watch::start(&place, clock, own, settled)).await.ok()?;
        match started {
            Ok(watch) => Some(watch),
            Err(error) => {
                let what = format!("{} can't be watched: {error}; changes are seen only by rescans", path.display());
                let alarm = Alarm::FolderUnwatched(self.folder.clone());
                self.repository.attention.raise(alarm, what, "remove the cause, then restart");
                None
            }
        }
    }

    async fn on_settled(&mut self, settled: Settled) {
        match settled {
            Settled::Arrived(name) => self.later(Duration::ZERO, name),
            Settled::Rescan => self.begin_scan(),
            Settled::Gone(names) => self.on_gone(names).await,
            // A main decides when the rescan has counted all of them.
            Settled::Doubtful(_) if self.repository.role() == Role::Main => {}
            Settled::Doubtful(names) => self.on_gone(names).await,
            Settled::Directory(name) => self.on_directory(name),
            Settled::Refused(names) => self.repository.note_refused(&self.folder, names),
        }
    }

    fn on_directory(&mut self, name: FileName) {
        if self.directories.len() == MAX_DIRECTORIES {
            self.directories.clear();
            return self.begin_scan();
        }
        self.directories.insert(name);
        self.begin_walk();
    }

    /// Looks through one directory at a time; what differs goes to the watcher's debounce.
    fn begin_walk(&mut self) {
        let Some(watch) = self.watch.as_ref().filter(|_| self.walking.is_none()) else { return };
        let Some(directory) = self.directories.pop_first() else { return };
        let (repository, folder, seen) = (self.repository.clone(), self.folder.clone(), watch.seen());
        self.walking = Some(tokio::task::spawn_blocking(move || {
            repository.scan_beneath(&folder, &directory, &mut |name, _| _ = seen.blocking_send(name))
        }));
    }

    fn on_walked(&mut self, walked: Result<(), RepositoryError>) {
        self.walking = None;
        if let Err(error) = walked {
            let error = &error as &dyn std::error::Error;
            tracing::error!(folder = %self.folder, error, "looking through a directory failed");
        }
        self.begin_walk();
    }

    /// A main decides on all of them at once; a secondary looks at each.
    async fn on_gone(&mut self, names: Vec<FileName>) {
        if self.repository.role() == Role::Secondary {
            let (folder, gone) = (self.folder.clone(), names.clone());
            self.blocking("looking for removed files", move |repository| repository.lose_beneath(&folder, &gone)).await;
            return names.into_iter().for_each(|name| self.later(Duration::ZERO, name));
        }
        let (folder, gone) = (self.folder.clone(), names.clone());
        let removed = self.blocking("signing removals", move |repository| repository.remove_gone(&folder, &gone)).await;
        if removed.is_none() {
            names.into_iter().for_each(|name| self.later(QUIET, name));
        }
    }

    async fn on_outcomes(&mut self, batches: &mut Vec<Vec<Outcome>>) {
        let group: Vec<_> = batches.drain(..).flatten().collect();
        let (mut ready, mut gone) = (Vec::new(), Vec::new());
        let scanned = group.iter().filter(|outcome| outcome.work.scanned).count() as u64;
        for Outcome { work: Work { name, .. }, examined } in group {
            match examined {
                Some(Examined::Ready(file)) => ready.push(file),
                Some(Examined::Gone) => gone.push(name),
                Some(Examined::Unsettled) if name.is_immutable() => self.later(LOOK_AGAIN, name),
                Some(Examined::Unsettled) | None => self.later(QUIET, name),
                Some(Examined::Unchanged | Examined::Incomplete | Examined::Unreadable) => {}
            }
        }
        if self.repository.role() == Role::Main {
            self.publish(ready).await;
            if !gone.is_empty() {
                self.on_gone(gone).await;
            }
        }
        self.progress(|progress| _ = progress.done_files.fetch_add(scanned, Relaxed));
        self.finish_if_done().await;
    }

    fn wait_for_commit(&self) -> Duration {
        self.commits.wait(self.repository.clock().monotonic())
    }

    async fn publish(&mut self, ready: Vec<Adoptable>) {
        if ready.is_empty() {
            return;
        }
        let names: Vec<_> = ready.iter().map(|file| file.name.clone()).collect();
        self.commits.on_step(self.repository.clock().monotonic());
        let published = self.blocking("publishing", move |repository| repository.publish(&ready)).await;
        match published {
            Some(changed) => changed.into_iter().for_each(|name| self.later(LOOK_AGAIN, name)),
            None => names.into_iter().for_each(|name| self.later(QUIET, name)),
        }
    }

    /// Starts a scan, or another one after all that the running one found was looked at.
    fn begin_scan(&mut self) {
        let Some(open) = self.repository.folders.get(&self.folder) else { return };
        if open.progress.running.swap(true, AcqRel) {
            self.scan_again = true;
            return;
        }
        open.progress.asked.store(false, Release);
        open.progress.reset();
        let (repository, folder, work) = (self.repository.clone(), self.folder.clone(), self.work.clone());
        self.scanning = Some(tasks::blocking(move || {
            repository.scan(&folder, &mut |name, stat| {
                if let Some(open) = repository.folders.get(&folder) {
                    open.progress.total_files.fetch_add(1, Relaxed);
                    open.progress.total_bytes.fetch_add(stat.size, Relaxed);
                }
                work.blocking_send(Work { name, size: Some(stat.size), scanned: true }).ok();
            })
        }));
    }

    async fn on_scanned(&mut self, scanned: Result<ScanSummary, RepositoryError>) {
        self.scanning = None;
        self.scan_failed = scanned.is_err();
        if let Err(error) = scanned {
            let error = &error as &dyn std::error::Error;
            tracing::error!(folder = %self.folder, error, "scanning failed");
        }
        self.finish_if_done().await;
    }

    /// A scan is over when everything that it found was looked at.
    async fn finish_if_done(&mut self) {
        let Some(open) = self.repository.folders.get(&self.folder) else { return };
        if self.scanning.is_some() || !open.progress.running.load(Acquire) || open.progress.is_under_way() {
            return;
        }
        open.progress.running.store(false, Release);
        if !self.scan_failed {
            let folder = self.folder.clone();
            self.blocking("finishing the adoption", move |repository| repository.finish_adoption(&folder)).await;
        }
        if std::mem::take(&mut self.scan_again) {
            self.begin_scan();
        }
    }

    fn on_changes(&mut self) {
        for name in self.repository.take_faults(&self.folder) {
            tracing::warn!(folder = %self.folder, %name, "a file is not what was verified");
            self.later(Duration::ZERO, name);
        }
    }

    fn later(&mut self, wait: Duration, name: FileName) {
        let at = self.repository.clock().monotonic() + wait;
        if !self.later.push(at, name) {
            tracing::debug!(folder = %self.folder, "too many names wait; the next scan finds the others");
        }
    }

    /// Hands due names to the hashers, as far as there is room for them.
    fn on_wake(&mut self) {
        let now = self.repository.clock().monotonic();
        while let Some(name) = self.later.pop(now) {
            if let Err(TrySendError::Full(work)) = self.work.try_send(Work { name, size: None, scanned: false }) {
                return self.later(HASHERS_BUSY, work.name);
            }
        }
    }

    /// Also gives intents that could not be carried out another try.
    async fn sweep_trash(&self) {
        let folder = self.folder.clone();
        let keep = self.config.trash_for.as_secs();
        self.blocking("sweeping the trash", move |repository| {
            repository.bury()?;
            let before = repository.clock().unix_seconds().saturating_sub(keep);
            let swept = repository.sweep_trash_of(&folder, before)?;
            if swept.files > 0 {
                tracing::info!(%folder, files = swept.files, bytes = swept.bytes, "the trash was swept");
            }
            Ok(())
        })
        .await;
    }

    async fn look_at_room(&self) {
        let folder = self.folder.clone();
        let look = move |repository: &Repository| repository.folder(&folder).map(|open| repository.judge_room(open));
        self.blocking("looking at the room on the disk", look).await;
    }

    /// A folder that is in its place again, or was put there while its watch was lost, is watched and
    /// scanned at once.
    async fn look_at_place(&mut self) {
        let folder = self.folder.clone();
        let look =
            move |repository: &Repository| repository.folder(&folder).and_then(|open| repository.is_in_place(open));
        let is_in_place = self.blocking("looking at the folder's place", look).await.unwrap_or(false);
        let is_back = is_in_place && !std::mem::replace(&mut self.was_in_place, is_in_place);
        self.was_in_place = is_in_place;
        if is_back || is_in_place && self.watch.as_ref().is_some_and(Watch::is_lost) {
            tracing::info!(folder = %self.folder, "the folder is in its place again");
            self.watch_anew().await;
        }
        self.judge_watch();
    }

    async fn watch_anew(&mut self) {
        let Some(watch) = &self.watch else { return self.begin_scan() };
        match watch.renew().await {
            Ok(()) => self.begin_scan(),
            // The watcher goes on trying, and asks for rescans meanwhile.
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(folder = %self.folder, error, "the folder is not watched");
            }
        }
    }

    fn judge_watch(&self) {
        let Some(watch) = &self.watch else { return };
        // A folder that is elsewhere has an alarm of its own.
        let part = watch.unwatched_part().filter(|_| self.was_in_place);
        self.repository.judge_unwatched(&self.folder, part);
    }

    async fn try_unreadable(&mut self) {
        let folder = self.folder.clone();
        let try_all = move |repository: &Repository| repository.readable_again(&folder);
        let Some((files, directory)) = self.blocking("trying unreadable files", try_all).await else { return };
        files.into_iter().for_each(|name| self.later(Duration::ZERO, name));
        // It was not watched either.
        if directory {
            self.watch_anew().await;
        }
    }

    /// `None` if it failed; the log and an alarm say why.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        act: impl FnOnce(&Repository) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Option<T> {
        let repository = self.repository.clone();
        match tasks::blocking(move || act(&repository)).await {
            Ok(Ok(done)) => {
                self.repository.attention.clear(&Alarm::Failing(doing));
                Some(done)
            }
            Ok(Err(error)) => {
                tracing::error!(folder = %self.folder, error = &error as &dyn std::error::Error, "{doing} failed");
                let cure = "look at the log; it is tried again";
                self.repository.attention.raise(Alarm::Failing(doing), format!("{doing} failed: {error}"), cure);
                None
            }
            Err(error) => {
                tracing::error!(folder = %self.folder, %error, "{doing} was cut short");
                None
            }
        }
    }

    fn progress(&self, act: impl FnOnce(&Progress)) {
        if let Some(open) = self.repository.folders.get(&self.folder) {
            act(&open.progress);
        }
    }
}

async fn join<T>(task: &mut Option<JoinHandle<Result<T, RepositoryError>>>) -> Result<T, RepositoryError> {
    match task {
        Some(running) => match running.await {
            Ok(result) => result,
            Err(error) => Err(RepositoryError::io("running", "a scan")(std::io::Error::other(error))),
        },
        None => std::future::pending().await,
    }
}

/// What has come after `wait`, or as soon as there is a full group; what has come by then stays in `group` if this is
/// dropped. Waits for something to come.
async fn receive_after(
    wait: Duration,
    outcomes: &mut mpsc::Receiver<Vec<Outcome>>,
    group: &mut Vec<Vec<Outcome>>,
) -> usize {
    let filled = async { while group.len() < GROUP && outcomes.recv_many(group, GROUP - group.len()).await > 0 {} };
    tokio::time::timeout(wait, filled).await.ok();
    if group.is_empty() { outcomes.recv_many(group, GROUP).await } else { group.len() }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
