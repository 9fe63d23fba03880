//! Files that change together are answered as they were until all of them are what they will be.
//!
//! Whoever changes several names freezes them first: hosts get the files that were held under them, already
//! open, whatever happens to names and rows meanwhile. Lasts as long as the guard.

use super::{
    attention::lock,
    error::RepositoryError,
    find::{Found, held, holds},
    open::Repository,
};
use crate::{
    catalog::HoldingRecord,
    domain::name::{FileName, FolderName},
    store::disk::DiskFile,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

type Files = BTreeMap<(FolderName, FileName), (Arc<dyn DiskFile>, HoldingRecord)>;

/// What is frozen.
#[derive(Default)]
pub(super) struct Frozen {
    files: Mutex<Files>,
    /// Grows when a freeze begins and when it ends.
    turns: AtomicU64,
}

impl Frozen {
    /// Of two equal counts, nothing was frozen or let go between them.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    /// The file that is answered under a frozen name.
    pub(super) fn of(&self, folder: &FolderName, name: &FileName) -> Option<Found> {
        let files = lock(&self.files);
        if files.is_empty() {
            return None;
        }
        let (file, holding) = files.get(&(folder.clone(), name.clone()))?;
        Some(held(file.clone(), holding))
    }
}

/// Names are frozen until this is dropped.
pub(super) struct Freeze<'a> {
    frozen: &'a Frozen,
    names: Vec<(FolderName, FileName)>,
}

impl Repository {
    /// Freezes names of a folder; one that holds nothing is left as it is.
    pub(super) fn freeze<'n>(
        &self,
        folder: &FolderName,
        names: impl Iterator<Item = &'n FileName>,
    ) -> Result<Freeze<'_>, RepositoryError> {
        let open = self.folder(folder)?;
        let snapshot = self.state.index.read()?;
        let mut files = Files::new();
        for name in names {
            let Some(holding) = snapshot.holding(folder, name)? else { continue };
            if self.is_anothers_sidecar(folder, name, holding.root)? {
                continue; // it was not answered before either
            }
            // What can't be opened can't be answered either.
            let Ok(file) = open.staging.open_file(name) else { continue };
            if file.stat().is_ok_and(|stat| holds(&stat, &holding)) {
                files.insert((folder.clone(), name.clone()), (file, holding));
            }
        }
        let names = files.keys().cloned().collect();
        lock(&self.frozen.files).append(&mut files);
        self.frozen.turns.fetch_add(1, Ordering::AcqRel);
        Ok(Freeze { frozen: &self.frozen, names })
    }
}

impl Drop for Freeze<'_> {
    fn drop(&mut self) {
        let mut files = lock(&self.frozen.files);
        self.names.iter().for_each(|name| _ = files.remove(name));
        self.frozen.turns.fetch_add(1, Ordering::AcqRel);
    }
}
