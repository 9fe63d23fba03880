//! What is served under a name.

use super::{
    attention::{Trouble, lock},
    error::RepositoryError,
    open::Repository,
};
use crate::{
    base::read_at::ReadAt,
    catalog::HoldingRecord,
    domain::{
        digest::Root,
        file::FileRecord,
        member::Role,
        name::{FileName, FolderName},
        state::{Body, Namespace},
    },
    store::disk::{DiskFile, Kind, Stat},
};
use rustix::io::Errno;
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

/// Most faults that are remembered between two looks.
const MAX_FAULTS: usize = 10_000;
/// Looks at a name that changes together with others meanwhile: a change takes longer than a look.
const MAX_TURNS: usize = 4;

/// What this repository has under a name.
pub enum Found {
    /// A whole file. Its root is unknown only while a main adopts its folder for the first time.
    Held {
        /// The open file.
        file: Arc<dyn ReadAt>,
        /// Its length in bytes.
        size: u64,
        /// Its mtime, seconds since 1970 UTC.
        modified: i64,
        /// Its content.
        root: Option<Root>,
    },
    /// On a secondary: the index names it with this content, and it is not here.
    Missing(FileRecord),
    /// Not yet: still being written by another program, or being looked at again.
    NotYet,
    /// No such file.
    Unknown,
}

impl Repository {
    /// Looks up a file that was found before, and never waits for a disk: `None` where it would have to, and for
    /// everything else than a holding whose file is what it was; then [`Repository::find`] tells.
    pub fn find_at_once(&self, folder: &FolderName, name: &FileName) -> Option<Found> {
        let open = self.folders.get(folder)?;
        if self.pair_of_sidecar(folder, name).is_some() {
            // What it is answered for depends on more than its own row.
            return None;
        }
        let holding = open.asked_rows.get(self.state.index.writes(), name)?;
        let file = open.staging.open_file_at_once(name)?.ok()?;
        let stat = file.stat().ok()?;
        holds(&stat, &holding).then(|| held(file, &holding))
    }

    /// Looks a name up. Blocks for one or two system calls. Files that change together are answered as they were
    /// until all of them are there.
    pub fn find(&self, folder: &FolderName, name: &FileName) -> Result<Found, RepositoryError> {
        for _ in 0..MAX_TURNS {
            let turns = self.frozen.turns();
            if let Some(found) = self.frozen.of(folder, name) {
                return Ok(found);
            }
            let found = self.find_in_tree(folder, name)?;
            if !matches!(found, Found::NotYet) || self.frozen.turns() == turns {
                return Ok(found);
            }
        }
        Ok(Found::NotYet)
    }

    fn find_in_tree(&self, folder: &FolderName, name: &FileName) -> Result<Found, RepositoryError> {
        let Some(open) = self.folders.get(folder) else { return Ok(Found::Unknown) };
        let writes = self.state.index.writes();
        let snapshot = self.state.index.read()?;
        let holding = snapshot.holding(folder, name)?;
        let file = match open.staging.open_file(name) {
            Ok(file) => Some(file),
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(RepositoryError::io("opening", name)(error)),
        };
        if let (Some(file), Some(holding)) = (&file, &holding)
            && holds(&stat(file.as_ref(), name)?, holding)
        {
            if self.is_anothers_sidecar(folder, name, holding.root)? {
                return Ok(Found::NotYet);
            }
            open.asked_rows.remember(writes, name, *holding);
            return Ok(held(file.clone(), holding));
        }
        if holding.is_some() {
            self.note_fault(folder, name);
            return Ok(Found::NotYet);
        }
        let body = snapshot.entry(&Namespace::folder(folder), name.as_str().as_bytes())?;
        if let Some(value) = body.as_deref().and_then(Body::value_of) {
            let file = FileRecord::decode(value).ok().filter(|_| self.role == Role::Secondary);
            return Ok(file.map_or(Found::NotYet, Found::Missing));
        }
        match (self.role, file) {
            (Role::Main, Some(file)) if open.adopted.load(Ordering::Acquire) => {
                stat(file.as_ref(), name).map(|_| Found::NotYet)
            }
            (Role::Main, Some(_)) if self.troubles.of(folder, name.as_str()) == Some(Trouble::Incomplete) => {
                Ok(Found::NotYet)
            }
            (Role::Main, Some(file)) => {
                let stat = stat(file.as_ref(), name)?;
                let modified = stat.modified_ns.div_euclid(1_000_000_000);
                Ok(Found::Held { file, size: stat.size, modified, root: None })
            }
            _ => Ok(Found::Unknown),
        }
    }

    /// Remembers that a holding does not match its file, for whoever tends the folder. Beyond 10,000 it
    /// is left to the next scan.
    pub(super) fn note_fault(&self, folder: &FolderName, name: &FileName) {
        let mut faults = lock(&self.faults);
        let new = faults.len() < MAX_FAULTS && faults.insert((folder.clone(), name.clone()));
        drop(faults);
        if new {
            self.note_change();
        }
    }

    /// The faults of a folder noted since the last call.
    pub(super) fn take_faults(&self, folder: &FolderName) -> Vec<FileName> {
        lock(&self.faults).extract_if(.., |(of, _)| of == folder).map(|(_, name)| name).collect()
    }
}

impl Repository {
    /// The length of an ordinary file on disk, whatever the rows say of it.
    pub fn size_on_disk(&self, folder: &FolderName, name: &FileName) -> Option<u64> {
        let stat = self.folders.get(folder)?.staging.stat(name).ok()?;
        (stat.kind == Kind::File).then_some(stat.size)
    }
}

pub(super) fn held(file: Arc<dyn DiskFile>, holding: &HoldingRecord) -> Found {
    let modified = holding.modified_ns.div_euclid(1_000_000_000);
    Found::Held { file, size: holding.size, modified, root: Some(holding.root) }
}

/// Whether a file on disk is still the one that was verified.
pub(super) fn holds(stat: &Stat, holding: &HoldingRecord) -> bool {
    stat.kind == Kind::File
        && stat.size == holding.size
        && stat.modified_ns == holding.modified_ns
        && stat.inode == holding.inode
}

/// Whether an error means that there is no ordinary file of that name.
pub(super) fn is_absent(error: &io::Error) -> bool {
    let no_file = matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidInput
    );
    // A link in its place, and a socket.
    let odd = [Errno::LOOP, Errno::NXIO].map(Errno::raw_os_error);
    no_file || error.raw_os_error().is_some_and(|code| odd.contains(&code))
}

fn stat(file: &dyn DiskFile, name: &FileName) -> Result<Stat, RepositoryError> {
    file.stat().map_err(RepositoryError::io("looking at", name))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        OLD, Place, adopt, bytes_of, fetch, folder, follow, immutable, is_held, name, rescan, root_of,
    };
    use super::*;
    use crate::repository::Examined;
    use std::fs;

    fn find(repository: &Repository, text: &str) -> Found {
        repository.find(&folder(), &name(text)).unwrap()
    }

    fn is_not_yet(repository: &Repository, text: &str) -> bool {
        matches!(find(repository, text), Found::NotYet)
    }

    fn is_unknown(repository: &Repository, text: &str) -> bool {
        matches!(find(repository, text), Found::Unknown)
    }

    #[test]
    fn a_main_serves_from_the_first_second_and_knows_the_root_once_hashed() {
        let place = Place::new();
        let main = place.main();
        place.write("f", b"bytes");
        let Found::Held { file, size, modified, root } = find(&main, "f") else { panic!() };
        assert_eq!((bytes_of(&*file, size), modified, root), (b"bytes".to_vec(), OLD as i64, None));
        rescan(&main);
        let Found::Held { root, .. } = find(&main, "f") else { panic!() };
        assert_eq!(root, Some(root_of(b"bytes")));
    }

    #[test]
    fn after_the_adoption_a_new_file_is_served_only_once_it_is_known() {
        let place = Place::new();
        let main = place.main();
        rescan(&main);
        place.write("f", b"bytes");
        assert!(is_not_yet(&main, "f") && is_unknown(&main, "g"));
        adopt(&main, &["f"]).unwrap();
        assert!(matches!(find(&main, "f"), Found::Held { .. }));
    }

    #[test]
    fn a_file_that_is_known_to_be_incomplete_is_not_served_during_the_adoption() {
        let place = Place::new();
        let main = place.main();
        let kb = immutable("kb", b"whole");
        place.write(&kb, b"half");
        assert!(matches!(main.examine(&folder(), &name(&kb)).unwrap(), Examined::Incomplete));
        assert!(is_not_yet(&main, &kb));
    }

    #[test]
    fn a_file_that_changed_under_us_is_a_fault_and_not_served() {
        let place = Place::new();
        let main = place.main();
        place.write("f", b"bytes");
        rescan(&main);
        place.write_at("f", b"BYTES", OLD + 1);
        assert!(is_not_yet(&main, "f"));
        assert_eq!(main.take_faults(&folder()), [name("f")]);
        fs::remove_file(place.path("f")).unwrap();
        assert!(is_not_yet(&main, "f"));
        assert_eq!(main.take_faults(&folder()), [name("f")]);
        assert_eq!(main.take_faults(&folder()), []);
    }

    #[test]
    fn what_the_index_names_is_on_its_way_and_the_rest_is_unknown() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        place.write("f", b"bytes");
        adopt(&main, &["f"]).unwrap();
        follow(&main, &child).unwrap();
        below.write("stranger", b"s");
        let Found::Missing(file) = find(&child, "f") else { panic!() };
        assert_eq!((file.root, file.size), (root_of(b"bytes"), 5));
        assert!(is_unknown(&child, "g") && is_unknown(&child, "stranger"));
        fetch(&main, &child).unwrap();
        assert!(matches!(find(&child, "f"), Found::Held { .. }));
        let other = FolderName::new("other").unwrap();
        assert!(matches!(child.find(&other, &name("f")).unwrap(), Found::Unknown));
    }

    #[test]
    fn a_link_is_no_file() {
        let place = Place::new();
        let main = place.main();
        std::os::unix::fs::symlink("/etc/passwd", place.path("l")).unwrap();
        assert!(is_unknown(&main, "l"));
        place.write("f", b"f");
        rescan(&main);
        fs::remove_file(place.path("f")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", place.path("f")).unwrap();
        assert!(is_not_yet(&main, "f"));
        assert_eq!(rescan(&main), 1);
        assert!(!is_held(&main, "f"));
    }

    fn found_at_once(repository: &Repository, text: &str) -> Option<(Vec<u8>, Option<Root>)> {
        match repository.find_at_once(&folder(), &name(text))? {
            Found::Held { file, size, root, .. } => Some((bytes_of(&*file, size), root)),
            _ => panic!("only what is held is found at once"),
        }
    }

    #[test]
    fn what_was_found_is_found_at_once_until_its_file_or_any_row_changes() {
        let place = Place::new();
        let main = place.main();
        place.write("f", b"bytes");
        place.write("d/g", b"other");
        rescan(&main);
        assert_eq!(found_at_once(&main, "f"), None);
        for (file, bytes) in [("f", b"bytes"), ("d/g", b"other")] {
            assert!(matches!(find(&main, file), Found::Held { .. }));
            assert_eq!(found_at_once(&main, file), Some((bytes.to_vec(), Some(root_of(bytes)))));
        }

        // Edited in place, and put back.
        place.write_at("f", b"BYTES", OLD + 1);
        assert_eq!(found_at_once(&main, "f"), None);
        place.write("f", b"bytes");
        assert!(found_at_once(&main, "f").is_some());
        // Replaced by a file of the same length and time.
        place.write("new", b"BYTES");
        fs::rename(place.path("new"), place.path("f")).unwrap();
        assert_eq!(found_at_once(&main, "f"), None);
        // Gone, with its directory, and a link in its place.
        fs::rename(place.path("d"), place.path("e")).unwrap();
        assert_eq!(found_at_once(&main, "d/g"), None);
        std::os::unix::fs::symlink("e", place.path("d")).unwrap();
        assert_eq!(found_at_once(&main, "d/g"), None);
    }

    #[test]
    fn a_file_that_was_found_bad_is_found_no_more_from_the_commit_on() {
        let place = Place::new();
        let main = place.main();
        place.write("f", b"bytes");
        rescan(&main);
        find(&main, "f");
        assert!(found_at_once(&main, "f").is_some());
        // The row goes first: the file still lies there.
        main.state.index.write(|batch| batch.files.remove_holding(&folder(), &name("f"))).unwrap();
        assert_eq!(found_at_once(&main, "f"), None);
        assert!(!matches!(find(&main, "f"), Found::Held { root: Some(_), .. }));
        assert_eq!(found_at_once(&main, "f"), None);
    }

    #[test]
    fn faults_are_bounded() {
        let main = Place::new().main();
        (0..MAX_FAULTS + 5).for_each(|n| main.note_fault(&folder(), &name(&format!("f{n}"))));
        assert_eq!(main.take_faults(&folder()).len(), MAX_FAULTS);
    }
}
