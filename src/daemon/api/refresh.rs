//! Microsoft's index of updates.

use crate::{
    catalog::{EditionRecord, WithdrawnRecord},
    domain::{
        digest::{Root, Sha1},
        edition::{FileChange, UpdateChange},
        file::FileRecord,
        guid::Guid,
    },
};
use serde::{Deserialize, Serialize};

/// GET: [`RefreshesReport`]. POST [`RefreshRequest`]: [`RefreshReport`], when it is over.
pub const REFRESH: &str = "/api/v1/refresh";

/// POST [`RollBackRequest`]: [`RollBackReply`], when it is over.
pub const ROLL_BACK: &str = "/api/v1/edition/roll-back";

/// GET with [`ChangesQuery`]: [`ChangesReply`].
pub const CHANGES: &str = "/api/v1/edition/changes";

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
    /// `skipped`, `published`, `failed`, `withheld` (Microsoft has the one that was taken back), `rolled back` or
    /// `found` (somebody put it into the folder).
    pub outcome: String,
    /// Why it failed.
    pub error: Option<String>,
    /// What is odd about the edition that is published since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub oddities: Vec<String>,
}

/// What was tried, and what is next. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshesReport {
    /// The edition whose updates and files are known.
    pub edition: Option<EditionReport>,
    /// The one before it, as far as it was read: what the changes are beside.
    #[serde(default)]
    pub previous: Option<EditionReport>,
    /// The cabinet of an edition before that can be brought back.
    #[serde(default)]
    pub kept: Option<CabinetReport>,
    /// The edition that a person took back, while Microsoft may have it still.
    #[serde(default)]
    pub withdrawn: Option<WithdrawnReport>,
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
    /// Microsoft's number of it.
    #[serde(default)]
    pub package_id: Option<Guid>,
    /// When Microsoft made it.
    pub created: i64,
    /// Microsoft's date of the cabinet, where it was asked.
    #[serde(default)]
    pub cab_modified: Option<i64>,
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
        let EditionRecord { id, root, origin_modified, updates, files, indexed_at, .. } = edition;
        let (package_id, cab_modified) = (Some(id.package_id), origin_modified);
        Self { package_id, created: id.created, cab_modified, root, updates, files, indexed_at }
    }
}

/// A cabinet in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CabinetReport {
    /// Its length in bytes.
    pub size: u64,
    /// Microsoft's date of it, in seconds since 1970 UTC.
    pub modified: i64,
}

impl From<(u64, i64)> for CabinetReport {
    fn from((size, modified): (u64, i64)) -> Self {
        Self { size, modified }
    }
}

impl From<FileRecord> for CabinetReport {
    fn from(FileRecord { size, modified, .. }: FileRecord) -> Self {
        Self { size, modified }
    }
}

/// An edition that a person took back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawnReport {
    /// BLAKE3 of its cabinet.
    pub root: Root,
    /// The cabinet's length in bytes.
    pub size: u64,
    /// Microsoft's date of it, in seconds since 1970 UTC.
    pub modified: i64,
    /// When it was taken back, in seconds since 1970 UTC.
    pub at: u64,
}

impl From<WithdrawnRecord> for WithdrawnReport {
    fn from(WithdrawnRecord { root, size, modified, at }: WithdrawnRecord) -> Self {
        Self { root, size, modified, at }
    }
}

/// What the status tells of the edition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditionStatus {
    /// The one whose updates are known.
    pub edition: EditionReport,
    /// The one that a person took back.
    pub withdrawn: Option<WithdrawnReport>,
}

/// Takes the published edition back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollBackRequest {
    /// Only tell what would be.
    pub only_look: bool,
}

/// The edition before is published again, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollBackReply {
    /// The edition that is taken back, as far as it was read.
    pub from: Option<EditionReport>,
    /// The one that is published again, as far as it was read.
    pub to: Option<EditionReport>,
    /// The cabinet that is taken back.
    pub withdrawn: CabinetReport,
    /// The cabinet that is published again.
    pub published: CabinetReport,
    /// Whether it was done.
    pub done: bool,
}

/// Which changes between the edition before and the published one are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesQuery {
    /// Updates after this UpdateID: `next_update` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_update: Option<Guid>,
    /// No updates any longer, and files after this one: `next_file` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_file: Option<Sha1>,
}

/// Changes, in pages: updates first, by UpdateID, then files, by SHA-1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesReply {
    /// The edition before.
    pub old: EditionReport,
    /// The published one.
    pub new: EditionReport,
    /// These updates.
    pub updates: Vec<UpdateChange>,
    /// These files.
    pub files: Vec<FileChange>,
    /// Where the next page begins, if it begins with updates.
    pub next_update: Option<Guid>,
    /// Where the next page begins, if it has files only.
    pub next_file: Option<Sha1>,
}
