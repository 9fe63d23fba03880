//! What cleanups let go, and what comes back.

use serde::{Deserialize, Serialize};

/// POST [`CleanupRequest`]: [`CleanupReply`], when it is done.
pub const CLEANUP: &str = "/api/v1/cleanup";
/// POST: [`UndoReply`].
pub const CLEANUP_UNDO: &str = "/api/v1/cleanup/undo";

/// What is wished for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanupRequest {
    /// Only tell.
    #[serde(default)]
    pub dry_run: bool,
    /// Also more than the cap lets go.
    #[serde(default)]
    pub force: bool,
    /// So many bytes are to be free again.
    #[serde(default)]
    pub free: Option<u64>,
    /// Also what belongs to no known update.
    #[serde(default)]
    pub unknown: bool,
}

/// What a cleanup came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanupReply {
    /// Whether it only told.
    pub dry_run: bool,
    /// How many hosts are known; `None` where nothing was ever told of any, so that only what nobody asked for goes.
    pub hosts: Option<u32>,
    /// What goes, or would go, the least lately asked for first.
    pub leaving: Vec<LeavingFile>,
    /// How many files stay, by reason.
    pub staying: Vec<StayingFiles>,
    /// Files that went to the trash.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that left the trash for good, or would.
    pub trash_files: u64,
    /// Their bytes.
    pub trash_bytes: u64,
    /// Why nothing went: the cap lets no more than these go at once.
    pub withheld: Option<u64>,
}

/// A file that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingFile {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// Why it goes.
    pub why: String,
    /// When it was asked for last, or came, in seconds since 1970 UTC.
    pub last_use: u64,
}

/// Files that stay for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StayingFiles {
    /// Why.
    pub why: String,
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What came back of the last cleanup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoReply {
    /// When that cleanup began, in seconds since 1970 UTC; `None` if there is none to undo.
    pub at: Option<u64>,
    /// Files that are in their folder again.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that have left the trash, or whose name another file has.
    pub lost: u64,
}
