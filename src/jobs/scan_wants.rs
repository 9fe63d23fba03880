//! `scan-wants`: what is wanted and not held is fetched, the oldest and most wanted first.
//!
//! Runs on the main. Order of events for one file: its task is noted, its bytes are fetched and compared
//! with what was promised, the file enters its folder, the task ends. A failure ends the task with its
//! reason, and the want waits. Never decides what is wanted, nor when a want is due again.

use crate::{
    base::{chain::chain, tasks},
    domain::{
        file::FileRecord,
        name::{FileName, FolderName},
        wants::{FileFacts, KnownFile, TaskKind, TaskResult},
    },
    repository::{Alarm, Repository, RepositoryError},
    upstream::{Demand, Fetched, Growth, Promise, Upstream, Wanted},
};
use std::{collections::VecDeque, io, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

/// The alarm about wants that can't be looked at.
const LOOKING: Alarm = Alarm::Failing("looking for what is wanted");
/// Wants that are taken from one look at the ledger.
const MOST_AT_ONCE: usize = 256;

/// How often, and how much.
#[derive(Debug, Clone, Copy)]
pub struct ScanLimits {
    /// Between two looks that nobody asked for.
    pub every: Duration,
    /// Files that are fetched at one time.
    pub max_flights: usize,
}

/// Fetches what is wanted.
pub struct ScanWants {
    repository: Arc<Repository>,
    upstream: Upstream,
    limits: ScanLimits,
    wake: Notify,
}

impl ScanWants {
    /// Fetches nothing yet.
    pub fn new(repository: Arc<Repository>, upstream: Upstream, limits: ScanLimits) -> Arc<Self> {
        Arc::new(Self { repository, upstream, limits, wake: Notify::new() })
    }

    /// Looks at once, or once more after the look that is under way.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Looks at the start, whenever it is woken, and now and then, until `cancel`; then waits for the
    /// fetches to let go. What has arrived stays for the next run.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        if let Err(error) = self.blocking(Repository::sweep_downloads).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "downloads that nobody wants can't be removed");
        }
        let mut every = tokio::time::interval(self.limits.every.max(Duration::from_secs(1)));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut scan = Scan {
            scan_wants: &self,
            cancel: &cancel,
            queue: VecDeque::new(),
            is_more: false,
            flights: JoinSet::new(),
        };
        loop {
            let done = tokio::select! {
                () = cancel.cancelled() => break,
                _ = every.tick() => scan.look().await,
                () = self.wake.notified() => scan.look().await,
                Some(flight) = scan.flights.join_next() => scan.go_on(flight).await,
            };
            match done {
                Ok(()) => self.repository.attention.clear(&LOOKING),
                Err(error) => {
                    let what = format!("wants can't be read or noted: {}", chain(&error));
                    self.repository.attention.raise(LOOKING, what, "repair the state folder or its disk");
                }
            }
        }
        while scan.flights.join_next().await.is_some() {}
    }

    /// Notes a task for a file that is still due.
    async fn begin(&self, file: &KnownFile) -> Result<Option<u64>, RepositoryError> {
        let Some(first) = file.facts.urls_by_freshness().first().map(|url| (*url).clone()) else { return Ok(None) };
        let (folder, name) = (file.folder.clone(), file.name.clone());
        let begin = move |repository: &Repository| match repository.is_due(&folder, &name)? {
            true => repository.begin_task(TaskKind::Want, &folder, &name, &first),
            false => Ok(None),
        };
        self.blocking(begin).await
    }

    /// One file, to the end of its task. Its own failure is the task's; only rows that can't be written are
    /// an error.
    async fn fetch(
        self: Arc<Self>,
        id: u64,
        file: KnownFile,
        cancel: CancellationToken,
    ) -> Result<(), RepositoryError> {
        let KnownFile { folder, name, facts } = &file;
        tracing::info!(%folder, %name, "fetching what is wanted");
        let (growth, seen) = watch::channel(None);
        let result = tokio::select! {
            () = cancel.cancelled() => TaskResult::Interrupted,
            brought = self.bring(folder, name, facts, &growth) => match brought {
                Ok(()) => TaskResult::Done,
                Err(why) => TaskResult::failed(&why),
            },
        };
        match &result {
            TaskResult::Done => tracing::info!(%folder, %name, "a wanted file is here"),
            TaskResult::Failed(why) => tracing::warn!(%folder, %name, why, "a wanted file can't be fetched"),
            TaskResult::Interrupted => {}
        }
        let received = seen.borrow().as_ref().map_or(0, |growth: &Growth| growth.here.len());
        self.blocking(move |repository| repository.end_task(id, &result, received)).await
    }

    /// From the first address that gives what was promised into the folder; or why not, in words.
    async fn bring(
        &self,
        folder: &FolderName,
        name: &FileName,
        facts: &FileFacts,
        growth: &watch::Sender<Option<Growth>>,
    ) -> Result<(), String> {
        let downloads = self.repository.staging(folder).map_err(|error| chain(&error))?.downloads().clone();
        let promise = Promise { size: facts.size, sha1: facts.sha1, sha256: facts.sha256 };
        let mut why = String::new();
        for url in facts.urls_by_freshness() {
            let wanted = Wanted::of(url, name, promise);
            match self.upstream.fetch(&wanted, &downloads, growth, &Demand::none()).await {
                Ok(fetched) => return self.enter(folder, name, fetched).await.map_err(|error| chain(&error)),
                Err(error) => why = chain(&error),
            }
        }
        Err(why)
    }

    async fn enter(&self, folder: &FolderName, name: &FileName, fetched: Fetched) -> Result<(), RepositoryError> {
        let (folder, name) = (folder.clone(), name.clone());
        let enter = move |repository: &Repository| {
            let Fetched { download, digests } = fetched;
            let now = i64::try_from(repository.clock().unix_seconds()).unwrap_or(i64::MAX);
            let modified = download.origin().modified.unwrap_or(now);
            let staged = download.finish(modified, &repository.state().outboards);
            let staged = staged.map_err(RepositoryError::io("finishing", &name))?;
            let file = FileRecord { root: digests.root, size: digests.size, modified };
            repository.enter(&folder, &name, &staged, file)
        };
        self.blocking(enter).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Repository) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        let repository = self.repository.clone();
        let done = tasks::blocking(move || work(&repository)).await;
        done.unwrap_or_else(|panic| Err(RepositoryError::io("working on", "a want")(io::Error::other(panic))))
    }
}

type Flight = Result<(), RepositoryError>;

/// What is due and what is being fetched.
struct Scan<'s> {
    scan_wants: &'s Arc<ScanWants>,
    cancel: &'s CancellationToken,
    queue: VecDeque<KnownFile>,
    /// Whether the last look left something for another one.
    is_more: bool,
    flights: JoinSet<Flight>,
}

impl Scan<'_> {
    /// Looks for what is due, and fetches as much of it as may be fetched at one time.
    async fn look(&mut self) -> Result<(), RepositoryError> {
        let due = |repository: &Repository| repository.wants_due(repository.clock().unix_seconds(), MOST_AT_ONCE);
        self.queue = self.scan_wants.blocking(due).await?.into_iter().map(|row| row.file).collect();
        self.is_more = self.queue.len() == MOST_AT_ONCE;
        self.fill().await
    }

    /// One fetch has ended: the next one begins. A ledger is looked through once for many files.
    async fn go_on(&mut self, flight: Result<Flight, JoinError>) -> Result<(), RepositoryError> {
        flight.unwrap_or_else(|panic| Err(RepositoryError::io("fetching", "a want")(io::Error::other(panic))))?;
        if self.queue.is_empty() && self.is_more { self.look().await } else { self.fill().await }
    }

    async fn fill(&mut self) -> Result<(), RepositoryError> {
        while self.flights.len() < self.scan_wants.limits.max_flights {
            let Some(file) = self.queue.pop_front() else { break };
            if let Some(id) = self.scan_wants.begin(&file).await? {
                self.flights.spawn(self.scan_wants.clone().fetch(id, file, self.cancel.clone()));
            }
        }
        Ok(())
    }
}
