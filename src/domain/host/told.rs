//! What a host tells, as far as it is kept: beside what decisions look at, what people want to see.

use super::{HostFacts, LocalFlags, UpdateTraits};
use crate::domain::{name::FileName, origin::OriginUrl, update::UpdateId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most addresses of one update that are kept; Microsoft's largest bundles have some hundred files.
pub const MAX_UPDATE_URLS: usize = 256;
/// Most updates of one host.
pub const MAX_HOST_UPDATES: usize = 10_000;

/// How the agent of a host is doing. Times are seconds since 1970 UTC. A stored value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Its own word, such as `OK` or `PENDING_UPDATES`.
    pub status: Option<String>,
    /// Of when the edition is that it looked into.
    pub edition_at: Option<u64>,
    /// How long its last look took, in seconds.
    pub scan_seconds: Option<u64>,
    /// When it installed something last.
    pub last_install_at: Option<u64>,
    /// What that came to.
    pub last_install_result: Option<String>,
    /// Whether the machine has to start anew.
    pub reboot_required: bool,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// What is known of one update from hosts. A stored value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldUpdate {
    /// What rules look at.
    pub traits: UpdateTraits,
    /// For people.
    pub title: Option<String>,
    /// Where its files are, in ascending order: the union of what hosts told, since languages differ.
    pub urls: Vec<OriginUrl>,
}

impl ToldUpdate {
    /// What is known at `now` (seconds since 1970 UTC) of an update of which nothing was known, once a host told `self`.
    pub fn told_first(mut self, now: u64) -> Self {
        order(&mut self.urls);
        self.traits.known_since = now;
        self
    }

    /// Adds what a host told at `now` to what is `known`; whether that changes it. Of traits the last word counts, as far as
    /// there is one.
    pub fn merge_into(self, known: &mut Self, now: u64) -> bool {
        let UpdateTraits { kbs, products, classifications, severity, supersedes, changed_at, .. } = self.traits;
        let traits = &mut known.traits;
        let is_early = now < traits.known_since;
        traits.known_since = traits.known_since.min(now);
        let news = [
            is_early,
            list(kbs, &mut traits.kbs),
            list(products, &mut traits.products),
            list(classifications, &mut traits.classifications),
            said(severity, &mut traits.severity),
            list(supersedes, &mut traits.supersedes),
            said(changed_at, &mut traits.changed_at),
            said(self.title, &mut known.title),
            add_urls(self.urls, &mut known.urls),
        ];
        news.contains(&true)
    }
}

fn list<T: PartialEq>(told: Vec<T>, known: &mut Vec<T>) -> bool {
    let is_news = !told.is_empty() && told != *known;
    if is_news {
        *known = told;
    }
    is_news
}

fn said<T: PartialEq>(told: Option<T>, known: &mut Option<T>) -> bool {
    let is_news = told.is_some() && told != *known;
    if is_news {
        *known = told;
    }
    is_news
}

fn add_urls(mut told: Vec<OriginUrl>, known: &mut Vec<OriginUrl>) -> bool {
    told.retain(|url| known.binary_search(url).is_err());
    if told.is_empty() {
        return false;
    }
    told.extend(known.iter().cloned());
    order(&mut told);
    let is_news = told != *known;
    *known = told;
    is_news
}

fn order(urls: &mut Vec<OriginUrl>) {
    urls.sort_unstable();
    urls.dedup();
    urls.truncate(MAX_UPDATE_URLS);
}

/// One report, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReport {
    /// The host's facts.
    pub facts: HostFacts,
    /// Whether it says anything of the host's updates; else those that were known before stay.
    pub has_updates: bool,
    /// How its agent is doing.
    pub status: AgentStatus,
    /// Addresses that it asked repositories for in vain.
    pub missing_downloads: Vec<OriginUrl>,
    /// What it tells of updates.
    pub updates: BTreeMap<UpdateId, ToldUpdate>,
    /// How many parts of it made no sense and were passed over.
    pub skipped: u32,
}

impl HostReport {
    /// Files that the host lacks: of updates that its own rules allow, that are not installed and not on its disk yet, as far
    /// as it tells where they are; and what it asked repositories for in vain.
    pub fn lacking(&self) -> BTreeSet<&FileName> {
        let is_lacking = |flags: LocalFlags| {
            let is_done = flags.has(LocalFlags::INSTALLED) || flags.has(LocalFlags::DOWNLOADED);
            flags.allowed() == Some(true) && !is_done
        };
        let updates = self.facts.updates.iter().filter(|update| is_lacking(update.flags));
        let told = updates.filter_map(|update| self.updates.get(&update.id)).flat_map(|update| &update.urls);
        told.chain(&self.missing_downloads).map(OriginUrl::file_name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::edition::{Kb, Severity};

    fn url(file: &str) -> OriginUrl {
        OriginUrl::new(&format!("http://h/{file}")).unwrap()
    }

    #[test]
    fn addresses_add_up_and_the_last_word_on_the_rest_counts_as_far_as_there_is_one() {
        let first = ToldUpdate {
            traits: UpdateTraits { kbs: vec![Kb(1)], severity: Some(Severity::Low), ..UpdateTraits::default() },
            title: Some("a".to_owned()),
            urls: vec![url("b"), url("a"), url("b")],
        };
        let mut known = first.told_first(10);
        assert_eq!((known.traits.known_since, known.urls.clone()), (10, vec![url("a"), url("b")]));
        let later = ToldUpdate {
            traits: UpdateTraits { severity: Some(Severity::Critical), changed_at: Some(5), ..UpdateTraits::default() },
            title: None,
            urls: vec![url("c")],
        };
        assert!(later.clone().merge_into(&mut known, 20));
        assert_eq!(known.traits.kbs, [Kb(1)]);
        assert_eq!((known.traits.severity, known.traits.changed_at), (Some(Severity::Critical), Some(5)));
        assert_eq!((known.traits.known_since, known.title.as_deref()), (10, Some("a")));
        assert_eq!(known.urls, [url("a"), url("b"), url("c")]);
        let before = known.clone();
        assert!(!ToldUpdate::default().merge_into(&mut known, 30) && !later.merge_into(&mut known, 30));
        assert_eq!(known, before);
        assert!(ToldUpdate::default().merge_into(&mut known, 9), "a clock that was ahead");
        let many = (0..2 * MAX_UPDATE_URLS).map(|n| url(&format!("x{n:03}"))).collect::<Vec<_>>();
        let late = ToldUpdate { urls: many[MAX_UPDATE_URLS..].to_vec(), ..ToldUpdate::default() };
        let mut full = ToldUpdate { urls: many[..MAX_UPDATE_URLS].to_vec(), ..ToldUpdate::default() };
        assert!(!late.merge_into(&mut full, 0) && full.urls == many[..MAX_UPDATE_URLS], "no room for more");
    }
}
