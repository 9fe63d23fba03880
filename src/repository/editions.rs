//! What the published edition of Microsoft's index tells, for whoever fetches or looks.

use super::{error::RepositoryError, open::Repository};
use crate::{
    catalog::{EditionRecord, RefreshRecord},
    domain::{
        edition::{EditionFile, EditionUpdate, Kb},
        name::FileName,
        update::UpdateId,
        wants::FileClaim,
    },
};

impl Repository {
    /// The edition whose updates and files are known.
    pub fn edition(&self) -> Result<Option<EditionRecord>, RepositoryError> {
        Ok(self.state.editions.current()?)
    }

    /// Another edition's updates and files are known from here on.
    pub fn put_edition(
        &self,
        edition: &EditionRecord,
        updates: impl Iterator<Item = EditionUpdate>,
        files: impl Iterator<Item = EditionFile>,
    ) -> Result<(), RepositoryError> {
        Ok(self.state.editions.put(edition, updates, files)?)
    }

    /// What the edition claims of the file behind the last part of an address; none if it has no such file.
    pub fn edition_claim(&self, name: &FileName) -> Result<Option<FileClaim>, RepositoryError> {
        let Some(EditionFile { sha1, size, sha256, url: Some(url) }) = self.state.editions.file_of_name(name)? else {
            return Ok(None);
        };
        let claim = FileClaim { size, sha1: Some(sha1), sha256, ..FileClaim::of_url(url) };
        Ok(claim.checked().ok())
    }

    /// An update of the edition.
    pub fn edition_update(&self, id: UpdateId) -> Result<Option<EditionUpdate>, RepositoryError> {
        Ok(self.state.editions.update(id)?)
    }

    /// The updates of an article.
    pub fn updates_of_kb(&self, kb: Kb) -> Result<Vec<EditionUpdate>, RepositoryError> {
        Ok(self.state.editions.updates_of_kb(kb)?)
    }

    /// At most `most` updates that `is_meant`, by id.
    pub fn updates_that(
        &self,
        is_meant: impl Fn(&EditionUpdate) -> bool,
        most: usize,
    ) -> Result<Vec<EditionUpdate>, RepositoryError> {
        let mut found = Vec::new();
        self.state.editions.each_update(|update| {
            if is_meant(&update) {
                found.push(update);
            }
            found.len() < most
        })?;
        Ok(found)
    }

    /// Writes down an attempt to refresh the edition.
    pub fn put_refresh(&self, record: &RefreshRecord) -> Result<(), RepositoryError> {
        Ok(self.state.ledger.put_refresh(record)?)
    }

    /// The last `most` attempts to refresh the edition, newest first.
    pub fn last_refreshes(&self, most: usize) -> Result<Vec<RefreshRecord>, RepositoryError> {
        Ok(self.state.ledger.last_refreshes(most)?)
    }
}
