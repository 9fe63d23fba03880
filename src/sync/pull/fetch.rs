//! Fetches what is missing: several streams at once, each with one large file or a batch of small
//! ones; arrivals are published in groups.

use super::{
    parent::PullError,
    plan::{Item, Plan},
    stream,
};
use crate::{
    domain::name::{FileName, FolderName},
    repository::{Arrival, Repository},
    sync::{serve::SMALL_BYTES, shared::Shared},
};
use quinn::Connection;
use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};

/// Streams that carry content at once.
const STREAMS: usize = 8;
/// Missing files that are looked at in one go.
const PAGE: usize = 1_000;
/// Arrivals that wait for a commit; their bytes are on disk already.
const ARRIVALS: usize = 2_048;
/// Arrivals that share one commit at most.
const GROUP: usize = 1_000;
/// A connection with nothing to fetch looks again this often, whatever it was told.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What became of files that were under way.
pub(super) enum Outcome {
    Done(Vec<Item>),
    Failed(Vec<Item>),
}

/// Fetches until the connection ends.
pub(super) async fn run(shared: &Arc<Shared>, connection: &Connection) -> Result<Infallible, PullError> {
    let (arrivals, arrivals_rx) = mpsc::channel(ARRIVALS);
    let (outcomes_tx, mut outcomes) = mpsc::channel(ARRIVALS);
    // It outlives the connection, so that what has arrived is not fetched again.
    tokio::spawn(publish(shared.repository.clone(), arrivals_rx, outcomes_tx.clone()));
    let mut fetcher = Fetcher {
        shared,
        plan: Plan::default(),
        queue: VecDeque::new(),
        cursor: Some(Cursor::default()),
        streams: JoinSet::new(),
    };
    let mut changes = shared.repository.changes();
    loop {
        changes.borrow_and_update();
        while fetcher.streams.len() < STREAMS {
            let job = fetcher.next_job().await?;
            if job.is_empty() {
                break;
            }
            let (shared, connection) = (shared.clone(), connection.clone());
            let (arrivals, outcomes) = (arrivals.clone(), outcomes_tx.clone());
            fetcher.streams.spawn(async move { stream::fetch(&shared, &connection, job, &arrivals, &outcomes).await });
        }
        let idle = fetcher.idle_until(shared.clock().monotonic());
        tokio::select! {
            Some(ended) = fetcher.streams.join_next() => ended??,
            Some(outcome) = outcomes.recv() => fetcher.on_outcome(outcome),
            Ok(()) = changes.changed() => fetcher.start_over(),
            () = shared.content_may_be_there.notified() => fetcher.on_new_content(),
            () = tokio::time::sleep_until(idle.into()) => fetcher.start_over(),
        }
    }
}

/// A place in the list of missing files.
#[derive(Default)]
struct Cursor {
    folder: Option<FolderName>,
    name: Option<FileName>,
}

struct Fetcher<'s> {
    shared: &'s Arc<Shared>,
    plan: Plan,
    queue: VecDeque<Item>,
    /// `None` when the pass over the list is over.
    cursor: Option<Cursor>,
    streams: JoinSet<Result<(), PullError>>,
}

impl Fetcher<'_> {
    async fn next_job(&mut self) -> Result<Vec<Item>, PullError> {
        loop {
            let now = self.shared.clock().monotonic();
            let job = self.plan.next_job(&mut self.queue, SMALL_BYTES, now);
            if !job.is_empty() {
                return Ok(job);
            }
            let Some(cursor) = self.cursor.take() else { return Ok(Vec::new()) };
            let repository = self.shared.repository.clone();
            let (page, cursor) = tokio::task::spawn_blocking(move || next_page(&repository, cursor)).await??;
            (self.queue, self.cursor) = (page, cursor);
        }
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        let now = self.shared.clock().monotonic();
        match outcome {
            Outcome::Done(items) => items.iter().for_each(|item| self.plan.on_done(item)),
            Outcome::Failed(items) => items.iter().for_each(|item| self.plan.on_failed(item, now)),
        }
    }

    /// Goes over what is missing once more, after the pass that is under way.
    fn start_over(&mut self) {
        if self.cursor.is_none() {
            self.cursor = Some(Cursor::default());
        }
    }

    fn on_new_content(&mut self) {
        self.plan.on_new_content(self.shared.clock().monotonic());
        self.start_over();
    }

    fn idle_until(&self, now: Instant) -> Instant {
        let look_again = now + LOOK_AGAIN;
        self.plan.next_retry(now).map_or(look_again, |retry| retry.min(look_again))
    }
}

fn next_page(repository: &Repository, cursor: Cursor) -> Result<(VecDeque<Item>, Option<Cursor>), PullError> {
    let folders: Vec<_> = repository.folder_names().cloned().collect();
    let Some(folder) = cursor.folder.or_else(|| folders.first().cloned()) else { return Ok((VecDeque::new(), None)) };
    let page = repository.missing_after(&folder, cursor.name.as_ref(), PAGE)?;
    let next = match page.last() {
        Some((last, _)) => Some(Cursor { folder: Some(folder.clone()), name: Some(last.clone()) }),
        None => {
            let next = folders.iter().find(|other| **other > folder).cloned();
            next.map(|folder| Cursor { folder: Some(folder), name: None })
        }
    };
    let items = page.into_iter().map(|(name, wanted)| Item { folder: folder.clone(), name, wanted });
    Ok((items.collect(), next))
}

/// Publishes arrivals, as many in one commit as are there.
async fn publish(
    repository: Arc<Repository>,
    mut arrivals: mpsc::Receiver<(Item, Arrival)>,
    outcomes: mpsc::Sender<Outcome>,
) {
    let mut group = Vec::new();
    while arrivals.recv_many(&mut group, GROUP).await > 0 {
        let (items, arrived): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        let repository = repository.clone();
        let received = tokio::task::spawn_blocking(move || {
            let received = repository.receive(arrived);
            note(&repository, &received);
            received
        });
        let outcome = match received.await {
            Ok(Ok(())) => Outcome::Done(items),
            _ => Outcome::Failed(items),
        };
        outcomes.send(outcome).await.ok();
    }
}

fn note(repository: &Repository, received: &Result<(), crate::repository::RepositoryError>) {
    use crate::repository::Alarm;
    let alarm = Alarm::Failing("publishing arrivals");
    match received {
        Ok(()) => repository.attention.clear(&alarm),
        Err(error) => {
            tracing::error!(error = error as &dyn std::error::Error, "publishing arrivals failed");
            let what = format!("arrived files can't be published: {}", super::parent::chain(error));
            repository.attention.raise(alarm, what, "make room on the disk or repair it; files are tried again");
        }
    }
}
