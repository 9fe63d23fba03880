//! A secondary's tree belongs to the index: what was edited, deleted or added by hand is put right.

use super::{
    adopt::{Adoptable, Examined},
    error::RepositoryError,
    find::is_absent,
    open::Repository,
};
use crate::domain::{
    file::FileRecord,
    name::{FileName, FolderName},
    state::{Body, Namespace},
};

impl Repository {
    /// Looks at one file of a secondary and brings the rows in step with it: a deleted or edited one
    /// becomes missing and is fetched again (the edited bytes go to the trash), an extra one is kept,
    /// served and called unlisted. Blocks; may hash the file.
    pub fn mend(&self, folder: &FolderName, name: &FileName) -> Result<Examined, RepositoryError> {
        drop(self.writer()); // an arrival is renamed and committed under this lock: see it whole
        let examined = self.examine(folder, name)?;
        match &examined {
            Examined::Gone | Examined::Incomplete => self.lose(folder, name, &examined)?,
            Examined::Ready(found) => self.settle_found(found)?,
            Examined::Unchanged | Examined::Unsettled | Examined::Unreadable => {}
        }
        Ok(examined)
    }

    fn settle_found(&self, found: &Adoptable) -> Result<(), RepositoryError> {
        match self.indexed(&found.folder, &found.name)? {
            Some(file) if file.root != found.root() => {
                tracing::warn!(folder = %found.folder, name = %found.name, "a file was edited here; it is fetched again");
                self.lose(&found.folder, &found.name, &Examined::Ready(found.clone()))
            }
            Some(file) if file.modified != found.record.modified => {
                self.forget_holding(&found.folder, &found.name, Some(&file))
            }
            _ => self.publish(std::slice::from_ref(found)),
        }
    }

    /// The row goes first, then the bytes.
    fn lose(&self, folder: &FolderName, name: &FileName, examined: &Examined) -> Result<(), RepositoryError> {
        let indexed = self.indexed(folder, name)?;
        if indexed.is_none() && !matches!(examined, Examined::Gone) {
            return Ok(());
        }
        self.forget_holding(folder, name, indexed.as_ref())?;
        match self.folder(folder)?.staging.trash(name, self.clock.unix_seconds()) {
            Err(error) if !is_absent(&error) => Err(RepositoryError::io("moving to the trash", name)(error)),
            _ => Ok(()),
        }
    }

    fn forget_holding(
        &self,
        folder: &FolderName,
        name: &FileName,
        indexed: Option<&FileRecord>,
    ) -> Result<(), RepositoryError> {
        let writer = self.writer();
        self.state.index.write(|batch| {
            batch.remove_holding(folder, name)?;
            let missing = indexed.map(|file| (*file).into());
            Ok::<_, RepositoryError>(batch.set_missing(folder, name, missing.as_ref())?)
        })?;
        drop(writer);
        self.note_change();
        Ok(())
    }

    /// What the index says of a file.
    pub fn indexed(&self, folder: &FolderName, name: &FileName) -> Result<Option<FileRecord>, RepositoryError> {
        let body = self.state.index.read()?.entry(&Namespace::folder(folder), name.as_str().as_bytes())?;
        let Some(value) = body.as_deref().and_then(Body::value_of) else { return Ok(None) };
        Ok(Some(FileRecord::decode(value)?))
    }
}
