//! A file that the main fetched enters its folder: verified bytes in staging take their name, then the
//! index names them.
//!
//! Order of events: the bytes are synced, renamed, and the directory is synced; the row comes last. After
//! a power cut in between the file lies under its name, and is adopted like one that anybody put there.

use super::{error::RepositoryError, find::holds, open::Repository};
use crate::{
    catalog::HoldingRecord,
    domain::{
        file::FileRecord,
        member::Role,
        name::{FileName, FolderName},
    },
    store::staging::Staged,
};

impl Repository {
    /// Gives staged bytes their name and signs what they are. Only on a main. A file that is held stays, and
    /// the staged one is dropped; one that lies there and is held by nobody goes to the trash. Bytes that
    /// can't be synced are dropped. Blocks while the disk syncs.
    pub fn enter(
        &self,
        folder: &FolderName,
        name: &FileName,
        staged: &Staged,
        file: FileRecord,
    ) -> Result<(), RepositoryError> {
        if self.role != Role::Main {
            return Err(RepositoryError::NotMain);
        }
        let open = self.folder(folder)?;
        let discard = || open.staging.discard(staged).map_err(RepositoryError::io("discarding", name));
        let known = self.state.index.read()?.holding(folder, name)?;
        if let Some(holding) = &known
            && open.stat_file(name)?.is_some_and(|stat| holds(&stat, holding))
        {
            return discard();
        }
        if let Err(source) = open.staging.sync_staged(&[staged]) {
            discard()?;
            return Err(RepositoryError::Unsynced { folder: folder.clone(), source });
        }
        if known.is_some() {
            // Of a file that went or was edited: the row goes first, then the bytes.
            self.state.index.write(|batch| batch.files.remove_holding(folder, name).map(drop))?;
        }
        let stat = self.publish_staged(open, staged, name, false)?;
        let synced = open.staging.sync_published([name]);
        synced.map_err(RepositoryError::io("syncing directories of", folder))?;
        let FileRecord { root, size, .. } = file;
        let holding = HoldingRecord { root, size, modified_ns: stat.modified_ns, inode: stat.inode, listed: true };
        self.author(|changes| {
            changes.batch.files.put_holding(folder, name, &holding)?;
            changes.batch.files.set_missing(folder, name, None)?;
            changes.put_file(folder, name, &file)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, adopt, folder, immutable, indexed, is_held, name, rescan, root_of, seq};
    use super::*;
    use std::fs;

    fn enter(main: &Repository, file: &str, bytes: &[u8]) -> Result<(), RepositoryError> {
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
        enter(&main, &kb, b"kb").unwrap();
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
        let head = main.head().unwrap();
        enter(&main, &held, b"held").unwrap();
        assert_eq!((main.head().unwrap(), staged_files(&place)), (head, 0));
        place.write(&half, b"ha");
        enter(&main, &half, b"half").unwrap();
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
