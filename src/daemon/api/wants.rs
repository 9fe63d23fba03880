//! Wants: files that somebody needs and the repository lacks.

use crate::domain::{
    digest::{Sha1, Sha256},
    name::FolderName,
    update::UpdateId,
    wants::FileClaim,
};
use serde::{Deserialize, Serialize};

/// GET with [`WantsQuery`]: [`WantsPage`]. POST [`WantRequest`]: [`WantReply`]. DELETE with
/// [`ForgetQuery`]: [`ForgetReply`].
pub const WANTS: &str = "/api/v1/wants";

/// Files that an administrator wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantRequest {
    /// What is told of each.
    pub files: Vec<FileClaim>,
    /// Whether they are only told of: each is fetched when a host asks for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_miss: bool,
}

/// What became of a [`WantRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantReply {
    /// One for each file, in order.
    pub files: Vec<WantAnswer>,
}

/// What became of one file's want.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantAnswer {
    /// The file's folder.
    pub folder: FolderName,
    /// Its name there.
    pub name: String,
    /// What became of it.
    pub outcome: WantOutcome,
    /// For a person: why it was refused, or what it still lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What became of one file's want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WantOutcome {
    /// It is wanted.
    Wanted,
    /// It was wanted before; this is one asking more.
    Known,
    /// It is here already.
    Held,
    /// It is known, and fetched when a host asks for it.
    Told,
    /// What was told contradicts what is known: nothing was changed.
    Refused,
}

/// Which wants are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantsQuery {
    /// Only those after it: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many; the daemon may give fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Wants by folder and name, in pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantsPage {
    /// These.
    pub wants: Vec<WantReport>,
    /// What to ask for next, opaque; `None` on the last page.
    pub next: Option<String>,
}

/// One wanted file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantReport {
    /// Its folder.
    pub folder: FolderName,
    /// Its name there.
    pub name: String,
    /// Bytes, where that is known.
    pub size: Option<u64>,
    /// Its SHA-1, where that is known.
    pub sha1: Option<Sha1>,
    /// Its SHA-256, where that is known.
    pub sha256: Option<Sha256>,
    /// Where it is said to be, what was told last first.
    pub urls: Vec<String>,
    /// The updates that it is a part of.
    pub updates: Vec<UpdateId>,
    /// Who asked, in words; who asked last first, at most 32.
    pub who: Vec<String>,
    /// How often it was asked for.
    pub times: u64,
    /// When it was asked for first.
    pub first_asked: u64,
    /// When it was asked for last.
    pub last_asked: u64,
    /// Where it stands.
    pub state: WantStateReport,
    /// While it waits: until when.
    pub next_try: Option<u64>,
    /// How many tasks failed since one succeeded.
    pub failures: u32,
    /// Why the last one failed.
    pub error: Option<String>,
    /// What was told of it and not taken, since it contradicts what is known.
    pub conflicts: Vec<ConflictReport>,
}

/// Where a want stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WantStateReport {
    /// The file is on this disk.
    Held,
    /// It is being fetched.
    Fetching,
    /// It is to be fetched.
    Due,
    /// It is tried again later.
    Waiting,
    /// No digest vouches for its content: somebody has to tell one.
    Unvouched,
}

/// Another content that somebody claims for a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictReport {
    /// Where it is said to be.
    pub url: String,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its SHA-1.
    pub sha1: Option<Sha1>,
    /// Its SHA-256.
    pub sha256: Option<Sha256>,
    /// Who said so last, in words.
    pub who: String,
    /// When it was said last.
    pub last_at: u64,
}

/// What is to be forgotten: one update, or one file by its folder and name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetQuery {
    /// The update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateId>,
    /// The file's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderName>,
    /// Its name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What is forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetReply {
    /// Files that are wanted no longer: `folder/name`. What is held stays.
    pub files: Vec<String>,
    /// Files that stay wanted, since other updates share them.
    pub shared: Vec<String>,
}

/// How many files are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantsSummary {
    /// In all.
    pub files: u64,
    /// Of these, not here yet.
    pub open: u64,
    /// Files of which several contents were told.
    pub conflicts: u64,
}

/// A search for what is wanted has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanReply {
    /// Wanted files that are not here.
    pub open: u64,
}
