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
                    changes.batch.files.put_holding(&file.folder, &file.name, &file.holding(true))?;
                    changes.batch.files.set_missing(&file.folder, &file.name, None)?;
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
                    batch.files.set_missing(&file.folder, &file.name, None)?;
                }
                batch.files.put_holding(&file.folder, &file.name, &file.holding(indexed.is_some()))?;
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
    let body = batch.entries.get(&Namespace::folder(&file.folder), file.name.as_str().as_bytes())?;
    let Some(value) = body.as_deref().and_then(Body::value_of) else { return Ok(None) };
    Ok(Some(FileRecord::decode(value)?))
}

/// Whether what was found is what the index names. Immutable names of one content may share one inode
/// and so one mtime.
pub(super) fn is_content_of(name: &FileName, indexed: &FileRecord, found: &FileRecord) -> bool {
    indexed.root == found.root && (name.is_immutable() || indexed.modified == found.modified)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        OLD, Place, adopt, fetch, folder, follow, immutable, indexed, is_held, is_listed, name, seq,
    };
    use super::*;
    use crate::{domain::state::SignedHead, repository::Examined};

    fn ready(repository: &Repository, text: &str) -> Adoptable {
        match repository.examine(&folder(), &name(text)).unwrap() {
            Examined::Ready(file) => file,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn entries_holdings_log_and_head_come_in_one_commit() {
        let place = Place::new();
        let main = place.main();
        let before = main.head().unwrap();
        ["a", "b", "c"].iter().for_each(|name| place.write(name, name.as_bytes()));
        adopt(&main, &["a", "b", "c"]).unwrap();
        let snapshot = main.state().index.read().unwrap();
        let stored = SignedHead::verify(&snapshot.head().unwrap().unwrap(), &main.line().unwrap()).unwrap();
        assert_eq!((stored.head().seq, stored.head().previous), (3, before.hash()));
        assert_eq!(main.head().unwrap(), stored);
        let logged: Vec<_> = snapshot.log_after(0, 10).unwrap().iter().map(|row| row.seq).collect();
        assert_eq!(logged, [1, 2, 3]);
        let totals = snapshot.totals(&folder()).unwrap();
        assert_eq!((totals.files, totals.held_files, totals.missing_files), (3, 3, 0));
        assert_eq!(main.state().accepted().unwrap().unwrap().seq, 3);
    }

    #[test]
    fn what_changed_since_it_was_examined_is_not_published() {
        let place = Place::new();
        let main = place.main();
        place.write("a", b"a");
        place.write("b", b"b");
        let files = [ready(&main, "a"), ready(&main, "b")];
        place.write_at("b", b"B", OLD + 9);
        assert_eq!(main.publish(&files).unwrap(), [name("b")]);
        assert!(is_held(&main, "a") && !is_held(&main, "b"));
        assert_eq!(indexed(&main, "b"), None);
    }

    #[test]
    fn an_equal_file_with_another_time_is_a_change_of_time_alone() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        place.write("f", b"same");
        adopt(&main, &["f"]).unwrap();
        follow(&main, &child).unwrap();
        fetch(&main, &child).unwrap();
        let root = indexed(&main, "f").unwrap().root;
        place.write_at("f", b"same", OLD + 60);
        adopt(&main, &["f"]).unwrap();
        let after = indexed(&main, "f").unwrap();
        assert_eq!((after.root, after.modified, seq(&main)), (root, OLD as i64 + 60, 2));
        follow(&main, &child).unwrap();
        assert_eq!(fetch(&main, &child).unwrap(), [""; 0]);
        assert_eq!(child.indexed(&folder(), &name("f")).unwrap(), Some(after));
        let stat = child.folder(&folder()).unwrap().stat_file(&name("f")).unwrap().unwrap();
        assert_eq!(stat.modified_ns, (OLD as i64 + 60) * 1_000_000_000);
    }

    #[test]
    fn publishing_what_the_index_says_already_is_no_change() {
        let place = Place::new();
        let main = place.main();
        place.write("f", b"f");
        adopt(&main, &["f"]).unwrap();
        let head = main.head().unwrap();
        std::fs::copy(place.path("f"), place.path("g")).unwrap();
        std::fs::rename(place.path("g"), place.path("f")).unwrap();
        place.write("f", b"f");
        adopt(&main, &["f"]).unwrap();
        assert_eq!(main.head().unwrap(), head);
        assert!(is_held(&main, "f"));
    }

    #[test]
    fn a_listed_file_with_another_inode_stays_listed_on_a_secondary() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        let kb = immutable("kb", b"kb");
        place.write(&kb, b"kb");
        adopt(&main, &[&kb]).unwrap();
        follow(&main, &child).unwrap();
        fetch(&main, &child).unwrap();
        std::fs::copy(below.path(&kb), below.path("copy")).unwrap();
        std::fs::rename(below.path("copy"), below.path(&kb)).unwrap();
        child.mend(&folder(), &name(&kb)).unwrap();
        assert!(is_listed(&child, &kb));
    }
}
