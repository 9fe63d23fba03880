//! All rules that count for a host, as one.
//!
//! The configuration file comes first, then every rule set. Lists are united, so their order changes no verdict;
//! of two sources that say the same, the file is named, else the set that comes first by name. What is done with
//! updates that no rule names is said by the file alone.

use crate::domain::{
    edition::{Kb, Severity},
    guid::Guid,
    host::{HostFacts, HostSettings},
    rules::{Criterion, IniRules, Label, RuleSet, SetName},
    update::UpdateId,
};
use std::{collections::BTreeMap, fmt};

pub use crate::domain::rules::RuleBook;

/// Who said a rule: a place among the sources of [`MergedRules`], the file being 0.
type Place = u16;

/// Who said a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source<'r> {
    /// `[waptwua]` of the configuration file.
    Ini,
    /// A rule set.
    Set(&'r SetName),
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ini => f.write_str("[waptwua]"),
            Self::Set(name) => write!(f, "rule set {name}"),
        }
    }
}

/// Rules of any number of sources, ready to be asked about many updates.
#[derive(Debug, Clone, Default)]
pub struct MergedRules {
    sets: Vec<SetName>,
    pub(super) allowed: Lists,
    pub(super) forbidden: Lists,
}

impl MergedRules {
    /// Unites them. Of more than 65,535 sets the first by name count.
    pub fn of<'s>(ini: &IniRules, sets: impl IntoIterator<Item = &'s RuleSet>) -> Self {
        let mut sets: Vec<_> = sets.into_iter().collect();
        sets.sort_by(|a, b| a.name.cmp(&b.name));
        let mut merged = Self::default();
        merged.allowed.take(&ini.allowed, 0);
        merged.forbidden.take(&ini.forbidden, 0);
        for (place, set) in (1..=Place::MAX).zip(sets) {
            merged.sets.push(set.name.clone());
            merged.allowed.take(&set.allowed, place);
            merged.forbidden.take(&set.forbidden, place);
        }
        merged.allowed.sort();
        merged.forbidden.sort();
        merged
    }

    /// Who stands at a place.
    pub(super) fn source(&self, place: Place) -> Source<'_> {
        let set = usize::from(place).checked_sub(1).and_then(|place| self.sets.get(place));
        set.map_or(Source::Ini, Source::Set)
    }
}

/// Criteria by kind, each with who said it; in ascending order, so that looking one up takes no walk.
#[derive(Debug, Clone, Default)]
pub(super) struct Lists {
    updates: Vec<(Guid, Option<u32>, Place)>,
    kbs: Vec<(Kb, Place)>,
    products: Vec<(Label, Place)>,
    severities: Vec<(Severity, Place)>,
    classifications: Vec<(Label, Place)>,
}

impl Lists {
    fn take<'c>(&mut self, criteria: impl IntoIterator<Item = &'c Criterion>, place: Place) {
        for criterion in criteria {
            match criterion {
                Criterion::Update(pattern) => self.updates.push((pattern.guid, pattern.revision, place)),
                Criterion::Kb(kb) => self.kbs.push((*kb, place)),
                Criterion::Product(label) => self.products.push((label.clone(), place)),
                Criterion::Severity(severity) => self.severities.push((*severity, place)),
                Criterion::Classification(label) => self.classifications.push((label.clone(), place)),
            }
        }
    }

    fn sort(&mut self) {
        self.updates.sort_unstable();
        self.kbs.sort_unstable();
        self.products.sort_unstable();
        self.severities.sort_unstable();
        self.classifications.sort_unstable();
        self.products.dedup_by(|later, first| later.0 == first.0);
        self.classifications.dedup_by(|later, first| later.0 == first.0);
    }

    /// The first rule that names an update; one for all its revisions comes before one for its own.
    pub(super) fn update(&self, id: UpdateId) -> Option<(Option<u32>, Place)> {
        let first = self.updates.partition_point(|(guid, ..)| *guid < id.guid());
        let of_it = self.updates[first..].iter().take_while(|(guid, ..)| *guid == id.guid());
        let mut naming = of_it.filter(|(_, revision, _)| revision.is_none_or(|revision| revision == id.revision()));
        naming.next().map(|(_, revision, place)| (*revision, *place))
    }

    /// Who names an article.
    pub(super) fn kb(&self, kb: Kb) -> Option<Place> {
        first_of(&self.kbs, &kb)
    }

    /// Who names a severity.
    pub(super) fn severity(&self, severity: Severity) -> Option<Place> {
        first_of(&self.severities, &severity)
    }

    /// The rule that names a product.
    pub(super) fn product(&self, text: &str) -> Option<(&Label, Place)> {
        naming(&self.products, text)
    }

    /// The rule that names a classification.
    pub(super) fn classification(&self, text: &str) -> Option<(&Label, Place)> {
        naming(&self.classifications, text)
    }
}

fn first_of<T: Ord>(list: &[(T, Place)], key: &T) -> Option<Place> {
    let first = list.partition_point(|(known, _)| known < key);
    list.get(first).filter(|(known, _)| known == key).map(|(_, place)| *place)
}

/// Names are few, and comparing them as they are written makes no copy of one.
fn naming<'l>(list: &'l [(Label, Place)], text: &str) -> Option<(&'l Label, Place)> {
    list.iter().find(|(label, _)| label.names(text)).map(|(label, place)| (label, *place))
}

/// A rule book that remembers what it merged, since many hosts have the same sets.
#[derive(Debug)]
pub struct MergedBook<'b> {
    book: &'b RuleBook,
    /// By the places of the sets that count.
    merged: BTreeMap<Vec<usize>, MergedRules>,
}

impl<'b> MergedBook<'b> {
    /// Nothing merged yet.
    pub fn new(book: &'b RuleBook) -> Self {
        Self { book, merged: BTreeMap::new() }
    }

    /// The options and the rules that count for a host.
    pub fn rules_for(&mut self, host: &HostFacts) -> (HostSettings, &MergedRules) {
        let sets = &self.book.sets;
        let counts = |n: &usize| RuleBook::counts_for(&sets[*n], host.maturity, host.rule_packages.as_deref());
        let places: Vec<usize> = (0..sets.len()).filter(counts).collect();
        let merged = self
            .merged
            .entry(places)
            .or_insert_with_key(|places| MergedRules::of(&self.book.ini, places.iter().map(|place| &sets[*place])));
        (self.book.settings_for(host), merged)
    }
}
