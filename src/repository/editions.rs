//! What the published edition of Microsoft's index tells, for whoever fetches or looks.

use super::{error::RepositoryError, open::Repository};
use crate::{
    base::read_at::ReadAt,
    catalog::{CatalogError, EditionRecord, RefreshRecord, WithdrawnRecord},
    domain::{
        digest::{Root, Sha1},
        edition::{EditionFile, EditionUpdate, FileChange, Kb, UpdateChange},
        guid::Guid,
        name::{FileName, FolderName},
        update::UpdateId,
        wants::FileClaim,
    },
    store::{hash::hash_file, kept::KeptFile, staging::Staged},
};
use std::{io, ops::ControlFlow, sync::Arc};

/// What had a name before, and is kept.
pub struct Kept {
    /// As what it can take its name again.
    pub staged: Staged,
    /// Its bytes.
    pub bytes: Arc<dyn ReadAt>,
    /// Their length.
    pub size: u64,
    /// Its mtime, seconds since 1970 UTC.
    pub modified: i64,
}

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

    /// The updates of an article after one, by id.
    pub fn updates_of_kb(&self, kb: Kb, after: Option<UpdateId>) -> Result<Vec<EditionUpdate>, RepositoryError> {
        Ok(self.state.editions.updates_of_kb(kb, after)?)
    }

    /// Tells the updates after one, those of one UpdateID or all, by id, until `each` breaks.
    pub fn each_update(
        &self,
        of: Option<Guid>,
        after: Option<UpdateId>,
        each: impl FnMut(EditionUpdate) -> Result<ControlFlow<()>, CatalogError>,
    ) -> Result<(), RepositoryError> {
        Ok(self.state.editions.each_update(of, after, each)?)
    }

    /// The edition that was published before.
    pub fn previous_edition(&self) -> Result<Option<EditionRecord>, RepositoryError> {
        Ok(self.state.editions.previous()?)
    }

    /// What is known of the edition before is what is known from here on; `false` if nothing is.
    pub fn go_back_to_previous_edition(&self) -> Result<bool, RepositoryError> {
        Ok(self.state.editions.change_places()?)
    }

    /// Tells what the edition has otherwise than the one before, by UpdateID and after one, until `each` breaks.
    pub fn each_changed_update(
        &self,
        after: Option<Guid>,
        each: &mut dyn FnMut(UpdateChange) -> ControlFlow<()>,
    ) -> Result<(), RepositoryError> {
        Ok(self.state.editions.each_changed_update(after, each)?)
    }

    /// Tells which files the edition has otherwise than the one before, by SHA-1 and after one, until `each` breaks.
    pub fn each_changed_file(
        &self,
        after: Option<Sha1>,
        each: &mut dyn FnMut(FileChange) -> ControlFlow<()>,
    ) -> Result<(), RepositoryError> {
        Ok(self.state.editions.each_changed_file(after, each)?)
    }

    /// What is kept of a name.
    pub fn kept(&self, folder: &FolderName, name: &FileName) -> Result<Option<Kept>, RepositoryError> {
        let kept =
            self.folder(folder)?.staging.kept(name).map_err(RepositoryError::io("opening what is kept of", name))?;
        Ok(kept.map(|KeptFile { staged, file, stat }| Kept {
            staged,
            bytes: file,
            size: stat.size,
            modified: stat.modified_ns.div_euclid(1_000_000_000),
        }))
    }

    /// The digests of what is kept. Reads all of it.
    pub fn digests_of_kept(&self, kept: &Kept) -> Result<(Root, Sha1), RepositoryError> {
        let hashed = hash_file(&*kept.bytes, kept.size, true, None, &mut |_| {});
        let digests = hashed.and_then(|hashed| Ok((hashed.root, hashed.sha1.ok_or(io::ErrorKind::InvalidData)?)));
        digests.map_err(RepositoryError::io("hashing", &kept.staged.path))
    }

    /// The edition that a person took back, while Microsoft may have it still.
    pub fn withdrawn_edition(&self) -> Result<Option<WithdrawnRecord>, RepositoryError> {
        Ok(self.state.ledger.withdrawn()?)
    }

    /// An edition is taken back, or none any longer.
    pub fn set_withdrawn_edition(&self, withdrawn: Option<&WithdrawnRecord>) -> Result<(), RepositoryError> {
        Ok(self.state.ledger.set_withdrawn(withdrawn)?)
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
