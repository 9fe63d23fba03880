//! What members report as damaged is read again here: a bad copy must be found before it is asked for
//! a second time. A report is only a hint, and a cheap one to make: one file is read at a time, and none
//! twice within ten minutes.

use crate::{
    base::tasks,
    domain::{
        digest::Root,
        member::Role,
        name::{FileName, FolderName},
    },
    repository::{Alarm, Blob, Repository, RepositoryError},
    store::verified::{outboard_is_whole, verify},
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

/// Reads again what members could not verify.
pub(super) struct DamageDesk {
    shared: Arc<Shared>,
    reading: Semaphore,
    read_at: Mutex<BTreeMap<Root, Instant>>,
}

/// What a reading found.
enum Found {
    Whole,
    /// The hash tree was bad; it is made again.
    Tree,
    Damaged(Vec<(FolderName, FileName)>),
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
            Ok(Ok(Found::Whole)) => tracing::info!(root = %bad.root, "the file is whole here"),
            Ok(Ok(Found::Tree)) => {
                tracing::warn!(root = %bad.root, "the file's hash tree was damaged; it is made again")
            }
            Ok(Ok(Found::Damaged(names))) => names.iter().for_each(|(folder, name)| self.on_damaged(folder, name)),
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

    fn on_damaged(&self, folder: &FolderName, name: &FileName) {
        let (what, cure) = match self.shared.repository.role() {
            Role::Main => ("is damaged on this disk", "put a good copy in its place; nobody takes the damaged one"),
            Role::Secondary => ("was damaged on this disk; it is fetched again", "look at the disk's health"),
        };
        let alarm = Alarm::ContentDamaged(folder.clone(), name.clone());
        self.shared.repository.attention.raise(alarm, format!("{folder}/{name} {what}"), cure);
    }
}

fn read_again(repository: &Repository, root: &Root) -> Result<Found, RepositoryError> {
    let Some(blob) = repository.open_blob(root)? else { return Ok(Found::Whole) };
    if is_whole(&blob, root)? {
        let names = repository.state().index.read()?.holders(root, 8)?;
        names.iter().for_each(|(folder, name)| {
            repository.attention.clear(&Alarm::ContentDamaged(folder.clone(), name.clone()));
        });
        return mend_tree(repository, &blob, root);
    }
    let names = repository.state().index.read()?.holders(root, 8)?;
    if repository.role() == Role::Secondary {
        names.iter().try_for_each(|(folder, name)| fetch_again(repository, folder, name))?;
    }
    Ok(Found::Damaged(names))
}

fn is_whole(blob: &Blob, root: &Root) -> Result<bool, RepositoryError> {
    let bad = verify(&*blob.data, blob.outboard.as_deref(), *root, blob.size);
    bad.map(|bad| bad.is_empty()).map_err(|source| reading(root, source))
}

fn mend_tree(repository: &Repository, blob: &Blob, root: &Root) -> Result<Found, RepositoryError> {
    let Some(outboard) = &blob.outboard else { return Ok(Found::Whole) };
    if outboard_is_whole(&**outboard, *root, blob.size).map_err(|source| reading(root, source))? {
        return Ok(Found::Whole);
    }
    repository.state().outboards.remove(*root).map_err(|source| reading(root, source))?;
    Ok(Found::Tree)
}

/// Away with the bad bytes; the rows follow as if somebody had deleted the file.
fn fetch_again(repository: &Repository, folder: &FolderName, name: &FileName) -> Result<(), RepositoryError> {
    let trashed = repository.staging(folder)?.trash(name, repository.clock().unix_seconds());
    trashed.map_err(|source| RepositoryError::Io { doing: "moving to the trash", what: name.to_string(), source })?;
    repository.mend(folder, name).map(drop)
}

fn reading(root: &Root, source: std::io::Error) -> RepositoryError {
    RepositoryError::Io { doing: "reading again", what: root.to_string(), source }
}
