//! `pull`: the parent is asked for its head, although it tells of every change as it happens.

use super::{
    job::{Job, JobFailed},
    name::JobName,
};
use crate::{
    base::future::BoxFuture,
    policy::due::{self, Last, Next},
    repository::RepositoryError,
    sync::shared::Shared,
};
use jiff::tz::TimeZone;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Notify, time::timeout};

/// For the parent's answer, and for what leads to its head.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the parent.
pub struct Pull {
    shared: Arc<Shared>,
    every: Duration,
    wake: Arc<Notify>,
}

impl Pull {
    /// Asks every so often; `wake` has a parent that is away tried at once.
    pub fn new(shared: Arc<Shared>, every: Duration, wake: Arc<Notify>) -> Self {
        Self { shared, every, wake }
    }

    async fn ask(&self) -> Result<String, JobFailed> {
        if !self.has_joined() {
            return Err(JobFailed("this secondary has not joined a line; run `wuasync join TOKEN`".to_owned()));
        }
        let before = self.seq();
        self.wake.notify_one();
        if timeout(PATIENCE, self.shared.ask_parent()).await.is_err() {
            let parent = self.shared.parent();
            let why = parent.last_error.unwrap_or_else(|| "no answer yet".to_owned());
            return Err(JobFailed(format!("the parent {} does not answer: {why}", parent.address)));
        }
        let after = self.seq();
        Ok(if after == before { "nothing is new".to_owned() } else { format!("change {after} is here") })
    }

    fn has_joined(&self) -> bool {
        !self.shared.parent().address.is_empty()
    }

    fn seq(&self) -> u64 {
        self.shared.repository.head().map_or(0, |head| head.head().seq)
    }
}

impl Job for Pull {
    fn name(&self) -> JobName {
        JobName::Pull
    }

    fn next(&self, last: Option<Last>, now: i64, _: &TimeZone) -> Result<Option<Next>, RepositoryError> {
        Ok(self.has_joined().then(|| due::every(self.every, last, now)))
    }

    fn run(&self) -> BoxFuture<'_, Result<String, JobFailed>> {
        Box::pin(self.ask())
    }
}
