//! Where files that were under way end: published in groups, or noted as failed.

use super::plan::{Failure, Item};
use crate::{
    base::{spacing::Spacing, tasks},
    repository::{Arrival, PUBLISHING, Repository, RepositoryError},
    store::staging::Staged,
    sync::claims::Claim,
};
use std::{
    io::ErrorKind::{QuotaExceeded, StorageFull},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinError,
};

/// Arrivals that wait for a commit; their bytes are on disk already.
const ARRIVALS: usize = 2 * GROUP;
/// Arrivals that share one commit at most.
const GROUP: usize = 2_048;
/// Commits are at least this far apart: each costs several syncs, and a burst shares them. The first of
/// a burst waits for nothing, nor does a full group, nor the last of a burst.
const COMMIT_EVERY: Duration = Duration::from_millis(100);

/// What became of files that were under way.
pub(super) enum Outcome {
    Done(Vec<Item>),
    Failed(Vec<Item>, Failure),
}

/// A file with its verified bytes in staging.
struct Arrived {
    item: Item,
    staged: Staged,
    /// Whether the bytes serve the next try if they can't be published.
    resumes: bool,
    /// The content is nobody else's to write before it is published.
    _claim: Option<Claim>,
}

/// Takes what streams bring. Cheap to clone.
#[derive(Clone)]
pub(super) struct Desk {
    arrivals: mpsc::Sender<Arrived>,
    outcomes: mpsc::Sender<Outcome>,
    all_came: Arc<Notify>,
}

impl Desk {
    /// A desk; what it publishes is done by the future, which ends with the last clone of the desk.
    pub(super) fn open(
        repository: Arc<Repository>,
    ) -> (Self, impl Future<Output = ()> + use<>, mpsc::Receiver<Outcome>) {
        let (arrivals, arrivals_rx) = mpsc::channel(ARRIVALS);
        let (outcomes, outcomes_rx) = mpsc::channel(ARRIVALS);
        let all_came = Arc::new(Notify::new());
        let publishing = publish(repository, arrivals_rx, outcomes.clone(), all_came.clone());
        (Self { arrivals, outcomes, all_came }, publishing, outcomes_rx)
    }

    /// Nothing is under way: what has arrived waits for nothing else.
    pub(super) fn on_all_came(&self) {
        self.all_came.notify_one();
    }

    /// A whole file in a partial, which a failed publication leaves for the next try.
    pub(super) async fn on_partial(&self, item: Item, staged: Staged, claim: Claim) {
        self.arrivals.send(Arrived { item, staged, resumes: true, _claim: Some(claim) }).await.ok();
    }

    /// A whole file staged anew.
    pub(super) async fn on_staged(&self, item: Item, staged: Staged) {
        self.arrivals.send(Arrived { item, staged, resumes: false, _claim: None }).await.ok();
    }

    /// A file that needs nothing more.
    pub(super) async fn on_settled(&self, item: Item) {
        self.outcomes.send(Outcome::Done(vec![item])).await.ok();
    }

    /// Files that did not arrive.
    pub(super) async fn on_failed(&self, items: Vec<Item>, why: Failure) {
        if !items.is_empty() {
            self.outcomes.send(Outcome::Failed(items, why)).await.ok();
        }
    }
}

/// Publishes arrivals, as many in one commit as are there.
async fn publish(
    repository: Arc<Repository>,
    mut arrivals: mpsc::Receiver<Arrived>,
    outcomes: mpsc::Sender<Outcome>,
    all_came: Arc<Notify>,
) {
    let mut group = Vec::new();
    let mut commits = Spacing::new(COMMIT_EVERY);
    while arrivals.recv_many(&mut group, GROUP).await > 0 {
        let wait = commits.wait(repository.clock().monotonic());
        if !wait.is_zero() {
            tokio::select! {
                biased;
                () = fill(&mut arrivals, &mut group) => {}
                () = all_came.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        commits.on_step(repository.clock().monotonic());
        let (arrived, repository) = (std::mem::take(&mut group), repository.clone());
        let published = tasks::blocking(move || publish_group(&repository, arrived)).await;
        for outcome in on_published(published) {
            // The connection that asked may be gone; what arrived stays.
            outcomes.send(outcome).await.ok();
        }
    }
}

/// Until the group is full; what has come by then stays in it if nobody waits so long.
async fn fill(arrivals: &mut mpsc::Receiver<Arrived>, group: &mut Vec<Arrived>) {
    while group.len() < GROUP && arrivals.recv_many(group, GROUP - group.len()).await > 0 {}
}

fn on_published(published: Result<Vec<Outcome>, JoinError>) -> Vec<Outcome> {
    match published {
        Ok(outcomes) => outcomes,
        Err(error) => {
            tracing::error!(%error, "publishing was cut short");
            Vec::new()
        }
    }
}

/// All together; one by one where that fails, so that one bad place in the folder stops nobody else.
fn publish_group(repository: &Repository, group: Vec<Arrived>) -> Vec<Outcome> {
    if let Ok(waiting) = repository.receive_in_order(group.iter().map(Arrived::arrival).collect()) {
        let items = group.into_iter().map(|arrived| arrived.item);
        let waits = |item: &Item| waiting.contains(&(item.folder.clone(), item.name.clone()));
        let (waiting, done) = items.partition(waits);
        return vec![Outcome::Done(done), Outcome::Failed(waiting, Failure::Waits)];
    }
    let (mut done, mut waiting, mut failed, mut why) = (Vec::new(), Vec::new(), Vec::new(), Failure::Here);
    for arrived in group {
        match repository.receive_in_order(vec![arrived.arrival()]) {
            Ok(waits) if waits.is_empty() => done.push(arrived.item),
            Ok(_) => waiting.push(arrived.item),
            Err(error) => {
                why = failure_of(&error);
                let what = format!("{} can't be published: {}", arrived.item.name, super::parent::chain(&error));
                repository.attention.raise(
                    PUBLISHING,
                    what,
                    "make room on the disk or repair the folder; the file is tried again",
                );
                if !arrived.resumes || matches!(error, RepositoryError::Unsynced { .. }) {
                    discard(repository, &arrived);
                }
                failed.push(arrived.item);
            }
        }
    }
    vec![Outcome::Done(done), Outcome::Failed(waiting, Failure::Waits), Outcome::Failed(failed, why)]
}

fn discard(repository: &Repository, arrived: &Arrived) {
    let Ok(staging) = repository.staging(&arrived.item.folder) else { return };
    if let Err(error) = staging.discard(&arrived.staged) {
        tracing::warn!(name = %arrived.item.name, %error, "a staged file can't be removed");
    }
}

impl Arrived {
    fn arrival(&self) -> Arrival {
        let Item { folder, name, wanted } = self.item.clone();
        Arrival { folder, name, wanted, staged: self.staged.clone() }
    }
}

/// What an error on this disk means for a file.
pub(super) fn failure_of(error: &RepositoryError) -> Failure {
    match error {
        RepositoryError::NoRoom { .. } => Failure::Full,
        RepositoryError::Unsynced { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded) => {
            Failure::Full
        }
        _ => Failure::Here,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::clock::RuntimeClock,
        catalog::MissingRecord,
        domain::member::Role,
        repository::testing::{Place, folder, name, open_on, root_of},
    };
    use std::io;

    #[tokio::test(start_paused = true)]
    async fn a_full_group_and_the_last_files_are_published_at_once_and_a_part_of_a_group_waits_for_others() {
        let place = Place::in_memory();
        let repository = open_on(place.disk(), Arc::new(RuntimeClock), Role::Secondary, place.top.path(), place.seed);
        let repository = Arc::new(repository.unwrap());
        let arrived = |n: usize| {
            let wanted = MissingRecord { root: root_of(b""), size: 0, modified: 0 };
            let staged = repository.staging(&folder()).unwrap().stage_bytes(b"", 0).unwrap();
            let item = Item { folder: folder(), name: name(&n.to_string()), wanted };
            Arrived { item, staged, resumes: false, _claim: None }
        };
        let (arrivals, arrivals_rx) = mpsc::channel(ARRIVALS);
        let (outcomes, mut outcomes_rx) = mpsc::channel(ARRIVALS);
        (0..2 * GROUP).for_each(|n| arrivals.try_send(arrived(n)).unwrap());
        let begun = tokio::time::Instant::now();
        let all_came = Arc::new(Notify::new());
        let publishing = tokio::spawn(publish(repository.clone(), arrivals_rx, outcomes, all_came.clone()));
        let mut published = async |count: usize| {
            let mut left = count;
            while left > 0 {
                let Some(Outcome::Done(items)) = outcomes_rx.recv().await else { continue };
                left -= items.len();
            }
            begun.elapsed()
        };
        assert_eq!(published(2 * GROUP).await, Duration::ZERO);
        arrivals.try_send(arrived(2 * GROUP)).unwrap();
        assert_eq!(published(1).await, COMMIT_EVERY);
        (0..2).for_each(|n| arrivals.try_send(arrived(2 * GROUP + 1 + n)).unwrap());
        all_came.notify_one();
        assert_eq!(published(2).await, COMMIT_EVERY);
        drop(arrivals);
        publishing.await.unwrap();
    }

    #[test]
    fn a_full_disk_is_known_as_one_wherever_it_shows() {
        let unsynced = |kind: io::ErrorKind| {
            let folder = crate::domain::name::FolderName::new("waptwua").unwrap();
            RepositoryError::Unsynced { folder, source: kind.into() }
        };
        for kind in [StorageFull, QuotaExceeded] {
            for error in [RepositoryError::io("writing", "f")(kind.into()), unsynced(kind)] {
                assert_eq!(failure_of(&error), Failure::Full, "{error:?}");
            }
        }
        for error in [RepositoryError::io("writing", "f")(io::ErrorKind::Other.into()), unsynced(io::ErrorKind::Other)]
        {
            assert_eq!(failure_of(&error), Failure::Here, "{error:?}");
        }
    }
}
