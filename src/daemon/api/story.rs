//! All that is known of one file.

use super::{FileReport, WantReport};
use crate::domain::{name::FolderName, wants::TaskKind};
use serde::{Deserialize, Serialize};

/// GET below it, `/{folder}/{*name}`: [`FileStory`].
pub const STORY: &str = "/api/v1/story";

/// One file: where it stands, who wants it, and what holds it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStory {
    /// Its folder.
    pub folder: FolderName,
    /// Its name there.
    pub name: String,
    /// In one sentence, for a person.
    pub verdict: String,
    /// What index and disk say.
    pub file: Option<FileReport>,
    /// Who wants it; on a main.
    pub want: Option<WantReport>,
    /// Where it is said to be; on a main that somebody told.
    pub urls: Vec<String>,
    /// Its flight, if there is one.
    pub flight: Option<FlightReport>,
    /// What hosts asked for in vain; on a secondary.
    pub asked_in_vain: Option<AskReport>,
    /// The last attempts to fetch it, newest first; on a main.
    pub tasks: Vec<TaskReport>,
}

/// A file on its way, because somebody asked for it. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlightReport {
    /// Where it stands.
    pub phase: FlightPhase,
    /// When it was asked for first.
    pub since: u64,
    /// Who asked first, in words.
    pub first: String,
    /// How often it was asked for since.
    pub asked: u64,
    /// How many are reading it.
    pub readers: u64,
    /// Its length in bytes, once its source has told.
    pub size: Option<u64>,
    /// Bytes that have arrived.
    pub arrived: u64,
    /// Where they come from, in words.
    pub source: String,
}

/// Where a flight stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlightPhase {
    /// Others go first.
    Queued,
    /// Its source is being asked, or sends.
    Flying,
    /// All bytes are here and right; its name is being given.
    Verified,
}

/// What hosts asked for in vain. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskReport {
    /// When first.
    pub first: u64,
    /// When last.
    pub last: u64,
    /// How often.
    pub times: u64,
}

/// One attempt to fetch a file. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Why it was begun.
    pub kind: TaskKind,
    /// From where.
    pub url: String,
    /// When it was begun.
    pub started_at: u64,
    /// When it ended; `None` while it goes on.
    pub ended_at: Option<u64>,
    /// Bytes that had come.
    pub received: u64,
    /// `running`, `done`, `failed` or `interrupted`.
    pub status: String,
    /// Why it failed.
    pub error: Option<String>,
}
