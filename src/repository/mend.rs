//! A secondary's tree belongs to the index: what was edited, deleted or added by hand is put right.

use super::{
    error::RepositoryError,
    examine::{Adoptable, Examined},
    find::is_absent,
    open::{Folder, Repository, Writer},
    publish::is_content_of,
};
use crate::{
    domain::{
        file::FileRecord,
        name::{FileName, FolderName},
        state::{Body, Namespace},
    },
    store::disk::Stat,
};
use std::sync::MutexGuard;

impl Repository {
    /// Looks at one file of a secondary and brings the rows in step with it: a deleted or edited one
    /// becomes missing and is fetched again (the edited bytes go to the trash), an extra one is kept,
    /// served and called unlisted. Blocks; may hash the file.
    pub fn mend(&self, folder: &FolderName, name: &FileName) -> Result<Examined, RepositoryError> {
        drop(self.writer()); // an arrival is renamed and committed under this lock: see it whole
        let before = self.folder(folder)?.stat_file(name)?;
        let examined = self.examine(folder, name)?;
        let is_settled = match &examined {
            Examined::Gone => self.lose(folder, name, None)?,
            Examined::Incomplete if self.is_held(folder, name)? => self.lose(folder, name, before)?,
            Examined::Ready(found) => self.settle_found(found)?,
            _ => true,
        };
        Ok(if is_settled { examined } else { Examined::Unsettled })
    }

    /// A file that is not whole and was never held may be on its way by another program's hand.
    fn is_held(&self, folder: &FolderName, name: &FileName) -> Result<bool, RepositoryError> {
        Ok(self.state.index.read()?.holding(folder, name)?.is_some())
    }

    fn settle_found(&self, found: &Adoptable) -> Result<bool, RepositoryError> {
        match self.indexed(&found.folder, &found.name)? {
            Some(file) if file.root != found.root() => {
                tracing::warn!(folder = %found.folder, name = %found.name, "a file was edited here; it is fetched again");
                self.lose(&found.folder, &found.name, Some(found.stamp))
            }
            Some(file) if !is_content_of(&found.name, &file, &found.record) => {
                self.forget_holdings(&self.writer(), &found.folder, std::slice::from_ref(&found.name)).map(|()| true)
            }
            _ => Ok(self.publish(std::slice::from_ref(found))?.is_empty()),
        }
    }

    /// The row goes first, then the bytes that were seen; `false` if something else is there meanwhile.
    fn lose(&self, folder: &FolderName, name: &FileName, seen: Option<Stat>) -> Result<bool, RepositoryError> {
        let open = self.folder(folder)?;
        let writer = self.writer();
        if open.stat_file(name)? != seen {
            return Ok(false);
        }
        self.forget_holdings(&writer, folder, std::slice::from_ref(name))?;
        let Some(_) = seen else { return Ok(true) };
        match open.staging.trash(name, self.clock.unix_seconds()) {
            Err(error) if !is_absent(&error) => Err(RepositoryError::io("moving to the trash", name)(error)),
            _ => Ok(true),
        }
    }

    /// Every row of a secondary whose file is gone: what the index names is missing from here on.
    /// Answers with how many.
    pub(super) fn lose_all_gone(&self, folder: &FolderName) -> Result<u64, RepositoryError> {
        let open = self.folder(folder)?;
        let mut count = 0;
        self.each_gone(open, &mut |names| {
            count += self.forget_gone(open, names)?;
            Ok(())
        })?;
        Ok(count)
    }

    /// Forgets those that are gone under the writer's lock; answers with how many.
    fn forget_gone(&self, open: &Folder, names: &[FileName]) -> Result<u64, RepositoryError> {
        let writer = self.writer();
        let mut gone = Vec::with_capacity(names.len());
        for name in names {
            if open.stat_file(name)?.is_none() {
                gone.push(name.clone());
            }
        }
        self.forget_holdings(&writer, &open.name, &gone)?;
        Ok(gone.len() as u64)
    }

    /// Names of a secondary that may have been directories: what was beneath them and is gone is missing
    /// from here on, if the index names it.
    pub(super) fn lose_beneath(&self, folder: &FolderName, names: &[FileName]) -> Result<(), RepositoryError> {
        let open = self.folder(folder)?;
        for name in names {
            self.note_gone(open, name);
            self.each_gone_beneath(open, name, &mut |names| self.forget_gone(open, names).map(drop))?;
        }
        Ok(())
    }

    /// Under the writer's lock, so that no arrival is forgotten.
    fn forget_holdings(
        &self,
        _writer: &MutexGuard<'_, Writer>,
        folder: &FolderName,
        names: &[FileName],
    ) -> Result<(), RepositoryError> {
        self.state.index.write(|batch| {
            for name in names {
                batch.files.remove_holding(folder, name)?;
                let body = batch.entries.get(&Namespace::folder(folder), name.as_str().as_bytes())?;
                let value = body.as_deref().and_then(Body::value_of);
                let missing = value.map(FileRecord::decode).transpose()?.map(Into::into);
                batch.files.set_missing(folder, name, missing.as_ref())?;
            }
            Ok::<_, RepositoryError>(())
        })?;
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

#[cfg(test)]
mod tests {
    use super::super::testing::{
        NOW, OLD, Place, adopt, fetch, folder, follow, immutable, is_held, is_listed, is_missing, name, rescan,
    };
    use super::*;
    use std::fs;

    /// A main with these files and a secondary that has them all.
    fn pair(files: &[&str]) -> (Place, Repository, Place, Repository) {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        files.iter().for_each(|name| place.write(name, name.as_bytes()));
        adopt(&main, files).unwrap();
        follow(&main, &child).unwrap();
        fetch(&main, &child).unwrap();
        (place, main, below, child)
    }

    #[test]
    fn a_deleted_file_is_missing_and_comes_back() {
        let (_place, main, below, child) = pair(&["a", "b"]);
        fs::remove_file(below.path("a")).unwrap();
        child.mend(&folder(), &name("a")).unwrap();
        assert!(is_missing(&child, "a") && !is_held(&child, "a") && is_held(&child, "b"));
        assert_eq!(fetch(&main, &child).unwrap(), ["a"]);
        assert!(is_listed(&child, "a"));
    }

    #[test]
    fn an_edited_file_goes_to_the_trash_and_comes_back() {
        let (_place, main, below, child) = pair(&["a"]);
        below.write("a", b"edited");
        child.mend(&folder(), &name("a")).unwrap();
        assert!(is_missing(&child, "a"));
        assert_eq!((below.read("a"), below.trashed()), (None, vec![b"edited".to_vec()]));
        assert_eq!(fetch(&main, &child).unwrap(), ["a"]);
        assert_eq!(below.read("a").unwrap(), b"a");
    }

    #[test]
    fn an_edited_file_that_is_written_still_is_left_alone() {
        let (_place, _main, below, child) = pair(&["a"]);
        below.write_at("a", b"edited", NOW - 1);
        assert!(matches!(child.mend(&folder(), &name("a")).unwrap(), Examined::Unsettled));
        assert_eq!(below.read("a").unwrap(), b"edited");
    }

    #[test]
    fn a_touched_file_gets_its_time_back_without_transfer() {
        let (_place, main, below, child) = pair(&["a"]);
        below.write_at("a", b"a", OLD + 500);
        child.mend(&folder(), &name("a")).unwrap();
        assert_eq!(fetch(&main, &child).unwrap(), [""; 0]);
        assert!(is_listed(&child, "a") && below.trashed().is_empty());
        assert_eq!(rescan(&child), 0);
    }

    #[test]
    fn an_extra_file_is_kept_and_called_unlisted() {
        let (_place, _main, below, child) = pair(&["a"]);
        let incomplete = immutable("kb", b"whole");
        below.write("extra", b"extra");
        below.write(&incomplete, b"half");
        assert_eq!(rescan(&child), 0);
        assert!(is_held(&child, "extra") && !is_listed(&child, "extra") && !is_held(&child, &incomplete));
        assert!(below.read("extra").is_some() && below.read(&incomplete).is_some());
        fs::remove_file(below.path("extra")).unwrap();
        assert_eq!(rescan(&child), 1);
        assert!(!is_held(&child, "extra") && !is_missing(&child, "extra"));
    }

    #[test]
    fn a_scan_finds_all_that_is_gone() {
        let files: Vec<_> = (0..30).map(|n| format!("f{n}")).collect();
        let (_place, main, below, child) = pair(&files.iter().map(String::as_str).collect::<Vec<_>>());
        files.iter().for_each(|file| fs::remove_file(below.path(file)).unwrap());
        assert_eq!(rescan(&child), 30);
        assert_eq!(child.state.index.read().unwrap().totals(&folder()).unwrap().missing_files, 30);
        assert_eq!(fetch(&main, &child).unwrap().len(), 30);
    }

    #[test]
    fn what_arrived_meanwhile_is_not_lost() {
        let (_place, _main, _below, child) = pair(&["a"]);
        assert!(!child.lose(&folder(), &name("a"), None).unwrap());
        assert!(is_held(&child, "a"));
    }
}
