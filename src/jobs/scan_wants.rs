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
        origin::OriginUrl,
        wants::{FileFacts, KnownFile, TaskKind, TaskResult},
    },
    repository::{Alarm, Repository, RepositoryError},
    upstream::{Fetched, Growth, Promise, Upstream, Wanted},
};
use std::{io, sync::Arc, time::Duration};
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
        while !cancel.is_cancelled() {
            tokio::select! {
                () = cancel.cancelled() => {}
                _ = every.tick() => self.scan(&cancel).await,
                () = self.wake.notified() => self.scan(&cancel).await,
            }
        }
    }

    /// Fetches until nothing more is due, or the ledger can't be read or written.
    async fn scan(self: &Arc<Self>, cancel: &CancellationToken) {
        loop {
            match self.round(cancel).await {
                Ok(0) => return self.repository.attention.clear(&LOOKING),
                Ok(_) if cancel.is_cancelled() => return,
                Ok(_) => {}
                Err(error) => {
                    let what = format!("wants can't be read or noted: {}", chain(&error));
                    return self.repository.attention.raise(LOOKING, what, "repair the state folder or its disk");
                }
            }
        }
    }

    /// Fetches what is due at this moment; answers how many files that were.
    async fn round(self: &Arc<Self>, cancel: &CancellationToken) -> Result<usize, RepositoryError> {
        let due =
            self.blocking(|repository| repository.wants_due(repository.clock().unix_seconds(), MOST_AT_ONCE)).await?;
        let count = due.len();
        let mut flights = JoinSet::new();
        for row in due {
            if flights.len() >= self.limits.max_flights {
                ended(flights.join_next().await)?;
            }
            if cancel.is_cancelled() {
                break;
            }
            flights.spawn(self.clone().fetch(row.file, cancel.clone()));
        }
        while let Some(flight) = flights.join_next().await {
            ended(Some(flight))?;
        }
        Ok(count)
    }

    /// One file, to the end of its task. Its own failure is the task's; only rows that can't be written are
    /// an error.
    async fn fetch(self: Arc<Self>, file: KnownFile, cancel: CancellationToken) -> Result<(), RepositoryError> {
        let urls: Vec<OriginUrl> = file.facts.urls_by_freshness().into_iter().cloned().collect();
        let Some(first) = urls.first().cloned() else { return Ok(()) };
        let KnownFile { folder, name, facts } = file;
        let (task_folder, task_name) = (folder.clone(), name.clone());
        let begin =
            move |repository: &Repository| repository.begin_task(TaskKind::Want, &task_folder, &task_name, &first);
        let Some(id) = self.blocking(begin).await? else { return Ok(()) };
        tracing::info!(%folder, %name, "fetching what is wanted");
        let (growth, seen) = watch::channel(None);
        let result = tokio::select! {
            () = cancel.cancelled() => TaskResult::Interrupted,
            brought = self.bring(&folder, &name, &facts, &urls, &growth) => match brought {
                Ok(()) => TaskResult::Done,
                Err(why) => TaskResult::failed(&why),
            },
        };
        match &result {
            TaskResult::Done => tracing::info!(%folder, %name, "a wanted file is here"),
            TaskResult::Failed(why) => tracing::warn!(%folder, %name, why, "a wanted file can't be fetched"),
            TaskResult::Interrupted => {}
        }
        let received = seen.borrow().as_ref().map_or(0, |growth| growth.arrived);
        self.blocking(move |repository| repository.end_task(id, &result, received)).await
    }

    /// From the first address that gives what was promised into the folder; or why not, in words.
    async fn bring(
        &self,
        folder: &FolderName,
        name: &FileName,
        facts: &FileFacts,
        urls: &[OriginUrl],
        growth: &watch::Sender<Option<Growth>>,
    ) -> Result<(), String> {
        let downloads = self.repository.staging(folder).map_err(|error| chain(&error))?.downloads().clone();
        let promise = Promise { size: facts.size, sha1: facts.sha1, sha256: facts.sha256 };
        let mut why = String::new();
        for url in urls {
            let wanted = Wanted::of(url, name, promise);
            match self.upstream.fetch(&wanted, &downloads, growth).await {
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
        self.blocking(enter).await.map(drop)
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

fn ended(flight: Option<Result<Result<(), RepositoryError>, JoinError>>) -> Result<(), RepositoryError> {
    match flight {
        Some(Ok(ended)) => ended,
        Some(Err(panic)) => Err(RepositoryError::io("fetching", "a want")(io::Error::other(panic))),
        None => Ok(()),
    }
}
