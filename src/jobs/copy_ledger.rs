//! `copy-ledger`: once a night rows that have served their time leave the ledger, and it is copied beside itself. What
//! can't be rebuilt survives its own file.

use super::{
    job::{Job, JobFailed},
    name::JobName,
};
use crate::{
    base::future::BoxFuture,
    policy::{
        due::{self, Last, Next},
        upkeep::plan_upkeep,
    },
    repository::{Alarm, Repository, RepositoryError},
};
use jiff::{civil::Time, tz::TimeZone};
use std::{fmt, sync::Arc};

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
            let work = move |repository: &Repository| {
                let forgotten = forget(repository)?;
                repository.state().copy_ledger().map_err(failed)?;
                Ok(forgotten)
            };
            match self.repository.apart("the ledger", work).await {
                Ok(forgotten) => {
                    self.repository.attention.clear(&Alarm::Failing(DOING));
                    Ok(forgotten.to_string())
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

/// What left the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Forgotten {
    asks: u64,
    waiting: u64,
}

impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("copied")?;
        if self.asks > 0 {
            write!(f, "; {} files that nobody asks for any more are forgotten", self.asks)?;
        }
        if self.waiting > 0 {
            write!(f, "; {} hosts that nobody approved are forgotten", self.waiting)?;
        }
        Ok(())
    }
}

fn forget(repository: &Repository) -> Result<Forgotten, RepositoryError> {
    let plan = plan_upkeep(repository.clock().unix_seconds());
    Ok(Forgotten { asks: repository.forget_asks(plan.asks_before)?, waiting: repository.forget_waiting_hosts()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::host::{BodyEncoding, HostEnvelope, HostUuid, waiting::ReportedFrom},
        repository::testing::{NOW, Place, folder, name},
    };

    #[tokio::test]
    async fn what_nobody_asks_for_and_whom_nobody_approves_is_forgotten_after_thirty_days() {
        let place = Place::new();
        let repository = Arc::new(place.secondary());
        let job = CopyLedger::new(repository.clone());
        repository.note_ask(&folder(), &name("old")).unwrap();
        let uuid = HostUuid::new("pc1").unwrap();
        let report = HostEnvelope::sign(uuid, 1, &[1; 32], BodyEncoding::Plain, None, Vec::new());
        repository.admit_host(&report, ReportedFrom::Unknown).unwrap();
        place.clock.set(NOW + 86_400);
        repository.note_ask(&folder(), &name("new")).unwrap();
        place.clock.set(NOW + 30 * 86_400 - 1);
        assert_eq!(job.run().await.unwrap(), "copied");
        place.clock.set(NOW + 30 * 86_400 + 1);
        let said = job.run().await.unwrap();
        assert!(said.contains("1 files") && said.contains("1 hosts"), "{said}");
        let asks = repository.asks(9).unwrap();
        assert_eq!(asks.into_iter().map(|(place, _)| place).collect::<Vec<_>>(), [(folder(), name("new"))]);
        assert!(repository.state().ledger.host_keys().unwrap().is_empty());
        assert_eq!(job.run().await.unwrap(), "copied");
    }
}
