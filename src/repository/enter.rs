//! A file that the main fetched enters its folder: verified bytes in staging take their name, then the
//! index names them.
//!
//! Order of events: the bytes are synced, renamed, and the directory is synced; the row comes last. After
//! a power cut in between the file lies under its name, and is adopted like one that anybody put there.

use super::{
    error::RepositoryError,
    find::holds,
    open::{Folder, Repository},
};
use crate::{
    catalog::HoldingRecord,
    domain::{
        file::FileRecord,
        member::Role,
        name::{FileName, FolderName},
    },
    store::{disk::Replace, staging::Staged},
};
use std::io;

/// What has become of a file that was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// It is held, and the index names it.
    Yes,
    /// Another copy was held before it came; this one was dropped.
    HeldBefore,
}

impl Repository {
    /// Gives staged bytes their name and signs what they are. Only on a main. A file that is held stays; one that
    /// lies there and is held by nobody goes to the trash. Blocks while the disk syncs.
    pub fn enter(
        &self,
        folder: &FolderName,
        name: &FileName,
        staged: &Staged,
        file: FileRecord,
    ) -> Result<Entered, RepositoryError> {
        if self.role != Role::Main {
            return Err(RepositoryError::NotMain);
        }
        let open = self.folder(folder)?;
        if self.is_held_now(open, name)? {
            open.staging.discard(staged).map_err(RepositoryError::io("discarding", name))?;
            return Ok(Entered::HeldBefore);
        }
        let unsynced = |source| RepositoryError::Unsynced { folder: folder.clone(), source };
        open.staging.sync_staged(&[staged]).map_err(unsynced)?;
        let publish = || open.staging.publish(staged, name, Replace::No);
        let published = match publish() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                open.staging.trash(name, self.clock.unix_seconds()).and_then(|_| publish())
            }
            other => other,
        };
        let stat = published.map_err(RepositoryError::io("publishing", name))?;
        let synced = open.staging.sync_published([name]);
        synced.map_err(RepositoryError::io("syncing directories of", folder))?;
        let FileRecord { root, size, .. } = file;
        let holding = HoldingRecord { root, size, modified_ns: stat.modified_ns, inode: stat.inode, listed: true };
        self.author(|changes| {
            changes.batch.put_holding(folder, name, &holding)?;
            changes.batch.set_missing(folder, name, None)?;
            changes.put_file(folder, name, &file)
        })?;
        Ok(Entered::Yes)
    }

    fn is_held_now(&self, open: &Folder, name: &FileName) -> Result<bool, RepositoryError> {
        let Some(holding) = self.state.index.read()?.holding(&open.name, name)? else { return Ok(false) };
        Ok(open.stat_file(name)?.is_some_and(|stat| holds(&stat, &holding)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, adopt, folder, immutable, indexed, is_held, name, rescan, root_of, seq};
    use super::*;
    use std::fs;

    fn enter(main: &Repository, file: &str, bytes: &[u8]) -> Result<Entered, RepositoryError> {
        let modified = 1_600_000_000;
        let staged = main.staging(&folder()).unwrap().stage_bytes(bytes, modified).unwrap();
        main.enter(
            &folder(),
            &name(file),
            &staged,
            FileRecord { root: root_of(bytes), size: bytes.len() as u64, modified },
        )
    }

    fn staged_files(place: &Place) -> usize {
        fs::read_dir(place.stage("incoming")).unwrap().count()
    }

    #[test]
    fn a_fetched_file_is_held_and_signed_and_a_scan_finds_nothing_new() {
        let place = Place::new();
        let main = place.main();
        let kb = immutable("kb", b"kb");
        assert_eq!(enter(&main, &kb, b"kb").unwrap(), Entered::Yes);
        assert!(is_held(&main, &kb));
        let file = FileRecord { root: root_of(b"kb"), size: 2, modified: 1_600_000_000 };
        assert_eq!((indexed(&main, &kb), seq(&main)), (Some(file), 1));
        rescan(&main);
        assert_eq!((place.read(&kb).unwrap(), seq(&main)), (b"kb".to_vec(), 1));
    }

    #[test]
    fn what_is_held_stays_and_what_merely_lies_there_goes_to_the_trash() {
        let place = Place::new();
        let main = place.main();
        let (held, half) = (immutable("held", b"held"), immutable("half", b"half"));
        place.write(&held, b"held");
        adopt(&main, &[&held]).unwrap();
        assert_eq!(enter(&main, &held, b"held").unwrap(), Entered::HeldBefore);
        place.write(&half, b"ha");
        assert_eq!(enter(&main, &half, b"half").unwrap(), Entered::Yes);
        assert_eq!((place.read(&half).unwrap(), staged_files(&place)), (b"half".to_vec(), 0));
        assert!(is_held(&main, &held) && is_held(&main, &half));
    }

    #[test]
    fn a_secondary_signs_nothing() {
        let place = Place::new();
        let child = place.secondary();
        assert!(matches!(enter(&child, "f", b"f"), Err(RepositoryError::NotMain)));
        assert!(!is_held(&child, "f"));
    }
}
