//! Looks at files on blocking threads, a bounded number at once over all folders.

use super::{attention::Alarm, examine::Examined, open::Repository};
use crate::{
    base::tasks,
    domain::{
        member::Role,
        name::{FileName, FolderName},
    },
};
use std::sync::Arc;
use tokio::sync::{
    Semaphore,
    mpsc::{self, OwnedPermit, Receiver, Sender},
};
use tokio_util::task::AbortOnDropHandle;

/// Names that wait for a hasher.
const QUEUE: usize = 1_024;
/// Batches of outcomes that wait to be taken.
const BATCHES: usize = 32;
/// Small files are looked at together: a hop to another thread costs more than hashing one of them.
const BATCH_FILES: usize = 64;
/// Bytes after which a batch is full.
const BATCH_BYTES: u64 = 1 << 20;

/// A file to be looked at.
pub(super) struct Work {
    pub(super) name: FileName,
    /// Its length in bytes, as far as known; a file of unknown length is looked at alone.
    pub(super) size: Option<u64>,
    /// Whether the running scan found it and waits for it.
    pub(super) scanned: bool,
}

/// A file that was looked at.
pub(super) struct Outcome {
    pub(super) work: Work,
    /// `None` if looking at it failed.
    pub(super) examined: Option<Examined>,
}

/// The two ends of a folder's hashing. Dropping it stops what has not begun.
pub(super) struct Hashing {
    pub(super) work: Sender<Work>,
    pub(super) outcomes: Receiver<Vec<Outcome>>,
    pub(super) task: AbortOnDropHandle<()>,
}

/// What a look needs.
#[derive(Clone)]
struct Looker {
    repository: Arc<Repository>,
    folder: FolderName,
}

pub(super) fn start(repository: Arc<Repository>, folder: FolderName, hashers: Arc<Semaphore>) -> Hashing {
    let (work, waiting) = mpsc::channel(QUEUE);
    let (done, outcomes) = mpsc::channel(BATCHES);
    let task = tokio::spawn(dispatch(Looker { repository, folder }, hashers, waiting, done));
    Hashing { work, outcomes, task: AbortOnDropHandle::new(task) }
}

/// Room for the outcome comes first, so that nothing piles up behind a slow commit.
async fn dispatch(looker: Looker, hashers: Arc<Semaphore>, mut waiting: Receiver<Work>, done: Sender<Vec<Outcome>>) {
    while let Some(first) = waiting.recv().await {
        let Ok(room) = done.clone().reserve_owned().await else { return };
        let Ok(permit) = hashers.clone().acquire_owned().await else { return };
        let batch = gather(first, &mut waiting);
        let looker = looker.clone();
        tokio::spawn(async move {
            look_apart(looker, batch, room).await;
            drop(permit);
        });
    }
}

/// Takes what waits behind `first` along, up to a batch.
fn gather(first: Work, waiting: &mut Receiver<Work>) -> Vec<Work> {
    let mut bytes = first.size.unwrap_or(BATCH_BYTES);
    let mut batch = vec![first];
    while batch.len() < BATCH_FILES && bytes < BATCH_BYTES {
        let Ok(work) = waiting.try_recv() else { break };
        bytes += work.size.unwrap_or(BATCH_BYTES);
        batch.push(work);
    }
    batch
}

async fn look_apart(looker: Looker, batch: Vec<Work>, room: OwnedPermit<Vec<Outcome>>) {
    let looked = tasks::blocking(move || {
        let look = |work: Work| Outcome { examined: looker.look(&work.name), work };
        batch.into_iter().map(look).collect()
    });
    room.send(looked.await.unwrap_or_default());
}

/// Stands while files can't be looked at for a reason that is not theirs.
const LOOKING: Alarm = Alarm::Failing("looking at files");

impl Looker {
    fn look(&self, name: &FileName) -> Option<Examined> {
        let examined = match self.repository.role() {
            Role::Main => self.repository.examine(&self.folder, name).and_then(|examined| {
                if matches!(examined, Examined::Incomplete) {
                    self.repository.withhold(&self.folder, name)?;
                }
                Ok(examined)
            }),
            Role::Secondary => self.repository.mend(&self.folder, name),
        };
        let attention = &self.repository.attention;
        match examined {
            Ok(examined) => {
                attention.clear(&LOOKING);
                Some(examined)
            }
            Err(error) => {
                let what = format!("{}/{name} can't be looked at: {error}", self.folder);
                attention.raise(LOOKING, what, "look at the log and at the disk; the file is looked at again");
                let error = &error as &dyn std::error::Error;
                tracing::error!(folder = %self.folder, %name, error, "looking at a file failed");
                None
            }
        }
    }
}
