//! Where an update stands for a host: WAPT's four states, each with its reason.
//!
//! From facts to state; the first line that holds decides. By updateid: of one KB with three ids each stands for
//! itself.
//!
//! | | facts | state | needs its files |
//! |---|---|---|---|
//! | 1 | installed, whatever rules say since | OK | no |
//! | 2 | hidden by Windows or its user | DISCARDED | no |
//! | 3 | superseded by an update that the host also has, unless superseded ones are included | DISCARDED | no |
//! | 4 | not let through by the rules | DISCARDED | no |
//! | 5 | held back: the host says so, or `now` is before its last change plus `install_delay` | DISCARDED | later |
//! | 6 | its files are held here | PENDING | yes |
//! | 7 | they are queued, or on their way | PENDING | yes |
//! | 8 | else | MISSING | yes |

use super::{
    merge::MergedRules,
    verdict::{Verdict, verdict},
};
use crate::domain::{
    guid::Guid,
    host::{HostFacts, HostSettings, KnownUpdates, LocalFlags, LocalUpdate, UpdateTraits},
    update::UpdateId,
};
use std::fmt;

/// WAPT's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostState {
    /// It is installed.
    Ok,
    /// It is needed, and the repository has to get it.
    Missing,
    /// It is needed, and the repository has it or is getting it.
    Pending,
    /// It is not to be installed.
    Discarded,
}

impl HostState {
    /// As WAPT writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Missing => "MISSING",
            Self::Pending => "PENDING",
            Self::Discarded => "DISCARDED",
        }
    }
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a host needs an update's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// No.
    No,
    /// Once its delay is over.
    Later,
    /// Yes.
    Now,
}

/// What this repository has of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stock {
    /// Not all of its files, and nobody fetches the rest.
    Absent,
    /// What is not here is queued, or on its way.
    Coming,
    /// All of its files.
    Held,
}

/// Where an update stands for a host, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'r> {
    /// Line 1.
    Installed,
    /// Line 2.
    Hidden,
    /// Line 3.
    Superseded {
        /// The first of the host's updates that take its place.
        by: Guid,
    },
    /// Line 4.
    Forbidden(Verdict<'r>),
    /// Line 5.
    Delayed {
        /// When it is over, in seconds since 1970 UTC; `None` where only the host knows.
        until: Option<u64>,
        /// Who lets it through then.
        verdict: Verdict<'r>,
    },
    /// Lines 6 to 8.
    Needed {
        /// Which of them.
        stock: Stock,
        /// Who lets it through.
        verdict: Verdict<'r>,
    },
}

impl Standing<'_> {
    /// Lines 1 and 2: what the agent says decides by itself.
    pub fn by_itself(flags: LocalFlags) -> Option<Self> {
        if flags.has(LocalFlags::INSTALLED) {
            return Some(Self::Installed);
        }
        flags.has(LocalFlags::HIDDEN).then_some(Self::Hidden)
    }

    /// In one of WAPT's words.
    pub fn state(&self) -> HostState {
        match self {
            Self::Installed => HostState::Ok,
            Self::Hidden | Self::Superseded { .. } | Self::Forbidden(_) | Self::Delayed { .. } => HostState::Discarded,
            Self::Needed { stock: Stock::Held | Stock::Coming, .. } => HostState::Pending,
            Self::Needed { stock: Stock::Absent, .. } => HostState::Missing,
        }
    }

    /// Whether the host needs the files.
    pub fn need(&self) -> Need {
        match self {
            Self::Installed | Self::Hidden | Self::Superseded { .. } | Self::Forbidden(_) => Need::No,
            Self::Delayed { .. } => Need::Later,
            Self::Needed { .. } => Need::Now,
        }
    }
}

impl fmt::Display for Standing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed => f.write_str("installed"),
            Self::Hidden => f.write_str("hidden by Windows"),
            Self::Superseded { by } => write!(f, "superseded by {by}, which the host has too"),
            Self::Forbidden(verdict) => verdict.fmt(f),
            Self::Delayed { verdict, .. } => write!(f, "held back by install_delay; then {verdict}"),
            Self::Needed { stock: Stock::Held, verdict } => write!(f, "to be installed; {verdict}"),
            Self::Needed { stock: Stock::Coming, verdict } => write!(f, "its files are on their way; {verdict}"),
            Self::Needed { stock: Stock::Absent, verdict } => write!(f, "its files are not here; {verdict}"),
        }
    }
}

/// What updates of one host are judged by.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'r> {
    /// The host's options, filled up from the node's.
    pub settings: HostSettings,
    /// The rules that count for it.
    pub rules: &'r MergedRules,
    /// What is known of updates.
    pub known: &'r KnownUpdates,
    /// Seconds since 1970 UTC.
    pub now: u64,
}

impl<'r> Judge<'r> {
    /// Where one of the host's updates stands. `stock` is asked only where it matters.
    pub fn standing(
        &self,
        host: &HostFacts,
        update: &LocalUpdate,
        stock: impl FnOnce(UpdateId) -> Stock,
    ) -> Standing<'r> {
        if let Some(standing) = Standing::by_itself(update.flags) {
            return standing;
        }
        if let Some(by) = self.superseding(host, update.id) {
            return Standing::Superseded { by };
        }
        let traits = self.known.traits(update.id);
        let default_allow = self.settings.default_allow == Some(true);
        let verdict = verdict(self.rules, update.id, traits, update.flags.allowed(), default_allow);
        if !verdict.allowed {
            return Standing::Forbidden(verdict);
        }
        let until = self.delayed_until(traits);
        if until.is_some() || update.flags.has(LocalFlags::DELAYED) {
            return Standing::Delayed { until, verdict };
        }
        Standing::Needed { stock: stock(update.id), verdict }
    }

    fn superseding(&self, host: &HostFacts, id: UpdateId) -> Option<Guid> {
        if self.settings.include_potentially_superseded_updates == Some(true) {
            return None;
        }
        self.known.superseding(id.guid()).find(|newer| host.has_any_revision(*newer))
    }

    /// When the delay of an update is over, if it is not yet. One that nothing is known of is not held back.
    fn delayed_until(&self, traits: Option<&UpdateTraits>) -> Option<u64> {
        let until = traits?.delayed_from().saturating_add(self.settings.install_delay?);
        (self.now < until).then_some(until)
    }
}
