//! One attempt to fetch a file.

use crate::domain::{
    name::{FileName, FolderName},
    origin::OriginUrl,
};
use serde::{Deserialize, Serialize};

/// Most bytes of the reason that is kept of a failure.
pub const MAX_ERROR_BYTES: usize = 500;

/// Why it was begun. A stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// A want was due.
    Want,
    /// Somebody waits for the bytes.
    Miss,
    /// The edition of updates is looked for.
    Cab,
}

/// How it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskResult {
    /// The file is here.
    Done,
    /// It could not be fetched, for this reason.
    Failed(String),
    /// The daemon stopped; that says nothing of the file.
    Interrupted,
}

/// Whether it has ended, and how; times are seconds since 1970 UTC. A stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskEnd {
    /// Not yet.
    Running,
    /// The file is here.
    Done {
        /// Since when.
        at: u64,
    },
    /// It could not be fetched.
    Failed {
        /// When that was seen.
        at: u64,
        /// Why.
        error: String,
    },
    /// The daemon stopped meanwhile.
    Interrupted {
        /// When that was seen.
        at: u64,
    },
}

/// One attempt to fetch a file. A stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTask {
    /// Why it was begun.
    pub kind: TaskKind,
    /// The file's folder.
    pub folder: FolderName,
    /// Its name there.
    pub name: FileName,
    /// Where it is fetched.
    pub url: OriginUrl,
    /// When it was begun, in seconds since 1970 UTC.
    pub started_at: u64,
    /// The file's length, where it is known.
    pub size: Option<u64>,
    /// Bytes that had come when it ended.
    pub received: u64,
    /// Whether it has ended, and how.
    pub end: TaskEnd,
}

impl DownloadTask {
    /// Whether it goes on.
    pub fn is_running(&self) -> bool {
        self.end == TaskEnd::Running
    }

    /// It has ended at `at`, with so many bytes.
    pub fn on_end(&mut self, result: &TaskResult, received: u64, at: u64) {
        self.received = received;
        self.end = match result {
            TaskResult::Done => TaskEnd::Done { at },
            TaskResult::Failed(error) => TaskEnd::Failed { at, error: error.clone() },
            TaskResult::Interrupted => TaskEnd::Interrupted { at },
        };
    }
}

impl TaskResult {
    /// A failure whose reason comes from elsewhere: control characters and what is beyond
    /// [`MAX_ERROR_BYTES`] are left out.
    pub fn failed(reason: &str) -> Self {
        let mut text = String::new();
        for c in reason.chars().filter(|c| !c.is_control()) {
            if text.len() + c.len_utf8() > MAX_ERROR_BYTES {
                break;
            }
            text.push(c);
        }
        Self::Failed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_from_elsewhere_is_short_and_plain() {
        assert_eq!(TaskResult::failed("no\x1b[2J\nmore"), TaskResult::Failed("no[2Jmore".to_owned()));
        let TaskResult::Failed(text) = TaskResult::failed(&"é".repeat(400)) else { panic!() };
        assert_eq!(text.len(), MAX_ERROR_BYTES);
    }
}
