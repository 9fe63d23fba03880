//! Files that hosts of a secondary asked for while they could not be had: kept, to be asked for later.

use super::{error::RepositoryError, open::Repository};
use crate::{
    catalog::{AskRecord, FilePlace},
    domain::name::{FileName, FolderName},
    store::download::DownloadKey,
};
use std::collections::BTreeSet;

impl Repository {
    /// A host asked for a file that can't be had.
    pub fn note_ask(&self, folder: &FolderName, name: &FileName) -> Result<(), RepositoryError> {
        Ok(self.state.ledger.note_ask(folder, name, self.clock.unix_seconds())?)
    }

    /// At most `most` files that were asked for in vain, those first that were asked for first.
    pub fn asks(&self, most: usize) -> Result<Vec<(FilePlace, AskRecord)>, RepositoryError> {
        Ok(self.state.ledger.asks(most)?)
    }

    /// What is remembered of one file that was asked for in vain.
    pub fn ask_of(&self, folder: &FolderName, name: &FileName) -> Result<Option<AskRecord>, RepositoryError> {
        Ok(self.state.ledger.ask_of(folder, name)?)
    }

    /// Forgets files that nobody asked for at `since` (seconds since 1970 UTC) or later; answers with how many.
    pub fn forget_asks(&self, since: u64) -> Result<u64, RepositoryError> {
        Ok(self.state.ledger.forget_asks(since)?)
    }

    /// Removes what arrived of files that neither fly nor are to be asked for again.
    pub fn sweep_unasked(&self, flying: &BTreeSet<FilePlace>) -> Result<(), RepositoryError> {
        let mut wanted = flying.clone();
        wanted.extend(self.asks(usize::MAX)?.into_iter().map(|(place, _)| place));
        self.folders.values().try_for_each(|open| {
            let here = wanted.iter().filter(|(folder, _)| *folder == open.name);
            let keys: BTreeSet<_> = here.map(|(_, name)| DownloadKey::of(name)).collect();
            let swept = open.staging.downloads().sweep(&|key| keys.contains(&key));
            swept.map_err(RepositoryError::io("sweeping downloads of", &open.name))
        })
    }

    /// A file that was asked for in vain is here, or nobody knows it.
    pub fn drop_ask(&self, folder: &FolderName, name: &FileName) -> Result<(), RepositoryError> {
        Ok(self.state.ledger.drop_ask(folder, name)?)
    }
}
