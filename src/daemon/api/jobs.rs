//! What runs when.

use serde::{Deserialize, Serialize};

/// GET: [`JobsReport`]. POST [`RunJobRequest`] to `/{name}` below it: [`RunJobReply`], when the run is over.
pub const JOBS: &str = "/api/v1/jobs";

/// Every job that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsReport {
    /// In the order in which they are shown.
    pub jobs: Vec<JobReport>,
}

/// How a job stands. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// As in `wuasync jobs run`.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Whether this node runs it.
    pub here: bool,
    /// Who begins it: `daemon`, or the name of a timer of systemd, behind which the daemon catches up.
    pub by: String,
    /// Whether it runs.
    pub is_running: bool,
    /// When it is begun next; `None` if only when somebody wants it.
    pub next_at: Option<u64>,
    /// Why then.
    pub why: Option<String>,
    /// Its last run.
    pub last: Option<JobRunReport>,
}

/// One run. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRunReport {
    /// When it began.
    pub started_at: u64,
    /// When it ended; `None` while it runs, and if it was cut short.
    pub finished_at: Option<u64>,
    /// What came of it, or why it failed.
    pub outcome: String,
    /// Whether it failed.
    pub failed: bool,
}

/// Runs a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunJobRequest {
    /// Only if it is due.
    pub due: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunJobReply {
    /// Which job.
    pub name: String,
    /// The run; `None` where it was not due, or this node does not run it.
    pub run: Option<JobRunReport>,
    /// Why there was none.
    pub why_not: Option<String>,
}
