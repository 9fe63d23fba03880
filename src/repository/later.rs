//! Names that are to be looked at again, and when. Pure.

use crate::domain::name::FileName;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

/// Names that wait at once; who has more finds them again by a scan.
const MAX_WAITING: usize = 10_000;

/// A queue in which a name waits once, for the earliest of the times that were given.
#[derive(Default)]
pub(super) struct Later {
    due: BTreeSet<(Instant, FileName)>,
    waiting: BTreeMap<FileName, Instant>,
}

impl Later {
    /// Whether one more name would be kept.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// Keeps a name; `false` if there is no room for it.
    pub(super) fn push(&mut self, at: Instant, name: FileName) -> bool {
        if let Some(before) = self.waiting.get(&name).copied() {
            if at < before {
                self.due.remove(&(before, name.clone()));
                self.insert(at, name);
            }
            return true;
        }
        let has_room = self.has_room();
        if has_room {
            self.insert(at, name);
        }
        has_room
    }

    /// When the first name is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A name that is due at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<FileName> {
        if self.next_due()? > now {
            return None;
        }
        let (_, name) = self.due.pop_first()?;
        self.waiting.remove(&name);
        Some(name)
    }

    fn insert(&mut self, at: Instant, name: FileName) {
        self.due.insert((at, name.clone()));
        self.waiting.insert(name, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn name(n: usize) -> FileName {
        FileName::new(&format!("f{n}")).unwrap()
    }

    #[test]
    fn a_name_waits_once_for_the_earliest_time() {
        let (mut later, now) = (Later::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for seconds in [5, 3, 9] {
            assert!(later.push(at(seconds), name(1)));
        }
        later.push(at(4), name(2));
        assert_eq!(later.next_due(), Some(at(3)));
        assert_eq!(later.pop(at(2)), None);
        assert_eq!(later.pop(at(20)), Some(name(1)));
        assert_eq!(later.pop(at(20)), Some(name(2)));
        assert_eq!(later.pop(at(20)), None);
        assert_eq!(later.next_due(), None);
    }

    #[test]
    fn a_full_queue_takes_only_names_that_it_has() {
        let (mut later, now) = (Later::default(), Instant::now());
        assert!((0..MAX_WAITING).all(|n| later.push(now, name(n))));
        assert!(!later.push(now, name(MAX_WAITING)) && !later.has_room());
        assert!(later.push(now, name(0)));
        assert!(later.pop(now).is_some());
        assert!(later.push(now, name(MAX_WAITING)));
    }
}
