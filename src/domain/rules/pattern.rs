//! Updates that a rule names.

use crate::domain::{guid::Guid, update::UpdateId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A text that names no update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no update: write its UpdateID, and for one revision only a _ and its RevisionNumber")]
pub struct ParsePatternError {
    text: String,
}

/// One revision of an update, or all of them; written `<guid>_<revision>` or `<guid>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdatePattern {
    /// Which update.
    pub guid: Guid,
    /// Which revision; `None` for all.
    pub revision: Option<u32>,
}

impl UpdatePattern {
    /// Whether it names `id`.
    pub fn names(&self, id: UpdateId) -> bool {
        self.guid == id.guid() && self.revision.is_none_or(|revision| revision == id.revision())
    }
}

impl fmt::Display for UpdatePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision {
            Some(revision) => UpdateId::of(self.guid, revision).fmt(f),
            None => self.guid.fmt(f),
        }
    }
}

impl FromStr for UpdatePattern {
    type Err = ParsePatternError;

    /// Blanks around it ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let one = trimmed.parse::<UpdateId>().map(|id| Self { guid: id.guid(), revision: Some(id.revision()) });
        let all = |_| trimmed.parse().map(|guid| Self { guid, revision: None });
        one.or_else(all).map_err(|_| ParsePatternError { text: text.chars().take(80).collect() })
    }
}

impl Serialize for UpdatePattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { (self.guid, self.revision).serialize(to) }
    }
}

impl<'de> Deserialize<'de> for UpdatePattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
        } else {
            <(Guid, Option<u32>)>::deserialize(from).map(|(guid, revision)| Self { guid, revision })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "0fa1201d-4330-4fa8-8ae9-b877473b6441";

    #[test]
    fn an_id_without_a_revision_names_all_of_them() {
        let all: UpdatePattern = format!(" {} ", GUID.to_uppercase()).parse().unwrap();
        let one: UpdatePattern = format!("{GUID}_3").parse().unwrap();
        assert_eq!((all.to_string(), one.to_string()), (GUID.to_owned(), format!("{GUID}_3")));
        let id = |revision| UpdateId::of(GUID.parse().unwrap(), revision);
        assert!(all.names(id(3)) && all.names(id(4)) && one.names(id(3)) && !one.names(id(4)));
        for wrong in ["", "KB5087058", "0fa1201d", &format!("{GUID}_")] {
            assert!(wrong.parse::<UpdatePattern>().is_err(), "{wrong}");
        }
    }
}
