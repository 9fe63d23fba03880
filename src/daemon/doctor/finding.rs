//! What a check says.

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Right,
    /// Worth knowing; nothing fails for it.
    Note,
    /// Something fails, or will.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check: `ports`, `clock`.
    pub check: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What to do; `None` where all is right.
    pub cure: Option<String>,
}

impl Finding {
    /// All is right.
    pub(super) fn right(check: &str, what: impl Into<String>) -> Self {
        Self { check: check.to_owned(), level: Level::Right, what: what.into(), cure: None }
    }

    /// Worth knowing.
    pub(super) fn note(check: &str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { check: check.to_owned(), level: Level::Note, what: what.into(), cure: Some(cure.into()) }
    }

    /// Something fails, or will.
    pub(super) fn wrong(check: &str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { check: check.to_owned(), level: Level::Wrong, what: what.into(), cure: Some(cure.into()) }
    }
}
