//! Looks at this node itself, so that others can be told.

use super::known::{FolderHoldings, Known, Via};
use crate::{
    base::tasks,
    domain::{
        key::NodeKey,
        name::FolderName,
        nearest::{SlotSet, UrlWord, slot_of},
    },
    repository::{Repository, RepositoryError},
    sync::shared::Shared,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How often a node looks at itself.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Looks over which it is averaged what arrives: half a minute, so that a forecast is no accident of the moment.
const LOOKS: usize = 6;
/// Rows that are read at once.
const ROWS: usize = 1_000;

/// What a node knows of itself besides rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Where hosts reach it, in its own words.
    pub word: Arc<UrlWord>,
    /// Bytes that it has sent to hosts since it started.
    pub sent_to_hosts: u64,
    /// Whether it can get what it lacks.
    pub can_fetch: bool,
}

/// Keeps what is known of this node, whose key is `key`, until `cancel`.
pub async fn keep(shared: Arc<Shared>, key: NodeKey, about: impl Fn() -> About, cancel: CancellationToken) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    let (mut sent, mut looked) = (about().sent_to_hosts, None);
    let mut received = VecDeque::from([(shared.clock().monotonic(), shared.received_bytes.load(Relaxed))]);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = every.tick() => {}
        }
        let (about, now) = (about(), shared.clock().monotonic());
        let (repository, is_late) = (shared.repository.clone(), !shared.mirroring().borrow().only_held);
        let folders = match tasks::blocking(move || look(&repository, is_late)).await {
            Ok(Ok(folders)) => folders,
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "what is missing here can't be told");
                continue;
            }
            Err(_) => return,
        };
        let seconds = looked.map_or(1, |looked: Instant| now.saturating_duration_since(looked).as_secs().max(1));
        let arrived = shared.received_bytes.load(Relaxed);
        let own = Known {
            heard: now,
            url: about.word.url.clone(),
            word: Some(about.word),
            load_bytes: about.sent_to_hosts.saturating_sub(sent) / seconds,
            arriving_bytes: arriving(&mut received, arrived, now),
            can_fetch: about.can_fetch,
            folders,
            via: Via::Own,
        };
        (sent, looked) = (about.sent_to_hosts, Some(now));
        shared.fleet.set(key, own);
    }
}

/// Bytes per second since the earliest of the last [`LOOKS`], of which `received` has moment and total.
fn arriving(received: &mut VecDeque<(Instant, u64)>, arrived: u64, now: Instant) -> u64 {
    let (since, before) = received.front().copied().unwrap_or((now, arrived));
    received.push_back((now, arrived));
    if received.len() > LOOKS {
        received.pop_front();
    }
    arrived.saturating_sub(before) / now.saturating_duration_since(since).as_secs().max(1)
}

/// What is lacking here, of one state. Where nothing is fetched unasked (`is_late` is false) it is no lag.
fn look(repository: &Repository, is_late: bool) -> Result<BTreeMap<FolderName, FolderHoldings>, RepositoryError> {
    // The head before the rows: what came since seems to be missing at worst.
    let Some(head) = repository.head() else { return Ok(BTreeMap::new()) };
    let at = (head.head().epoch, head.head().seq);
    let snapshot = repository.state().index.read()?;
    let mut found = BTreeMap::new();
    for folder in repository.folder_names() {
        let (mut slots, mut after) = (Vec::new(), None);
        loop {
            let page = snapshot.missing_after(folder, after.as_ref(), ROWS)?;
            slots.extend(page.iter().map(|(name, _)| slot_of(name)));
            let Some((last, _)) = page.into_iter().next_back().filter(|_| slots.len() % ROWS == 0) else { break };
            after = Some(last);
        }
        let totals = snapshot.totals(folder)?;
        let lacking: SlotSet = slots.into_iter().collect();
        let holdings = FolderHoldings {
            at,
            missing_files: if is_late { totals.missing_files } else { 0 },
            missing_bytes: if is_late { totals.missing_bytes } else { 0 },
            lacking: Arc::new(lacking),
        };
        found.insert(folder.clone(), holdings);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::testing::{Place, adopt, folder, follow, name};

    #[test]
    fn what_arrives_is_averaged_over_half_a_minute() {
        let (mut received, start) = (VecDeque::new(), Instant::now());
        let mut look = |number: u64, arrived| arriving(&mut received, arrived, start + LOOK_EVERY * number as u32);
        assert_eq!((look(0, 0), look(1, 500), look(2, 500)), (0, 100, 50));
        (3..=5).for_each(|number| _ = look(number, 500));
        assert_eq!((look(6, 500), look(7, 500), look(8, 600)), (16, 0, 3));
    }

    #[test]
    fn a_secondary_says_what_it_lacks_and_a_main_lacks_nothing() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        place.write("a.cab", b"content");
        adopt(&main, &["a.cab"]).unwrap();
        follow(&main, &child).unwrap();
        let own = &look(&main, true).unwrap()[&folder()];
        assert_eq!((own.missing_files, own.lacking.len()), (0, 0));
        let lacks = &look(&child, true).unwrap()[&folder()];
        assert_eq!((lacks.missing_files, lacks.missing_bytes, lacks.at), (1, 7, own.at));
        assert!(lacks.lacking.contains(slot_of(&name("a.cab"))));
    }
}
