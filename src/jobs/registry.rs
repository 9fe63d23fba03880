//! The one place that begins jobs, whoever asks: the daemon's own clock, a timer of systemd, a person.
//!
//! Owns each job's turn and the row of its last run. Never decides what a job does, nor when it is due. Order of
//! events: a run waits for its turn; if it is to run only when it is due, that is decided then, so that two who ask
//! at the same instant get one run; its row says that it has begun, it runs, its row says what came of it. A run
//! that was cut short counts as failed.

use super::{
    job::{Job, JobFailed},
    name::JobName,
};
use crate::{
    catalog::JobRecord,
    policy::due::{Last, Next},
    repository::{Repository, RepositoryError},
};
use jiff::tz::TimeZone;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// The longest wait for the next moment: clocks are set. Also the wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Who asks for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Whether or not it is due.
    Now,
    /// Only if it is due.
    IfDue,
}

/// What came of asking for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// It ran.
    Ended(JobRecord),
    /// It is not due.
    NotDue(Option<Next>),
    /// This node does not run it.
    NotHere,
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which one.
    pub name: JobName,
    /// Whether a timer of systemd begins it.
    pub by_timer: bool,
    /// Whether it runs.
    pub is_running: bool,
    /// When it is due; `None` if only when somebody wants it.
    pub next: Option<Next>,
    /// Its last run.
    pub last: Option<JobRecord>,
}

/// The jobs of this node.
pub struct Jobs {
    repository: Arc<Repository>,
    entries: Vec<Entry>,
    zone: fn() -> TimeZone,
}

struct Entry {
    job: Arc<dyn Job>,
    by_timer: bool,
    turn: Mutex<()>,
    is_running: AtomicBool,
}

impl Jobs {
    /// None yet. `zone` tells in which zone this machine is.
    pub fn new(repository: Arc<Repository>, zone: fn() -> TimeZone) -> Self {
        Self { repository, entries: Vec::new(), zone }
    }

    /// Registers a job. Where a timer of systemd begins it, the daemon only catches up what that left undone.
    pub fn add(&mut self, job: Arc<dyn Job>, by_timer: bool) {
        self.entries.push(Entry { job, by_timer, turn: Mutex::new(()), is_running: AtomicBool::new(false) });
    }

    /// The jobs of this node.
    pub fn names(&self) -> impl Iterator<Item = JobName> {
        self.entries.iter().map(|entry| entry.job.name())
    }

    /// Runs a job, now or if it is due; one run at a time.
    pub async fn run(&self, name: JobName, when: When) -> Result<Ran, RepositoryError> {
        let Some(entry) = self.entry(name) else { return Ok(Ran::NotHere) };
        let turn = entry.turn.lock().await;
        if when == When::IfDue {
            let next = self.next(entry).await?;
            if !next.is_some_and(|next| next.is_due(self.now())) {
                return Ok(Ran::NotDue(next));
            }
        }
        let ran = self.record(entry, turn, async { ((), entry.job.run().await) });
        Ok(Ran::Ended(ran.await?.1))
    }

    /// Does `work` as a run of this job: in its turn, with its row.
    pub async fn run_as<T>(
        &self,
        name: JobName,
        work: impl Future<Output = (T, Result<String, JobFailed>)>,
    ) -> Result<Option<T>, RepositoryError> {
        let Some(entry) = self.entry(name) else { return Ok(None) };
        let turn = entry.turn.lock().await;
        Ok(Some(self.record(entry, turn, work).await?.0))
    }

    /// How every job of this node stands. Blocks.
    pub fn standings(&self) -> Result<Vec<Standing>, RepositoryError> {
        let standings = self.entries.iter().map(|entry| {
            let name = entry.job.name();
            let last = self.repository.state().ledger.job(name.as_str())?;
            let next = entry.job.next(last.as_ref().map(as_last), self.now(), &(self.zone)())?;
            let is_running = entry.is_running.load(Relaxed);
            Ok(Standing { name, by_timer: entry.by_timer, is_running, next, last })
        });
        standings.collect()
    }

    /// Begins a job whenever its moment comes, until `cancel`.
    pub async fn drive(self: Arc<Self>, name: JobName, cancel: CancellationToken) {
        let Some(entry) = self.entry(name) else { return };
        cancel.run_until_cancelled(Box::pin(self.drive_entry(entry))).await;
    }

    async fn drive_entry(&self, entry: &Entry) {
        loop {
            let wait = match self.next(entry).await {
                Ok(Some(next)) => {
                    let seconds = next.moment(entry.by_timer).saturating_sub(self.now());
                    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LONGEST_WAIT)
                }
                Ok(None) => LONGEST_WAIT,
                Err(error) => {
                    let name = entry.job.name();
                    tracing::error!(job = %name, error = &error as &dyn std::error::Error, "past runs can't be read");
                    LONGEST_WAIT
                }
            };
            tokio::time::sleep(wait).await;
            if wait.is_zero() && !self.ran_well(entry.job.name()).await {
                // What can't be written down would be due again at once.
                tokio::time::sleep(LONGEST_WAIT).await;
            }
        }
    }

    async fn ran_well(&self, name: JobName) -> bool {
        match self.run(name, When::IfDue).await {
            Ok(Ran::Ended(record)) => !record.failed,
            Ok(Ran::NotDue(_) | Ran::NotHere) => true,
            Err(error) => {
                tracing::error!(job = %name, error = &error as &dyn std::error::Error, "a run can't be noted");
                false
            }
        }
    }

    async fn record<T>(
        &self,
        entry: &Entry,
        _turn: MutexGuard<'_, ()>,
        work: impl Future<Output = (T, Result<String, JobFailed>)>,
    ) -> Result<(T, JobRecord), RepositoryError> {
        let _running = Running::of(&entry.is_running);
        let name = entry.job.name();
        let started_at = self.repository.clock().unix_seconds();
        let begun = JobRecord { started_at, finished_at: None, outcome: "it was cut short".to_owned(), failed: true };
        self.put(name, &begun).await?;
        let (value, outcome) = work.await;
        let failed = outcome.is_err();
        let outcome = outcome.unwrap_or_else(|JobFailed(why)| why);
        match failed {
            true => tracing::warn!(job = %name, why = outcome, "a job failed"),
            false => tracing::info!(job = %name, outcome, "a job ran"),
        }
        let finished_at = Some(self.repository.clock().unix_seconds());
        let ended = JobRecord { started_at, finished_at, outcome, failed };
        self.put(name, &ended).await?;
        Ok((value, ended))
    }

    async fn put(&self, name: JobName, record: &JobRecord) -> Result<(), RepositoryError> {
        let record = record.clone();
        let put = move |repository: &Repository| Ok(repository.state().ledger.put_job(name.as_str(), &record)?);
        self.repository.apart("the rows of jobs", put).await
    }

    async fn next(&self, entry: &Entry) -> Result<Option<Next>, RepositoryError> {
        let (job, now, zone) = (entry.job.clone(), self.now(), (self.zone)());
        let next = move |repository: &Repository| {
            let last = repository.state().ledger.job(job.name().as_str())?;
            job.next(last.as_ref().map(as_last), now, &zone)
        };
        self.repository.apart("the rows of jobs", next).await
    }

    fn entry(&self, name: JobName) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.job.name() == name)
    }

    fn now(&self) -> i64 {
        as_time(self.repository.clock().unix_seconds())
    }
}

fn as_last(record: &JobRecord) -> Last {
    Last { started_at: as_time(record.started_at), failed: record.failed }
}

fn as_time(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Tells that a job runs, however the run ends.
struct Running<'a>(&'a AtomicBool);

impl<'a> Running<'a> {
    fn of(is_running: &'a AtomicBool) -> Self {
        is_running.store(true, Relaxed);
        Self(is_running)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests;
