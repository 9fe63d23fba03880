//! What rules look at of an update. Hosts share it, whoever told it: an edition or a report.

use crate::domain::{
    edition::{Kb, Severity},
    guid::Guid,
    update::UpdateId,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// What is known of one update. A stored value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateTraits {
    /// The articles about it.
    pub kbs: Vec<Kb>,
    /// Names of its products.
    pub products: Vec<Arc<str>>,
    /// Names of its classifications: `SecurityUpdates`, `Security Updates`, or in a host's language.
    pub classifications: Vec<Arc<str>>,
    /// How grave what it mends is.
    pub severity: Option<Severity>,
    /// The updates whose place it takes, whatever their revision.
    pub supersedes: Vec<Guid>,
    /// The last deployment change time, in seconds since 1970 UTC.
    pub changed_at: Option<u64>,
    /// When the repository first knew it, in seconds since 1970 UTC.
    pub known_since: u64,
}

impl UpdateTraits {
    /// From when an `install_delay` counts.
    pub fn delayed_from(&self) -> u64 {
        self.changed_at.unwrap_or(self.known_since)
    }
}

/// All updates that something is known of, ready for any number of hosts.
#[derive(Debug, Clone, Default)]
pub struct KnownUpdates {
    by_id: HashMap<UpdateId, UpdateTraits>,
    /// Who takes the place of an update; ascending.
    superseded_by: HashMap<Guid, BTreeSet<Guid>>,
}

impl KnownUpdates {
    /// What is known of an update.
    pub fn traits(&self, id: UpdateId) -> Option<&UpdateTraits> {
        self.by_id.get(&id)
    }

    /// The updates that take the place of one, in ascending order.
    pub fn superseding(&self, guid: Guid) -> impl Iterator<Item = Guid> {
        self.superseded_by.get(&guid).into_iter().flatten().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

impl FromIterator<(UpdateId, UpdateTraits)> for KnownUpdates {
    fn from_iter<I: IntoIterator<Item = (UpdateId, UpdateTraits)>>(updates: I) -> Self {
        let mut known = Self::default();
        for (id, traits) in updates {
            for older in traits.supersedes.iter().filter(|older| **older != id.guid()) {
                known.superseded_by.entry(*older).or_default().insert(id.guid());
            }
            known.by_id.insert(id, traits);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_an_updates_place_is_found_and_none_takes_its_own() {
        let guid = |n: u8| Guid([n; 16]);
        let of = |n: u8, supersedes: Vec<Guid>| {
            (UpdateId::of(guid(n), 1), UpdateTraits { supersedes, ..UpdateTraits::default() })
        };
        let known: KnownUpdates = [of(3, vec![guid(1), guid(3)]), of(2, vec![guid(1)])].into_iter().collect();
        assert_eq!(known.superseding(guid(1)).collect::<Vec<_>>(), [guid(2), guid(3)]);
        assert_eq!(known.superseding(guid(3)).count(), 0);
        assert_eq!((known.len(), known.is_empty()), (2, false));
    }
}
