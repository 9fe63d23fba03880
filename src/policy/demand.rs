//! What a fleet needs of the repository: hosts are added one after the other, and what is asked for comes out.
//!
//! An update is *asked for* where a host needs it, now or once its delay is over, and its files are not here. A host
//! that has Windows updates switched off, or fetches them from Microsoft, asks for nothing. One that was not heard
//! of for [`STALE_AFTER`] asks for nothing new; what it needed is still kept.

use super::host_state::{Judge, Need, Stock};
use crate::domain::{host::HostFacts, update::UpdateId};
use std::collections::BTreeMap;

/// How long facts of a host make it ask, in seconds: 45 days, so that a holiday and an edition pass.
pub const STALE_AFTER: u64 = 45 * 86_400;

/// Hosts report every two hours or so while they run: whoever was heard of within a day is in use.
const LATELY: u64 = 86_400;

/// How many hosts stand how with one update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// They have it.
    pub installed: u32,
    /// They need it now.
    pub needed: u32,
    /// They need it once its delay is over.
    pub delayed: u32,
    /// They needed it, now or later, when they were last heard of, which is too long ago to ask.
    pub stale: u32,
}

impl Tally {
    /// Whether somebody asks for it who was heard of lately.
    pub fn is_asked_for(&self) -> bool {
        self.needed > 0 || self.delayed > 0
    }

    /// Whether somebody needs it or has it, however long ago that was told.
    pub fn is_kept(&self) -> bool {
        self.is_asked_for() || self.stale > 0 || self.installed > 0
    }
}

/// What all hosts together need.
#[derive(Debug, Clone, Default)]
pub struct Demand {
    tallies: BTreeMap<UpdateId, Tally>,
    /// How many hosts were added.
    pub hosts: u32,
}

impl Demand {
    /// Adds a host, whose rules and options `judge` has.
    pub fn add(&mut self, host: &HostFacts, judge: &Judge<'_>) {
        self.hosts += 1;
        let asks = judge.settings.asks_repositories();
        let is_stale = is_stale(host, judge.now);
        for update in &host.updates {
            let standing = judge.standing(host, update, |_| Stock::Held);
            let is_installed = standing == super::host_state::Standing::Installed;
            let need = if asks { standing.need() } else { Need::No };
            if need == Need::No && !is_installed {
                continue;
            }
            let tally = self.tallies.entry(update.id).or_default();
            let count = match need {
                Need::No => &mut tally.installed,
                Need::Now | Need::Later if is_stale => &mut tally.stale,
                Need::Now => &mut tally.needed,
                Need::Later => &mut tally.delayed,
            };
            *count = count.saturating_add(1);
        }
    }

    /// Every update that a host has or needs, in ascending order.
    pub fn tallies(&self) -> impl Iterator<Item = (UpdateId, &Tally)> {
        self.tallies.iter().map(|(id, tally)| (*id, tally))
    }

    /// How it stands with one update.
    pub fn tally(&self, id: UpdateId) -> Tally {
        self.tallies.get(&id).copied().unwrap_or_default()
    }

    /// The updates that are asked for and of which `stock` has nothing, in ascending order.
    pub fn wants(&self, stock: impl Fn(UpdateId) -> Stock) -> impl Iterator<Item = UpdateId> {
        self.tallies()
            .filter(|(_, tally)| tally.is_asked_for())
            .map(|(id, _)| id)
            .filter(move |id| stock(*id) == Stock::Absent)
    }
}

/// Whether a host was not heard of for so long that it asks for nothing new.
pub fn is_stale(host: &HostFacts, now: u64) -> bool {
    is_long_ago(host.seen_at, now)
}

fn is_long_ago(seen_at: u64, now: u64) -> bool {
    now.saturating_sub(seen_at) > STALE_AFTER
}

/// How many hosts there are, by when they were heard of last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostsCount {
    /// All.
    pub known: u64,
    /// Within the last day.
    pub lately: u64,
    /// So long ago that they ask for nothing new.
    pub stale: u64,
}

/// Counts hosts that were heard of at these times, in seconds since 1970 UTC as `now`.
pub fn count_hosts(seen: impl IntoIterator<Item = u64>, now: u64) -> HostsCount {
    seen.into_iter().fold(HostsCount::default(), |count, seen_at| HostsCount {
        known: count.known + 1,
        lately: count.lately + u64::from(now.saturating_sub(seen_at) <= LATELY),
        stale: count.stale + u64::from(is_long_ago(seen_at, now)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_counted_by_when_they_were_heard_of_last() {
        let now = 100 * LATELY;
        let ages = [0, LATELY, LATELY + 1, STALE_AFTER, STALE_AFTER + 1];
        let count = count_hosts(ages.map(|age| now - age).into_iter().chain([now + 9]), now);
        assert_eq!(count, HostsCount { known: 6, lately: 3, stale: 1 });
        assert_eq!(count_hosts([], now), HostsCount::default());
    }
}
