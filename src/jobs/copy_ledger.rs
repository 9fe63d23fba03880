//! `copy-ledger`: once a night the ledger is copied beside itself. What can't be rebuilt survives its own file.

use super::{
    job::{Job, JobFailed},
    name::JobName,
};
use crate::{
    base::future::BoxFuture,
    policy::due::{self, Last, Next},
    repository::{Alarm, Repository, RepositoryError},
};
use jiff::{civil::Time, tz::TimeZone};
use std::sync::Arc;

/// From this wall time on, the copy of the day is due.
const FROM: Time = Time::constant(2, 30, 0, 0);
const DOING: &str = "copying the ledger";

/// Copies the ledger.
pub struct CopyLedger {
    repository: Arc<Repository>,
}

impl CopyLedger {
    /// Copies nothing yet.
    pub fn new(repository: Arc<Repository>) -> Self {
        Self { repository }
    }
}

impl Job for CopyLedger {
    fn name(&self) -> JobName {
        JobName::CopyLedger
    }

    fn next(&self, last: Option<Last>, now: i64, zone: &TimeZone) -> Result<Option<Next>, RepositoryError> {
        Ok(Some(due::daily(FROM, last, now, zone)))
    }

    fn run(&self) -> BoxFuture<'_, Result<String, JobFailed>> {
        Box::pin(async {
            let failed = RepositoryError::io(DOING, "in the state folder");
            let copy = move |repository: &Repository| repository.state().copy_ledger().map_err(failed);
            match self.repository.apart("the ledger", copy).await {
                Ok(()) => {
                    self.repository.attention.clear(&Alarm::Failing(DOING));
                    Ok("copied".to_owned())
                }
                Err(error) => {
                    let what = format!("{DOING} failed: {error}");
                    let cure = "make room on the disk of the state folder";
                    self.repository.attention.raise(Alarm::Failing(DOING), what, cure);
                    Err(error.into())
                }
            }
        })
    }
}
