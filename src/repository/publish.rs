//! Files that were examined enter the rows: bytes durable first, then one commit for all of them.

use super::{
    error::RepositoryError,
    examine::Adoptable,
    open::{Folder, Repository},
};
use crate::{
    catalog::Batch,
    domain::{
        file::FileRecord,
        member::Role,
        name::FileName,
        state::{Body, Namespace},
    },
};

impl Repository {
    /// Takes files that were examined into the rows: on a main signed into the index; on a secondary
    /// as a holding if the index names that content, else as an extra. Their bytes are made durable
    /// first. Answers with the names that changed since they were examined: they are to be looked at again.
    pub fn publish(&self, ready: &[Adoptable]) -> Result<Vec<FileName>, RepositoryError> {
        for (folder, open) in &self.folders {
            let names: Vec<_> = ready.iter().filter(|file| file.folder == *folder).map(|file| &file.name).collect();
            if !names.is_empty() {
                open.staging.sync_in_place(&names).map_err(RepositoryError::io("syncing files of", folder))?;
            }
        }
        let (same, changed): (Vec<_>, Vec<_>) = ready.iter().partition(|file| self.is_as_examined(file));
        match self.role {
            _ if same.is_empty() => {}
            Role::Main => self.author(|changes| {
                same.iter().try_for_each(|file| {
                    changes.batch.put_holding(&file.folder, &file.name, &file.holding(true))?;
                    changes.batch.set_missing(&file.folder, &file.name, None)?;
                    changes.put_file(&file.folder, &file.name, &file.record)
                })
            })?,
            Role::Secondary => self.hold(&same)?,
        }
        self.clear_withheld(&same)?;
        Ok(changed.into_iter().map(|file| file.name.clone()).collect())
    }

    fn is_as_examined(&self, file: &Adoptable) -> bool {
        let open = self.folders.get(&file.folder);
        open.and_then(|open| open.staging.stat(&file.name).ok()) == Some(file.stamp)
    }

    fn hold(&self, found: &[&Adoptable]) -> Result<(), RepositoryError> {
        let writer = self.writer();
        self.state.index.write(|batch| {
            found.iter().try_for_each(|file| {
                let indexed = file_in(batch, file)?;
                let current = indexed.is_some_and(|indexed| is_content_of(&file.name, &indexed, &file.record));
                if current {
                    batch.set_missing(&file.folder, &file.name, None)?;
                }
                batch.put_holding(&file.folder, &file.name, &file.holding(indexed.is_some()))?;
                Ok::<_, RepositoryError>(())
            })
        })?;
        drop(writer);
        self.note_change();
        Ok(())
    }

    fn clear_withheld(&self, published: &[&Adoptable]) -> Result<(), RepositoryError> {
        let touched = |open: &&Folder| published.iter().any(|file| file.folder == open.name);
        self.folders.values().filter(touched).try_for_each(|open| self.clear_withheld_of(open))
    }
}

fn file_in(batch: &Batch<'_>, file: &Adoptable) -> Result<Option<FileRecord>, RepositoryError> {
    let body = batch.entry(&Namespace::folder(&file.folder), file.name.as_str().as_bytes())?;
    let Some(value) = body.as_deref().and_then(Body::value_of) else { return Ok(None) };
    Ok(Some(FileRecord::decode(value)?))
}

/// Whether what was found is what the index names. Immutable names of one content may share one inode
/// and so one mtime.
pub(super) fn is_content_of(name: &FileName, indexed: &FileRecord, found: &FileRecord) -> bool {
    indexed.root == found.root && (name.is_immutable() || indexed.modified == found.modified)
}
