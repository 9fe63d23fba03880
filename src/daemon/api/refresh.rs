//! Microsoft's index of updates.

use crate::{catalog::EditionRecord, domain::digest::Root};
use serde::{Deserialize, Serialize};

/// GET: [`RefreshesReport`]. POST [`RefreshRequest`]: [`RefreshReport`], when it is over.
pub const REFRESH: &str = "/api/v1/refresh";

/// Asks Microsoft for an edition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshRequest {
    /// Fetch and publish it even if it seems to be the published one.
    pub force: bool,
}

/// One attempt, as WAPT's console shows it. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshReport {
    /// When it began.
    pub started_at: u64,
    /// When it ended.
    pub finished_at: u64,
    /// Whether somebody wanted it whatever Microsoft says.
    pub forced: bool,
    /// The cabinet's date at Microsoft's, as far as it was asked.
    pub cab_modified: Option<i64>,
    /// Its length in bytes.
    pub cab_size: Option<u64>,
    /// `skipped`, `published` or `failed`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<String>,
}

/// What was tried, and what is next. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshesReport {
    /// The edition whose updates and files are known.
    pub edition: Option<EditionReport>,
    /// Whether one is being fetched.
    pub is_running: bool,
    /// When Microsoft is asked next; `None` on a node that does not ask.
    pub next_at: Option<u64>,
    /// Why then.
    pub why: Option<String>,
    /// The last attempts, newest first.
    pub refreshes: Vec<RefreshReport>,
}

/// An edition. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditionReport {
    /// When Microsoft made it.
    pub created: i64,
    /// BLAKE3 of the cabinet.
    pub root: Root,
    /// Updates in it.
    pub updates: u64,
    /// Files of them.
    pub files: u64,
    /// When it was read.
    pub indexed_at: u64,
}

impl From<EditionRecord> for EditionReport {
    fn from(edition: EditionRecord) -> Self {
        let EditionRecord { id, root, updates, files, indexed_at, .. } = edition;
        Self { created: id.created, root, updates, files, indexed_at }
    }
}
