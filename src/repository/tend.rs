//! Tends one folder for as long as the daemon runs: listens to the watcher, scans, hashes what
//! differs, and publishes in groups.
//!
//! Order of events for one file on a main: it settles, is examined (hashed) on a blocking thread,
//! and is published with whatever else was examined meanwhile, in one commit.

use super::{
    adopt::{Adoptable, Examined},
    error::RepositoryError,
    open::Repository,
    scan::ScanSummary,
};
use crate::{
    domain::{
        member::Role,
        name::{FileName, FolderName},
    },
    store::disk::Stat,
    watch::{Settled, Watch},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Settled names, examined files and names from a scan that wait at once.
const QUEUE: usize = 1_024;
/// Files that share one commit at most.
const GROUP: usize = 1_000;
/// A mutable file is left alone until it was quiet for this long.
const QUIET: Duration = Duration::from_secs(30);
/// An immutable file that changed while it was read is looked at again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// When every place before the hashers is taken, names wait this long.
const HASHERS_BUSY: Duration = Duration::from_millis(50);
/// How often the trash is looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

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
    later: BTreeMap<Instant, Vec<FileName>>,
    scanning: Option<JoinHandle<Result<Scanned, RepositoryError>>>,
    scan_again: bool,
}

/// A file to be looked at.
struct Work {
    name: FileName,
    /// Whether the running scan found it and waits for it.
    scanned: bool,
}

struct Outcome {
    work: Work,
    /// `None` if looking at it failed.
    examined: Option<Examined>,
}

struct Scanned {
    summary: ScanSummary,
    /// Mutable files that were written a moment ago.
    restless: Vec<FileName>,
}

impl Tend {
    /// A tender of `folder`; `hashers` is shared by all of them.
    pub fn new(repository: Arc<Repository>, folder: FolderName, config: TendConfig, hashers: Arc<Semaphore>) -> Self {
        let (work, _) = mpsc::channel(1);
        let (later, scanning) = (BTreeMap::new(), None);
        Self { repository, folder, config, hashers, work, later, scanning, scan_again: false }
    }

    /// Tends the folder until `cancel`.
    pub async fn run(mut self, cancel: CancellationToken) {
        let (settled_tx, mut settled) = mpsc::channel(QUEUE);
        let (work, work_rx) = mpsc::channel(QUEUE);
        let (outcome_tx, mut outcomes) = mpsc::channel(QUEUE);
        self.work = work;
        let dispatcher = tokio::spawn(self.dispatcher(work_rx, outcome_tx));
        let _watch = self.watch(settled_tx);
        let mut changes = self.repository.changes();
        let mut rescan = tokio::time::interval(self.config.rescan_every);
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        let mut group = Vec::new();
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(settled) = settled.recv() => self.on_settled(settled).await,
                n = outcomes.recv_many(&mut group, GROUP) => if n > 0 { self.on_outcomes(&mut group).await },
                scanned = join(&mut self.scanning) => self.on_scanned(scanned).await,
                () = sleep_until(wake) => self.on_wake(),
                _ = rescan.tick() => self.begin_scan(),
                _ = sweep.tick() => self.sweep_trash().await,
                Ok(()) = changes.changed() => self.on_changes(),
            }
        }
        dispatcher.abort();
    }

    fn watch(&self, settled: mpsc::Sender<Settled>) -> Option<Watch> {
        use super::attention::Alarm;
        let path = self.repository.folder_path(&self.folder)?;
        let alarm = Alarm::FolderUnreadable(self.folder.clone());
        match Watch::start(path, self.repository.clock().clone(), settled) {
            Ok(watch) => Some(watch),
            Err(error) => {
                let what = format!("{} can't be watched: {error}; changes are seen only by rescans", path.display());
                self.repository.attention.raise(alarm, what, "raise fs.inotify.max_user_watches, then restart");
                None
            }
        }
    }

    /// Examines names on blocking threads, a bounded number at once.
    fn dispatcher(
        &self,
        mut work: mpsc::Receiver<Work>,
        outcomes: mpsc::Sender<Outcome>,
    ) -> impl Future<Output = ()> + use<> {
        let (repository, folder, hashers) = (self.repository.clone(), self.folder.clone(), self.hashers.clone());
        async move {
            while let Some(work) = work.recv().await {
                let Ok(permit) = hashers.clone().acquire_owned().await else { return };
                let (repository, folder, outcomes) = (repository.clone(), folder.clone(), outcomes.clone());
                tokio::spawn(async move {
                    let outcome = tokio::task::spawn_blocking(move || examine(&repository, &folder, work)).await;
                    drop(permit);
                    if let Ok(outcome) = outcome {
                        outcomes.send(outcome).await.ok();
                    }
                });
            }
        }
    }

    async fn on_settled(&mut self, settled: Settled) {
        match settled {
            Settled::Arrived(name) => self.later(Duration::ZERO, name),
            Settled::Rescan => self.begin_scan(),
            Settled::Gone(names) => self.on_gone(names).await,
        }
    }

    async fn on_gone(&mut self, names: Vec<FileName>) {
        match self.repository.role() {
            Role::Main => {
                let folder = self.folder.clone();
                self.blocking("signing removals", move |repository| repository.remove_gone(&folder, &names)).await;
            }
            Role::Secondary => names.into_iter().for_each(|name| self.later(Duration::ZERO, name)),
        }
    }

    async fn on_outcomes(&mut self, group: &mut Vec<Outcome>) {
        let mut ready: Vec<Adoptable> = Vec::new();
        let scanned = group.iter().filter(|outcome| outcome.work.scanned).count() as u64;
        for Outcome { work: Work { name, .. }, examined } in group.drain(..) {
            match examined {
                Some(Examined::Ready(file)) => ready.push(file),
                Some(Examined::Unsettled) if name.is_immutable() => self.later(LOOK_AGAIN, name),
                Some(Examined::Unsettled) | None => self.later(QUIET, name),
                Some(Examined::Unchanged | Examined::Incomplete | Examined::Gone | Examined::Unreadable) => {}
            }
        }
        if self.repository.role() == Role::Main && !ready.is_empty() {
            self.blocking("publishing", move |repository| repository.publish(&ready)).await;
        }
        self.progress(|progress| _ = progress.done_files.fetch_add(scanned, Relaxed));
        self.finish_if_done();
    }

    /// Starts a scan, or another one after the running one.
    fn begin_scan(&mut self) {
        if self.scanning.is_some() {
            self.scan_again = true;
            return;
        }
        self.progress(|progress| {
            for counter in [&progress.done_files, &progress.total_files, &progress.done_bytes, &progress.total_bytes] {
                counter.store(0, Relaxed);
            }
            progress.running.store(true, Relaxed);
        });
        let (repository, folder, work) = (self.repository.clone(), self.folder.clone(), self.work.clone());
        let now = self.repository.clock().unix_ms();
        self.scanning = Some(tokio::task::spawn_blocking(move || {
            let mut restless = Vec::new();
            let summary = repository.scan(&folder, &mut |name, stat| {
                if is_restless(&name, &stat, now) {
                    restless.push(name);
                } else {
                    note_found(&repository, &folder, &stat);
                    work.blocking_send(Work { name, scanned: true }).ok();
                }
            });
            summary.map(|summary| Scanned { summary, restless })
        }));
    }

    async fn on_scanned(&mut self, scanned: Result<Scanned, RepositoryError>) {
        self.scanning = None;
        match scanned {
            Ok(Scanned { summary, restless }) => {
                restless.into_iter().for_each(|name| self.later(QUIET, name));
                if !summary.gone.is_empty() {
                    self.on_gone(summary.gone).await;
                }
            }
            Err(error) => {
                tracing::error!(folder = %self.folder, error = &error as &dyn std::error::Error, "scanning failed")
            }
        }
        self.finish_if_done();
        if std::mem::take(&mut self.scan_again) {
            self.begin_scan();
        }
    }

    /// The first scan is over when everything that it found was looked at.
    fn finish_if_done(&mut self) {
        let Some(progress) = self.repository.folders.get(&self.folder).map(|open| &open.progress) else { return };
        let under_way = progress.done_files.load(Relaxed) < progress.total_files.load(Relaxed);
        if self.scanning.is_some() || under_way || !progress.running.load(Relaxed) {
            return;
        }
        self.progress(|progress| progress.running.store(false, Relaxed));
        if let Err(error) = self.repository.finish_adoption(&self.folder) {
            tracing::error!(folder = %self.folder, error = &error as &dyn std::error::Error, "finishing the adoption failed");
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
        self.later.entry(at).or_default().push(name);
    }

    fn next_wake(&self) -> Option<Instant> {
        self.later.keys().next().copied()
    }

    /// Hands due names to the hashers, as far as there is room for them.
    fn on_wake(&mut self) {
        let now = self.repository.clock().monotonic();
        while let Some(due) = self.later.first_entry().filter(|due| *due.key() <= now) {
            let mut names = due.remove();
            while let Some(name) = names.pop() {
                let work = Work { name, scanned: false };
                if let Err(mpsc::error::TrySendError::Full(work)) = self.work.try_send(work) {
                    names.push(work.name);
                    self.later.entry(now + HASHERS_BUSY).or_default().append(&mut names);
                }
            }
        }
    }

    async fn sweep_trash(&mut self) {
        let folder = self.folder.clone();
        let keep = self.config.trash_for.as_secs();
        self.blocking("sweeping the trash", move |repository| {
            let before = repository.clock().unix_seconds().saturating_sub(keep);
            let swept = repository.staging(&folder)?.sweep_trash(before);
            let swept = swept.map_err(RepositoryError::io("sweeping the trash of", &folder))?;
            if swept.files > 0 {
                tracing::info!(%folder, files = swept.files, bytes = swept.bytes, "the trash was swept");
            }
            Ok(())
        })
        .await;
    }

    async fn blocking(
        &self,
        doing: &'static str,
        act: impl FnOnce(&Repository) -> Result<(), RepositoryError> + Send + 'static,
    ) {
        use super::attention::Alarm;
        let repository = self.repository.clone();
        let done = tokio::task::spawn_blocking(move || {
            let result = act(&repository);
            (repository, result)
        })
        .await;
        match done {
            Ok((repository, Ok(()))) => repository.attention.clear(&Alarm::Failing(doing)),
            Ok((repository, Err(error))) => {
                tracing::error!(folder = %self.folder, error = &error as &dyn std::error::Error, "{doing} failed");
                let cure = "look at the log; the next rescan tries again";
                repository.attention.raise(Alarm::Failing(doing), format!("{doing} failed: {error}"), cure);
            }
            Err(error) => tracing::error!(folder = %self.folder, %error, "{doing} was cut short"),
        }
    }

    fn progress(&self, act: impl FnOnce(&super::open::Progress)) {
        if let Some(open) = self.repository.folders.get(&self.folder) {
            act(&open.progress);
        }
    }
}

fn examine(repository: &Repository, folder: &FolderName, work: Work) -> Outcome {
    let name = &work.name;
    let examined = match repository.role() {
        Role::Main => repository.examine(folder, name),
        Role::Secondary => repository.mend(folder, name),
    };
    let examined = examined.inspect_err(|error| {
        tracing::error!(%folder, %name, error = error as &dyn std::error::Error, "looking at a file failed");
    });
    Outcome { examined: examined.ok(), work }
}

fn note_found(repository: &Repository, folder: &FolderName, stat: &Stat) {
    if let Some(open) = repository.folders.get(folder) {
        open.progress.total_files.fetch_add(1, Relaxed);
        open.progress.total_bytes.fetch_add(stat.size, Relaxed);
    }
}

/// Whether a mutable file was written so lately that it may be written still.
fn is_restless(name: &FileName, stat: &Stat, now_ms: u64) -> bool {
    let quiet_ms = (now_ms as i64).saturating_sub(stat.modified_ns / 1_000_000);
    !name.is_immutable() && (0..QUIET.as_millis() as i64).contains(&quiet_ms)
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

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
