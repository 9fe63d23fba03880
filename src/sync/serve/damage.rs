//! What members report as damaged is read again here: a bad copy must be found before it is asked for
//! a second time. A report is only a hint, and a cheap one to make: one file is read at a time, and none
//! twice within ten minutes.

use crate::{
    base::tasks,
    domain::digest::Root,
    repository::{Repository, RepositoryError, Scrubbed},
    sync::{
        frames::BadGroup,
        shared::{Shared, lock},
    },
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// A file that was just found whole, or was reported, is not read again before this.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Files whose last reading is remembered; while they are this many, no other is read.
const MAX_REMEMBERED: usize = 1_024;
/// Names of one content that are read for one report.
const MAX_NAMES: usize = 8;

/// Reads again what members could not verify.
pub(super) struct DamageDesk {
    shared: Arc<Shared>,
    reading: Semaphore,
    read_at: Mutex<BTreeMap<Root, Instant>>,
}

impl DamageDesk {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, reading: Semaphore::new(1), read_at: Mutex::default() }
    }

    /// A member got bytes that do not verify. While another file is read the report is dropped: the
    /// member asks again, and reports again.
    pub(super) async fn on_report(&self, member: &str, bad: BadGroup) {
        let Ok(_reading) = self.reading.try_acquire() else { return };
        if !self.is_due(bad.root, self.shared.clock().monotonic()) {
            return;
        }
        tracing::warn!(member, root = %bad.root, offset = bad.offset, "a member could not verify a file; it is read again");
        let repository = self.shared.repository.clone();
        let read = tasks::blocking(move || read_again(&repository, &bad.root)).await;
        match read {
            Ok(Ok(0)) => tracing::info!(root = %bad.root, "the file is whole here"),
            // Each damaged file has its alarm.
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(root = %bad.root, error = &error as &dyn std::error::Error, "a doubtful file can't be read");
            }
            Err(error) => tracing::debug!(%error, "reading a doubtful file was cut short"),
        }
    }

    fn is_due(&self, root: Root, now: Instant) -> bool {
        let mut read_at = lock(&self.read_at);
        read_at.retain(|_, at| now.saturating_duration_since(*at) < AGAIN_AFTER);
        if read_at.len() >= MAX_REMEMBERED || read_at.contains_key(&root) {
            return false;
        }
        read_at.insert(root, now);
        true
    }
}

/// Reads every file of a content; answers with how many are damaged. Those are out of service from then on.
fn read_again(repository: &Repository, root: &Root) -> Result<usize, RepositoryError> {
    let mut damaged = 0;
    for (folder, name) in repository.state().index.read()?.holders(root, MAX_NAMES)? {
        let read = repository.scrub_file(&folder, &name, &mut |_| true)?;
        damaged += usize::from(matches!(read, Scrubbed::Damaged { .. }));
    }
    Ok(damaged)
}
