//! A main whose bytes rotted takes them back from those who mirror it.
//!
//! Asks the connected children that say that they answer, one file and one child at a time, by root: what
//! comes is proven group by group like everything else, and published like any arrival. A child's word
//! counts for nothing. Signs nothing: the index names the content all along.

use super::{
    desk::{Desk, Outcome},
    plan::Item,
    stream::Stream,
};
use crate::{
    base::{backoff::Backoff, tasks},
    domain::name::FolderName,
    repository::{Arrival, LocalSource, RepositoryError},
    sync::shared::Shared,
};
use quinn::Connection;
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Damaged files that are looked at in one go.
const PAGE: usize = 100;
/// Children that are asked for one file before the next is tried; others have their turn the next time.
const MAX_ASKED: usize = 16;
/// First wait before what nobody had is asked for again.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest such wait.
const RETRY_MOST: Duration = Duration::from_secs(60);
/// What one child may take for a file, and the slowest line over which the bytes have to come in that
/// time; what has arrived then counts at the next.
const TRY: Duration = Duration::from_secs(60);
const SLOWEST_BYTES_PER_SECOND: u64 = 16 << 10;

/// Heals what is damaged from connected children until `cancel`; `random` spreads who is asked first.
pub async fn heal_from_children(
    shared: Arc<Shared>,
    cancel: CancellationToken,
    mut random: impl FnMut() -> u64 + Send,
) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
    let mut changes = shared.repository.changes();
    loop {
        changes.mark_unchanged();
        let seen = found_so_far(&shared);
        let healed = tokio::select! {
            () = cancel.cancelled() => return,
            healed = heal_all(&shared, random()) => healed,
        };
        let wait = match healed {
            Ok(0) => {
                backoff.on_success();
                RETRY_MOST
            }
            Ok(_) => backoff.on_failure(random()),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "healing from children failed");
                RETRY_MOST
            }
        };
        let until = (shared.clock().monotonic() + wait).into();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(until) => break,
                () = shared.giver_came.notified() => break,
                Ok(()) = changes.changed() => if found_so_far(&shared) != seen { break },
            }
        }
    }
}

/// How many files were ever found damaged: grows with each.
fn found_so_far(shared: &Shared) -> Option<u64> {
    let snapshot = shared.repository.state().index.read().ok()?;
    snapshot.damage_totals().ok().map(|totals| totals.found_files)
}

/// Tries every damaged file once; answers with how many are damaged still.
async fn heal_all(shared: &Arc<Shared>, turn: u64) -> Result<u64, RepositoryError> {
    let folders: Vec<FolderName> = shared.repository.folder_names().cloned().collect();
    let mut left = 0;
    for folder in folders {
        let mut after = None;
        loop {
            let page = shared.repository.damaged_after(&folder, after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (name, wanted) in page {
                let Some(wanted) = wanted else { continue };
                let item = Item { folder: folder.clone(), name, wanted };
                match heal(shared, &item, turn).await {
                    Some(from) => shared.repository.on_healed(&item.folder, &item.name, &from),
                    None => left += 1,
                }
            }
        }
    }
    Ok(left)
}

/// Answers with where the content came from; `None` if nobody has it.
async fn heal(shared: &Arc<Shared>, item: &Item, turn: u64) -> Option<String> {
    match heal_here(shared, item).await {
        Ok(true) => return Some("another file on this disk".to_owned()),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(name = %item.name, error = &error as &dyn std::error::Error, "a damaged file can't be healed from this disk");
        }
    }
    let givers = shared.givers();
    let first = usize::try_from(turn).unwrap_or(0) % givers.len().max(1);
    let (behind, before) = givers.split_at(first);
    for (child, connection) in before.iter().chain(behind).take(MAX_ASKED) {
        if take_from(shared, connection, item).await {
            return Some(child.clone());
        }
    }
    None
}

async fn heal_here(shared: &Arc<Shared>, item: &Item) -> Result<bool, RepositoryError> {
    let (repository, item) = (shared.repository.clone(), item.clone());
    let healed = tasks::blocking(move || {
        let Item { folder, name, wanted } = item;
        match repository.obtain_locally(&folder, &name, &wanted)? {
            LocalSource::Settled => Ok(true),
            LocalSource::Staged(staged) => {
                repository.receive(vec![Arrival { folder, name, wanted, staged }]).map(|()| true)
            }
            LocalSource::Nothing => Ok(false),
        }
    });
    healed.await.unwrap_or(Ok(false))
}

/// Fetches a file from one child, as from a parent; `true` if it is a holding from then on.
async fn take_from(shared: &Arc<Shared>, connection: &Connection, item: &Item) -> bool {
    let (desk, publishing, mut outcomes) = Desk::open(shared.repository.clone());
    let tasks = TaskTracker::new();
    tasks.spawn(publishing);
    let stream = Stream { shared: shared.clone(), connection: connection.clone(), desk, tasks: tasks.clone() };
    let patience = TRY + Duration::from_secs(item.wanted.size / SLOWEST_BYTES_PER_SECOND);
    match tokio::time::timeout(patience, stream.fetch(vec![item.clone()])).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(name = %item.name, error = &error as &dyn std::error::Error, "a child gave nothing");
        }
        Err(_) => tracing::warn!(name = %item.name, "a child is too slow with a file that is damaged here"),
    }
    // The desk went with the stream: when publishing is over, nothing more comes.
    let mut done = false;
    while let Some(outcome) = outcomes.recv().await {
        done |= matches!(outcome, Outcome::Done(items) if !items.is_empty());
    }
    tasks.close();
    tasks.wait().await;
    done
}
