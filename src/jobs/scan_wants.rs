//! `scan-wants`: what is wanted and not held is fetched, the oldest and most wanted first.
//!
//! Runs on the main. Looks for what is due, and makes it fly like anything that a host asks for, after
//! whatever hosts wait for. Never decides what is wanted, nor when a want is due again.

use super::{
    fleet,
    job::{Job, JobFailed},
    name::JobName,
};
use crate::{
    base::{chain::chain, future::BoxFuture},
    domain::{member::NodeName, wants::KnownFile},
    policy::due::{self, Last, Next},
    repository::{Alarm, Repository, RepositoryError},
    supply::{Client, Flights, Joined, Phase},
};
use jiff::tz::TimeZone;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{sync::Notify, task::JoinSet};
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
    flights: Arc<Flights>,
    limits: ScanLimits,
    /// In whose name the needs of hosts are wanted.
    node: NodeName,
    wake: Notify,
    hosts: Notify,
}

impl ScanWants {
    /// Fetches nothing yet. What hosts need becomes wanted in the name of `node`.
    pub fn new(repository: Arc<Repository>, flights: Arc<Flights>, limits: ScanLimits, node: NodeName) -> Arc<Self> {
        Arc::new(Self { repository, flights, limits, node, wake: Notify::new(), hosts: Notify::new() })
    }

    /// Looks at once, or once more after the look that is under way.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Looks at all hosts first: what they need may have changed.
    pub fn look_at_hosts(&self) {
        self.hosts.notify_one();
    }

    /// Looks at the start and whenever it is woken, until `cancel`. What flies then ends by itself.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        if let Err(error) = self.blocking(Repository::sweep_downloads).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "downloads that nobody wants can't be removed");
        }
        self.wake();
        let mut scan = Scan { scan_wants: &self, queue: VecDeque::new(), is_more: false, flights: JoinSet::new() };
        loop {
            let done = tokio::select! {
                () = cancel.cancelled() => return,
                () = self.wake.notified() => scan.look().await,
                () = self.hosts.notified() => scan.look_at_hosts().await,
                Some(_) = scan.flights.join_next() => scan.go_on().await,
            };
            match done {
                Ok(()) => self.repository.attention.clear(&LOOKING),
                Err(error) => {
                    let what = format!("wants can't be read: {}", chain(&error));
                    self.repository.attention.raise(LOOKING, what, "repair the state folder or its disk");
                }
            }
        }
    }

    /// What hosts need becomes wanted.
    async fn meet_needs(&self) -> Result<(), RepositoryError> {
        let node = self.node.clone();
        let met = self.blocking(move |repository| fleet::want_what_hosts_need(repository, &node)).await?;
        if met.wanted + met.ended > 0 {
            tracing::info!(hosts = met.hosts, wanted = met.wanted, ended = met.ended, "what hosts need is wanted");
        }
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Repository) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        self.repository.apart("wants", work).await
    }
}

impl Job for ScanWants {
    fn name(&self) -> JobName {
        JobName::ScanWants
    }

    fn next(&self, last: Option<Last>, now: i64, _: &TimeZone) -> Result<Option<Next>, RepositoryError> {
        Ok(Some(due::every(self.limits.every, last, now)))
    }

    fn run(&self) -> BoxFuture<'_, Result<String, JobFailed>> {
        Box::pin(async {
            self.meet_needs().await?;
            let due = |repository: &Repository| repository.wants_due(repository.clock().unix_seconds(), MOST_AT_ONCE);
            let due = self.blocking(due).await?.len();
            self.wake();
            let more = if due == MOST_AT_ONCE { " or more" } else { "" };
            Ok(format!("{due}{more} files are to be fetched"))
        })
    }
}

/// What is due and what flies because of it.
struct Scan<'s> {
    scan_wants: &'s ScanWants,
    queue: VecDeque<KnownFile>,
    /// Whether the last look left something for another one.
    is_more: bool,
    flights: JoinSet<()>,
}

impl Scan<'_> {
    /// Looks for what is due, and fetches as much of it as may be fetched at one time.
    async fn look(&mut self) -> Result<(), RepositoryError> {
        let due = |repository: &Repository| repository.wants_due(repository.clock().unix_seconds(), MOST_AT_ONCE);
        self.queue = self.scan_wants.blocking(due).await?.into_iter().map(|row| row.file).collect();
        self.is_more = self.queue.len() == MOST_AT_ONCE;
        self.fill();
        Ok(())
    }

    async fn look_at_hosts(&mut self) -> Result<(), RepositoryError> {
        self.scan_wants.meet_needs().await?;
        self.look().await
    }

    /// One flight has ended: the next one begins. A ledger is looked through once for many files.
    async fn go_on(&mut self) -> Result<(), RepositoryError> {
        if self.queue.is_empty() && self.is_more {
            return self.look().await;
        }
        self.fill();
        Ok(())
    }

    fn fill(&mut self) {
        while self.flights.len() < self.scan_wants.limits.max_flights {
            let Some(file) = self.queue.pop_front() else { break };
            self.flights.spawn(fly(self.scan_wants.flights.clone(), file));
        }
    }
}

/// Until the file's flight is over. What came of it is in its rows.
async fn fly(flights: Arc<Flights>, file: KnownFile) {
    if let Joined::Flight(flight) = flights.join(&file.folder, &file.name, &Client::Background).await {
        let mut progress = flight.watch();
        // An error means that nobody tells any more.
        progress.wait_for(|progress| matches!(progress.phase, Phase::Ended(_))).await.ok();
    }
}
