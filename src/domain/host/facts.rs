//! All that decisions look at of one host.

use super::{HostSettings, HostUuid, LocalUpdate, Maturity};
use crate::domain::{
    guid::Guid,
    member::{HostName, SiteName},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is known of one host. A stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Which host.
    pub uuid: HostUuid,
    /// Its name, for people.
    pub name: Option<HostName>,
    /// Where it stands.
    pub site: Option<SiteName>,
    /// Which rule sets it takes; without a word PROD.
    pub maturity: Maturity,
    /// Its agent's options.
    pub settings: HostSettings,
    /// Names of the rule packages that are installed on it; `None` where the host did not tell.
    pub rule_packages: Option<Vec<Arc<str>>>,
    /// When its agent last looked for updates, in seconds since 1970 UTC: these facts are of that moment.
    pub scanned_at: Option<u64>,
    /// When it last reported, in seconds since 1970 UTC.
    pub seen_at: u64,
    /// Its updates in ascending order of their ids, each once; see [`HostFacts::sort_updates`].
    pub updates: Vec<LocalUpdate>,
}

impl HostFacts {
    /// Brings the updates into their order. Of an update that stands there twice, what was told last counts.
    pub fn sort_updates(updates: &mut Vec<LocalUpdate>) {
        updates.reverse();
        updates.sort_by_key(|update| update.id);
        updates.dedup_by_key(|update| update.id);
    }

    /// Whether any revision of an update is among those that Windows offers or has installed there.
    pub fn has_any_revision(&self, guid: Guid) -> bool {
        let first = self.updates.partition_point(|update| update.id.guid() < guid);
        self.updates.get(first).is_some_and(|update| update.id.guid() == guid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{host::LocalFlags, update::UpdateId};

    #[test]
    fn updates_stand_in_order_and_the_last_word_on_one_counts() {
        let update = |n: u8, flags| LocalUpdate { id: UpdateId::new([n; 16], 1), flags, installed_at: None };
        let mut updates =
            vec![update(2, LocalFlags::HIDDEN), update(1, LocalFlags::default()), update(2, LocalFlags::INSTALLED)];
        HostFacts::sort_updates(&mut updates);
        assert_eq!(updates, [update(1, LocalFlags::default()), update(2, LocalFlags::INSTALLED)]);
    }
}
