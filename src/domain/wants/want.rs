//! Who wants a file, where that want stands, and when it is tried again.

use super::{
    facts::{FileFacts, keep_latest},
    task::TaskResult,
};
use crate::domain::member::{HostName, NodeName, SiteName};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Most askers of one want that are remembered; those that asked last stay.
pub const MAX_ASKERS: usize = 32;
/// The wait after the first failure, in seconds; each further one doubles it.
const FIRST_WAIT: u64 = 5 * 60;
/// The longest wait, in seconds.
const LONGEST_WAIT: u64 = 86_400;

/// Who asked for a file. A stored value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Asker {
    /// A person at this machine.
    Administrator {
        /// Its user; `None` where the system did not tell.
        uid: Option<u32>,
    },
    /// A Windows machine.
    Host {
        /// Its name.
        name: HostName,
        /// Where it stands.
        site: Option<SiteName>,
    },
    /// Another repository of the line, for its own hosts.
    Member {
        /// Its name.
        name: NodeName,
    },
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Administrator { uid: Some(uid) } => write!(f, "uid {uid}"),
            Self::Administrator { uid: None } => f.write_str("somebody"),
            Self::Host { name, site: Some(site) } => write!(f, "host {name} at {site}"),
            Self::Host { name, site: None } => write!(f, "host {name}"),
            Self::Member { name } => write!(f, "member {name}"),
        }
    }
}

/// The need for one file, however many have it. Times are seconds since 1970 UTC. A stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Who asked, and when last; at most [`MAX_ASKERS`].
    pub askers: BTreeMap<Asker, u64>,
    /// When it was asked for first.
    pub first_asked: u64,
    /// When it was asked for last.
    pub last_asked: u64,
    /// How often it was asked for.
    pub times: u64,
    /// The task that fetches it.
    pub running: Option<u64>,
    /// How many tasks failed since one succeeded.
    pub failures: u32,
    /// When the last task failed.
    pub failed_at: Option<u64>,
    /// Why.
    pub last_error: Option<String>,
}

/// Where a want stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantState {
    /// The file is on this disk.
    Held,
    /// A task fetches it.
    Fetching,
    /// No digest vouches for the content: it can't be fetched until somebody tells one.
    Unvouched,
    /// Tasks failed, and it is tried again then, in seconds since 1970 UTC.
    Waiting {
        /// When.
        until: u64,
    },
    /// It can be fetched.
    Due,
}

impl Want {
    /// What one asker wants at `at`.
    pub fn new(asker: &Asker, at: u64) -> Self {
        Self {
            askers: BTreeMap::from([(asker.clone(), at)]),
            first_asked: at,
            last_asked: at,
            times: 1,
            running: None,
            failures: 0,
            failed_at: None,
            last_error: None,
        }
    }

    /// The same, asked for once more.
    pub fn ask(&mut self, asker: &Asker, at: u64) {
        let last = self.askers.entry(asker.clone()).or_insert(at);
        *last = at.max(*last);
        keep_latest(&mut self.askers, MAX_ASKERS);
        self.first_asked = at.min(self.first_asked);
        self.last_asked = at.max(self.last_asked);
        self.times = self.times.saturating_add(1);
    }

    /// Whether a person of this machine asked.
    pub fn is_of_an_administrator(&self) -> bool {
        self.askers.keys().any(|asker| matches!(asker, Asker::Administrator { .. }))
    }

    /// A task for it has ended.
    pub fn on_task_end(&mut self, result: &TaskResult, at: u64) {
        self.running = None;
        match result {
            TaskResult::Done => (self.failures, self.failed_at, self.last_error) = (0, None, None),
            TaskResult::Failed(error) => {
                self.failures = self.failures.saturating_add(1);
                (self.failed_at, self.last_error) = (Some(at), Some(error.clone()));
            }
            TaskResult::Interrupted => {}
        }
    }

    /// Where it stands at `now`.
    pub fn state(&self, facts: &FileFacts, is_held: bool, now: u64) -> WantState {
        if is_held {
            return WantState::Held;
        }
        if self.running.is_some() {
            return WantState::Fetching;
        }
        if !facts.is_vouched() {
            return WantState::Unvouched;
        }
        match self.failed_at.map(|failed_at| (failed_at, next_try(self.failures, failed_at))) {
            // A clock that was set back since makes nobody wait for it.
            Some((failed_at, until)) if failed_at <= now && now < until => WantState::Waiting { until },
            _ => WantState::Due,
        }
    }

    /// What is fetched first has the greatest: every asker weighs as much as an hour of waiting, so that
    /// the most wanted go first and nobody waits for ever.
    pub fn weight(&self, now: u64) -> u64 {
        now.saturating_sub(self.first_asked) / 3_600 + self.askers.len() as u64
    }
}

/// When a file is tried again that failed `failures` times in a row, the last time at `now`: after five
/// minutes, then twice as long each time, at most a day.
pub fn next_try(failures: u32, now: u64) -> u64 {
    let wait = match failures {
        0 => 0,
        _ => FIRST_WAIT.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_WAIT),
    };
    now.saturating_add(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{digest::Sha1, origin::OriginUrl, wants::*};
    use proptest::prelude::*;

    fn member(n: u64) -> Asker {
        Asker::Member { name: NodeName::new(&format!("node{n}")).unwrap() }
    }

    fn facts(sha1: Option<Sha1>) -> FileFacts {
        let claim = FileClaim { sha1, ..FileClaim::of_url(OriginUrl::new("http://h/x.cab").unwrap()) };
        merge(None, &claim, 0).unwrap()
    }

    #[test]
    fn any_number_of_askers_is_one_want() {
        let mut want = Want::new(&member(0), 50);
        (0..100).for_each(|n| want.ask(&member(n), 100 + n));
        want.ask(&Asker::Administrator { uid: Some(0) }, 40);
        assert_eq!((want.first_asked, want.last_asked, want.times), (40, 199, 102));
        assert_eq!(want.askers.len(), MAX_ASKERS);
        assert!(want.askers.contains_key(&member(99)) && !want.askers.contains_key(&member(1)));
    }

    #[test]
    fn a_want_waits_after_failures_and_is_due_again() {
        let (facts, mut want) = (facts(Some(Sha1([1; 20]))), Want::new(&member(0), 0));
        assert_eq!(want.state(&facts, false, 1_000), WantState::Due);
        want.running = Some(3);
        assert_eq!(want.state(&facts, false, 1_000), WantState::Fetching);
        want.on_task_end(&TaskResult::Failed("no".to_owned()), 1_000);
        assert_eq!(want.state(&facts, false, 1_000), WantState::Waiting { until: 1_300 });
        assert_eq!(want.state(&facts, false, 1_300), WantState::Due);
        assert_eq!(want.state(&facts, false, 999), WantState::Due, "a clock that was set back");
        assert_eq!(want.state(&facts, true, 1_000), WantState::Held);
        want.on_task_end(&TaskResult::Interrupted, 1_500);
        assert_eq!((want.failures, want.last_error.as_deref()), (1, Some("no")));
        want.on_task_end(&TaskResult::Done, 2_000);
        assert_eq!((want.failures, want.failed_at, want.last_error), (0, None, None));
    }

    #[test]
    fn nothing_is_due_that_no_digest_vouches_for() {
        assert_eq!(Want::new(&member(0), 0).state(&facts(None), false, 1), WantState::Unvouched);
    }

    #[test]
    fn waits_double_to_a_day() {
        let waits: Vec<_> = [0, 1, 2, 3, 9, 10, u32::MAX].map(|failures| next_try(failures, 1_000) - 1_000).into();
        assert_eq!(waits, [0, 300, 600, 1_200, 76_800, 86_400, 86_400]);
        assert_eq!(next_try(5, u64::MAX), u64::MAX);
    }

    #[test]
    fn the_most_wanted_go_first_and_an_old_want_overtakes_them() {
        let (old, mut wanted) = (Want::new(&member(0), 0), Want::new(&member(0), 3_600));
        (1..5).for_each(|n| wanted.ask(&member(n), 3_600));
        assert!(wanted.weight(7_200) > old.weight(7_200));
        let late = Want { first_asked: 5 * 3_600, ..wanted };
        assert!(old.weight(6 * 3_600) > late.weight(6 * 3_600));
    }

    proptest! {
        #[test]
        fn the_order_of_askings_does_not_matter(
            (asked, shuffled) in proptest::collection::vec((0u64..60, 0u64..40), 1..80)
                .prop_flat_map(|asked| (Just(asked.clone()), Just(asked).prop_shuffle())),
        ) {
            let all = |asked: &[(u64, u64)]| {
                let mut want = Want::new(&member(asked[0].0), asked[0].1);
                asked[1..].iter().for_each(|(who, at)| want.ask(&member(*who), *at));
                want
            };
            prop_assert_eq!(all(&asked), all(&shuffled));
        }
    }
}
