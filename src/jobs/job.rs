//! What the registry asks of a job.

use super::name::JobName;
use crate::{
    base::{chain::chain, future::BoxFuture},
    policy::due::{Last, Next},
    repository::RepositoryError,
};
use jiff::tz::TimeZone;

/// Something that runs now and then. It takes no input, and once more does no harm: its next run is its retry.
pub trait Job: Send + Sync {
    /// Which one.
    fn name(&self) -> JobName;

    /// When it is due after `last`, asked at `now` (seconds since 1970 UTC) in `zone`; `None` if only when somebody
    /// wants it. Decided in `policy`; may block, as it may read rows.
    fn next(&self, last: Option<Last>, now: i64, zone: &TimeZone) -> Result<Option<Next>, RepositoryError>;

    /// Runs it, and says in a few words what came of it.
    fn run(&self) -> BoxFuture<'_, Result<String, JobFailed>>;
}

/// Why a run failed, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JobFailed(pub String);

impl From<RepositoryError> for JobFailed {
    fn from(error: RepositoryError) -> Self {
        Self(chain(&error))
    }
}
