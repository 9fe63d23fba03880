//! What an administrator does to rules, and what is remembered of it.

use super::{Criterion, Origin, RuleSet, SetName};
use crate::domain::{
    host::Maturity,
    versioned::{self, VersionedError},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

const VERSION: u8 = 1;
/// How many changes are remembered; the oldest go first.
pub const CHANGES_KEPT: u64 = 256;
/// Criteria that the words for a change name; the rest is counted.
const MAX_NAMED: usize = 20;

/// One change of one rule set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SetEdit {
    /// Lets these through; they are forbidden no longer.
    Allow(BTreeSet<Criterion>),
    /// Forbids these; they are allowed no longer.
    Forbid(BTreeSet<Criterion>),
    /// Says nothing of these.
    Reset(BTreeSet<Criterion>),
    /// Counts for hosts of this maturity and of earlier ones.
    Maturity(Maturity),
}

/// A set that is not to be changed by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "rule set {name} came with version {version} of its package: build another version and import it, or write the \
     rule into another set (--set)"
)]
pub struct SetEditError {
    name: SetName,
    version: String,
}

impl RuleSet {
    /// Makes a change.
    pub fn edit(&mut self, edit: &SetEdit) -> Result<(), SetEditError> {
        if let Origin::Package { version, .. } = &self.origin {
            return Err(SetEditError { name: self.name.clone(), version: version.clone() });
        }
        match edit {
            SetEdit::Allow(criteria) => {
                self.forbidden.retain(|criterion| !criteria.contains(criterion));
                self.allowed.extend(criteria.iter().cloned());
            }
            SetEdit::Forbid(criteria) => {
                self.allowed.retain(|criterion| !criteria.contains(criterion));
                self.forbidden.extend(criteria.iter().cloned());
            }
            SetEdit::Reset(criteria) => {
                self.allowed.retain(|criterion| !criteria.contains(criterion));
                self.forbidden.retain(|criterion| !criteria.contains(criterion));
            }
            SetEdit::Maturity(maturity) => self.maturity = *maturity,
        }
        Ok(())
    }
}

impl fmt::Display for SetEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, criteria) = match self {
            Self::Allow(criteria) => ("allowed", criteria),
            Self::Forbid(criteria) => ("forbade", criteria),
            Self::Reset(criteria) => ("reset", criteria),
            Self::Maturity(maturity) => return write!(f, "made it {maturity}"),
        };
        let named: Vec<_> = criteria.iter().take(MAX_NAMED).map(ToString::to_string).collect();
        write!(f, "{done} {}", named.join(", "))?;
        match criteria.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// One change that was made: who, when, what. A stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleChange {
    /// Its number; each change has the next.
    pub number: u64,
    /// When, in seconds since 1970 UTC.
    pub at: u64,
    /// Who: a user of the main, or the file that changed.
    pub by: String,
    /// The set; `None` for the configuration file's rules.
    pub set: Option<SetName>,
    /// What was done, in words.
    pub what: String,
}

impl RuleChange {
    /// As it is stored.
    pub fn encode(&self) -> Result<Vec<u8>, VersionedError> {
        versioned::encode(VERSION, self)
    }

    /// What [`RuleChange::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, VersionedError> {
        versioned::decode(VERSION, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::PackageSignature;

    fn kbs(numbers: &[&str]) -> BTreeSet<Criterion> {
        numbers.iter().map(|number| Criterion::kb(number).unwrap()).collect()
    }

    #[test]
    fn version_one_keeps_its_bytes() {
        let change =
            RuleChange { number: 300, at: 2, by: "a".into(), set: Some(SetName::new("b").unwrap()), what: "c".into() };
        let stored = change.encode().unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&stored), "01ac020201610101620163");
        assert_eq!(RuleChange::decode(&stored), Ok(change));
    }

    #[test]
    fn what_was_said_last_of_a_criterion_counts() {
        let mut set = RuleSet::own(SetName::new("default").unwrap());
        set.edit(&SetEdit::Allow(kbs(&["1", "2"]))).unwrap();
        set.edit(&SetEdit::Forbid(kbs(&["2", "3"]))).unwrap();
        assert_eq!((&set.allowed, &set.forbidden), (&kbs(&["1"]), &kbs(&["2", "3"])));
        set.edit(&SetEdit::Allow(kbs(&["3"]))).unwrap();
        set.edit(&SetEdit::Reset(kbs(&["1", "2", "9"]))).unwrap();
        set.edit(&SetEdit::Maturity(Maturity::Preprod)).unwrap();
        assert_eq!((set.allowed, set.forbidden, set.maturity), (kbs(&["3"]), kbs(&[]), Maturity::Preprod));
    }

    #[test]
    fn a_set_of_a_package_is_changed_by_its_package_alone() {
        let origin = Origin::Package { version: "1-2".into(), signature: PackageSignature::Unsigned };
        let mut set = RuleSet { origin, ..RuleSet::own(SetName::new("tis").unwrap()) };
        let before = set.clone();
        let refused = set.edit(&SetEdit::Allow(kbs(&["1"]))).unwrap_err();
        assert!(refused.to_string().starts_with("rule set tis came with version 1-2 of its package"), "{refused}");
        assert_eq!(set, before);
    }

    #[test]
    fn the_words_for_a_change_are_bounded() {
        let many: Vec<_> = (0..23).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(SetEdit::Forbid(kbs(&["1", "2"])).to_string(), "forbade KB1, KB2");
        assert!(SetEdit::Allow(kbs(&many)).to_string().ends_with("KB19 and 3 more"));
    }
}
