//! What this program itself moves into the folder is nobody's news: it was verified before, and its row follows.
//!
//! An expectation stands for one event and for a moment: where the event never comes (the directory is newer than its
//! watch, or events were lost), another program's file under the same name must be told again soon.

use crate::domain::name::FileName;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long an event may take to arrive; a later one is told like any other.
const MOMENT: Duration = Duration::from_secs(5);
/// Most names that are expected at one time: as many as the system's queue of events holds.
const CAPACITY: usize = 16_384;

/// The arrivals in one folder that are this program's own.
#[derive(Debug, Default)]
pub struct Own {
    names: Mutex<HashMap<FileName, Expected>>,
}

#[derive(Debug)]
struct Expected {
    events: u32,
    until: Instant,
}

impl Own {
    /// A file is about to be moved to `name`.
    pub fn expect(&self, name: &FileName, now: Instant) {
        let mut names = self.lock();
        if names.len() >= CAPACITY {
            names.retain(|_, expected| expected.until >= now);
        }
        if names.len() < CAPACITY || names.contains_key(name) {
            let expected = names.entry(name.clone()).or_insert(Expected { events: 0, until: now });
            (expected.events, expected.until) = (expected.events + 1, now + MOMENT);
        }
    }

    /// It was not moved there.
    pub fn withdraw(&self, name: &FileName) {
        self.take(name);
    }

    /// Whether what was moved to `name`, as an event told at `now`, is this program's; what is expected counts once.
    pub(super) fn is_own(&self, name: &FileName, now: Instant) -> bool {
        self.take(name).is_some_and(|until| until >= now)
    }

    /// Events were lost: nothing is expected.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// One event of a name, with the time until which it counts.
    fn take(&self, name: &FileName) -> Option<Instant> {
        let mut names = self.lock();
        let expected = names.get_mut(name)?;
        let until = expected.until;
        expected.events -= 1;
        if expected.events == 0 {
            names.remove(name);
        }
        Some(until)
    }

    /// What is expected.
    #[cfg(test)]
    pub(crate) fn names(&self) -> std::collections::BTreeSet<String> {
        self.lock().keys().map(ToString::to_string).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileName, Expected>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::new(text).unwrap()
    }

    #[test]
    fn each_own_arrival_keeps_one_event_back_and_no_other_event() {
        let (own, now) = (Own::default(), Instant::now());
        (0..2).for_each(|_| own.expect(&name("a"), now));
        assert!(!own.is_own(&name("b"), now));
        assert!(own.is_own(&name("a"), now) && own.is_own(&name("a"), now + MOMENT));
        assert!(!own.is_own(&name("a"), now));
    }

    #[test]
    fn what_was_withdrawn_came_too_late_or_was_lost_is_news() {
        let (own, now) = (Own::default(), Instant::now());
        ["a", "b", "c"].iter().for_each(|text| own.expect(&name(text), now));
        own.withdraw(&name("a"));
        assert!(!own.is_own(&name("a"), now));
        assert!(!own.is_own(&name("b"), now + MOMENT + Duration::from_nanos(1)));
        own.forget();
        assert!(!own.is_own(&name("c"), now));
    }

    #[test]
    fn what_is_expected_is_bounded_and_makes_room_when_its_moment_is_over() {
        let (own, now) = (Own::default(), Instant::now());
        (0..=CAPACITY).for_each(|n| own.expect(&name(&n.to_string()), now));
        assert!(!own.is_own(&name(&CAPACITY.to_string()), now));
        let later = now + MOMENT + Duration::from_nanos(1);
        own.expect(&name("later"), later);
        assert!(own.is_own(&name("later"), later));
        assert_eq!(own.lock().len(), 0);
    }
}
