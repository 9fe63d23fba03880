//! `scrub`: a pass over every file begins when the one before is old enough. Reading goes on by itself, at its own
//! pace ([`Scrub`]).

use super::{
    job::{Job, JobFailed},
    name::JobName,
};
use crate::{
    base::future::BoxFuture,
    policy::due::{self, Last, Next},
    repository::{Repository, RepositoryError, Scrub},
};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// A daily timer has so long to begin a pass, in seconds, before the daemon does.
const PATIENCE: i64 = 25 * 3_600;

/// Begins passes.
pub struct BeginScrub {
    repository: Arc<Repository>,
    scrub: Arc<Scrub>,
}

impl BeginScrub {
    /// Begins none yet.
    pub fn new(repository: Arc<Repository>, scrub: Arc<Scrub>) -> Self {
        Self { repository, scrub }
    }
}

impl Job for BeginScrub {
    fn name(&self) -> JobName {
        JobName::Scrub
    }

    fn next(&self, _: Option<Last>, now: i64, _: &TimeZone) -> Result<Option<Next>, RepositoryError> {
        let begins_at = self.scrub.begins_at()?.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
        Ok(begins_at.map(|at| match at == now {
            true => Next::at(now, due::FIRST),
            false => Next { late: at.saturating_add(PATIENCE), ..Next::at(at, due::PERIOD) },
        }))
    }

    fn run(&self) -> BoxFuture<'_, Result<String, JobFailed>> {
        Box::pin(async {
            let pass = |repository: &Repository| Ok(repository.state().index.read()?.scrub()?);
            let pass = self.repository.apart("the passes over every file", pass).await?;
            if pass.is_some_and(|pass| pass.ended_at.is_none()) {
                return Ok("a pass is under way".to_owned());
            }
            self.scrub.begin_quiet_pass().await;
            Ok("a pass has begun".to_owned())
        })
    }
}
