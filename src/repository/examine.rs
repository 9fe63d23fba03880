//! Files that other programs put into the folder: looked at where they lie, never copied or moved.

use super::{
    attention::Trouble,
    error::RepositoryError,
    find::{holds, is_absent},
    open::{Folder, Repository},
};
use crate::{
    catalog::HoldingRecord,
    domain::{
        digest::Root,
        file::FileRecord,
        name::{FileName, FolderName},
    },
    store::{
        disk::{DiskFile, Stat},
        hash::{Changed, Hashed, hash_file},
    },
};
use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// A mutable file is left alone until it was quiet for this long.
pub(super) const QUIET: Duration = Duration::from_secs(30);

/// A file that was read whole and is what its name promises.
#[derive(Debug, Clone)]
pub struct Adoptable {
    /// Its folder.
    pub folder: FolderName,
    /// Its name.
    pub name: FileName,
    /// What the index will say.
    pub record: FileRecord,
    pub(super) stamp: Stat,
}

/// What looking at a file found.
#[derive(Debug, Clone)]
pub enum Examined {
    /// It is the holding that is known.
    Unchanged,
    /// It may be published.
    Ready(Adoptable),
    /// It changed while it was read, or a program still writes it: look again later.
    Unsettled,
    /// Its content is not yet what its name promises; the next write will tell.
    Incomplete,
    /// No ordinary file has that name.
    Gone,
    /// It can't be read; listed with the reason.
    Unreadable,
}

impl Repository {
    /// Looks at a file of the tree, and hashes it if it is not the known holding. Blocks for as long
    /// as that takes.
    pub fn examine(&self, folder: &FolderName, name: &FileName) -> Result<Examined, RepositoryError> {
        let open = self.folder(folder)?;
        let file = match open.staging.open_file(name) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => {
                self.note_absent(open, name);
                return Ok(Examined::Gone);
            }
            Err(error) => {
                self.troubles.note(folder, name.as_str(), Trouble::Unreadable(error.to_string()));
                return Ok(Examined::Unreadable);
            }
        };
        let before = file.stat().map_err(RepositoryError::io("looking at", name))?;
        let holding = self.state.index.read()?.holding(folder, name)?;
        if holding.is_some_and(|holding| holds(&before, &holding)) {
            self.troubles.clear(folder, name);
            return Ok(Examined::Unchanged);
        }
        if is_restless(name, &before, self.clock.unix_ms()) {
            return Ok(Examined::Unsettled);
        }
        self.examine_content(open, name, &file, before)
    }

    fn examine_content(
        &self,
        folder: &Folder,
        name: &FileName,
        file: &Arc<dyn DiskFile>,
        before: Stat,
    ) -> Result<Examined, RepositoryError> {
        let hashed = match self.hash_with_outboard(folder, name, file.as_ref(), before.size) {
            Ok(hashed) => hashed,
            Err(Unhashed::Outboard(error)) => return Err(RepositoryError::io(KEEPING_TREE, name)(error)),
            Err(Unhashed::File(error)) if Changed::is(&error) => return Ok(Examined::Unsettled),
            Err(Unhashed::File(error)) => {
                self.troubles.note(&folder.name, name.as_str(), Trouble::Unreadable(error.to_string()));
                return Ok(Examined::Unreadable);
            }
        };
        let after = folder.staging.stat(name).ok();
        if after != Some(before) {
            return Ok(Examined::Unsettled);
        }
        if name.promised_sha1().is_some_and(|promised| hashed.sha1 != Some(promised)) {
            self.troubles.note(&folder.name, name.as_str(), Trouble::Incomplete);
            return Ok(Examined::Incomplete);
        }
        self.troubles.clear(&folder.name, name);
        let modified = before.modified_ns.div_euclid(1_000_000_000);
        Ok(Examined::Ready(Adoptable {
            folder: folder.name.clone(),
            name: name.clone(),
            record: FileRecord { root: hashed.root, size: before.size, modified },
            stamp: before,
        }))
    }

    fn hash_with_outboard(
        &self,
        folder: &Folder,
        name: &FileName,
        file: &dyn DiskFile,
        size: u64,
    ) -> Result<Hashed, Unhashed> {
        let want_sha1 = name.promised_sha1().is_some();
        let mut told = 0;
        let mut on_progress = |so_far: u64| {
            folder.progress.done_bytes.fetch_add(so_far.saturating_sub(told), Relaxed);
            told = so_far;
        };
        let outboards = &self.state.outboards;
        let Some(new) = outboards.begin(size).map_err(Unhashed::Outboard)? else {
            return hash_file(file, size, want_sha1, None, &mut on_progress).map_err(Unhashed::File);
        };
        match hash_file(file, size, want_sha1, Some(new.file()), &mut on_progress) {
            Ok(hashed) => outboards.adopt(new, hashed.root).map(|()| hashed).map_err(Unhashed::Outboard),
            Err(error) => {
                // Reading and writing fail alike: whether the tree can be written is tried once more.
                let is_outboard = !Changed::is(&error) && new.file().write_all_at(&[0], 0).is_err();
                outboards.discard(new).map_err(Unhashed::Outboard)?;
                Err(if is_outboard { Unhashed::Outboard(error) } else { Unhashed::File(error) })
            }
        }
    }
}

/// What was tried when a file's hash tree was to be kept.
const KEEPING_TREE: &str = "keeping the hash tree of";

/// Why a file was not hashed.
enum Unhashed {
    /// It can't be read.
    File(io::Error),
    /// The state folder takes no hash tree: no fault of the file, which is looked at again.
    Outboard(io::Error),
}

/// Whether a mutable file was written so lately that it may be written still.
fn is_restless(name: &FileName, stat: &Stat, now_ms: u64) -> bool {
    let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
    let quiet_ms = now_ms.saturating_sub(stat.modified_ns.div_euclid(1_000_000));
    !name.is_immutable() && (0..QUIET.as_millis() as i64).contains(&quiet_ms)
}

impl Adoptable {
    pub(super) fn holding(&self, listed: bool) -> HoldingRecord {
        HoldingRecord {
            root: self.record.root,
            size: self.record.size,
            modified_ns: self.stamp.modified_ns,
            inode: self.stamp.inode,
            listed,
        }
    }

    /// The content that was found.
    pub fn root(&self) -> Root {
        self.record.root
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, OLD, Place, adopt, folder, immutable, indexed, is_held, is_missing, name, seq};
    use super::*;
    use std::fs;

    fn examine(repository: &Repository, text: &str) -> Examined {
        repository.examine(&folder(), &name(text)).unwrap()
    }

    #[test]
    fn a_file_is_adopted_where_it_lies_and_then_unchanged() {
        let place = Place::new();
        let main = place.main();
        place.write("wsusscn2.cab", b"catalogue");
        let before = main.folder(&folder()).unwrap().stat_file(&name("wsusscn2.cab")).unwrap();
        adopt(&main, &["wsusscn2.cab"]).unwrap();
        assert_eq!(main.folder(&folder()).unwrap().stat_file(&name("wsusscn2.cab")).unwrap(), before);
        assert!(matches!(examine(&main, "wsusscn2.cab"), Examined::Unchanged));
        let file = FileRecord { root: blake3::hash(b"catalogue").into(), size: 9, modified: OLD as i64 };
        assert_eq!(indexed(&main, "wsusscn2.cab"), Some(file));
    }

    #[test]
    fn an_immutable_file_is_incomplete_until_the_right_bytes_are_there() {
        let place = Place::new();
        let main = place.main();
        let kb = immutable("kb", b"whole");
        place.write(&kb, b"who");
        assert!(matches!(examine(&main, &kb), Examined::Incomplete));
        assert_eq!(main.troubles.listed(&folder()), [(kb.clone(), Trouble::Incomplete)]);
        place.write(&kb, b"whole");
        adopt(&main, &[&kb]).unwrap();
        assert_eq!(main.troubles.listed(&folder()), []);
        assert!(is_held(&main, &kb));
    }

    #[test]
    fn a_held_file_that_is_spoilt_is_named_by_the_index_and_held_no_longer() {
        let place = Place::new();
        let main = place.main();
        let kb = immutable("kb", b"whole");
        place.write(&kb, b"whole");
        adopt(&main, &[&kb]).unwrap();
        place.write(&kb, b"spoilt");
        main.withhold(&folder(), &name(&kb)).unwrap();
        assert!(!is_held(&main, &kb) && is_missing(&main, &kb) && indexed(&main, &kb).is_some());
        assert_eq!(seq(&main), 1);
    }

    #[test]
    fn a_mutable_file_that_was_written_a_moment_ago_is_unsettled() {
        let place = Place::new();
        let main = place.main();
        place.write_at("f", b"x", NOW - 29);
        assert!(matches!(examine(&main, "f"), Examined::Unsettled));
        place.clock.set(NOW + 1);
        assert!(matches!(examine(&main, "f"), Examined::Ready(_)));
        place.write_at("f", b"x", NOW + 1_000);
        assert!(matches!(examine(&main, "f"), Examined::Ready(_)), "a time to come says nothing");
    }

    #[test]
    fn a_file_that_changes_while_it_is_hashed_is_unsettled() {
        let place = Place::new();
        let main = place.main();
        place.write("f", b"12345");
        let open = main.folder(&folder()).unwrap();
        let file = open.staging.open_file(&name("f")).unwrap();
        let before = file.stat().unwrap();
        place.write("f", b"1234");
        let shrunk = main.examine_content(open, &name("f"), &file, before).unwrap();
        assert!(matches!(shrunk, Examined::Unsettled));
        place.write_at("f", b"54321", OLD + 1);
        let rewritten = main.examine_content(open, &name("f"), &file, before).unwrap();
        assert!(matches!(rewritten, Examined::Unsettled));
        fs::remove_file(place.path("f")).unwrap();
        let before = file.stat().unwrap();
        assert!(matches!(main.examine_content(open, &name("f"), &file, before).unwrap(), Examined::Unsettled));
    }

    #[test]
    fn links_and_directories_are_no_files() {
        let place = Place::new();
        let main = place.main();
        fs::create_dir(place.path("d")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", place.path("l")).unwrap();
        for absent in ["d", "l", "none", "none/below"] {
            assert!(matches!(examine(&main, absent), Examined::Gone), "{absent}");
        }
    }
}
