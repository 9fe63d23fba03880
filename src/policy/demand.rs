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
    now.saturating_sub(host.seen_at) > STALE_AFTER
}
