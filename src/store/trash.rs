//! Removed files at rest: how they get there, and how they go for good.
//!
//! A file keeps its path beneath the second of its removal, so that an administrator finds it again.

use super::{
    disk::{Kind, Replace},
    layout,
    staging::{SYNC_ALL_FROM, Staging, parents},
};
use crate::domain::name::{FileName, MAX_COMPONENTS};
use std::{collections::BTreeSet, io};

/// Equal names that may be removed within one second: more than any job could want.
const MAX_ATTEMPTS: u32 = 1000;

/// What rests in trash, or was swept out of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many files.
    pub files: u64,
    /// Their lengths, in bytes; a file with a second name elsewhere frees nothing.
    pub bytes: u64,
}

impl Staging {
    /// Moves a file of the folder to trash; `now_unix` is in seconds since 1970 UTC. Answers with where it
    /// rests, relative to staging. The move is not synced: a power cut may undo it.
    pub fn trash(&self, name: &FileName, now_unix: u64) -> io::Result<String> {
        let from = self.folder_root().at(name.as_str());
        self.to_trash(name, now_unix, |path| self.disk().rename(from, self.stage_root().at(path), Replace::No))
    }

    /// Finds a path in the trash for which `go` succeeds.
    pub(super) fn to_trash(
        &self,
        name: &FileName,
        now_unix: u64,
        go: impl Fn(&str) -> io::Result<()>,
    ) -> io::Result<String> {
        // Asked first, so that a missing file leaves no directory behind.
        self.disk().stat(self.folder_root().at(name.as_str()))?;
        for attempt in 0..MAX_ATTEMPTS {
            let path = format!("{}/{name}", layout::trash(now_unix, attempt));
            let moved = self.make_resting_place(&path).and_then(|()| go(&path));
            match moved.map_err(|e| (e.kind(), e)) {
                Ok(()) => return Ok(path),
                // Another file has the name, or the name of a directory above it.
                Err((io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory, _)) => {}
                Err((_, e)) => return Err(e),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Makes it durable that files rest at these paths, and are gone from where they were.
    pub fn sync_trashed<'a>(&self, trashed: impl IntoIterator<Item = (&'a FileName, &'a str)>) -> io::Result<()> {
        let (mut rests, mut names) = (BTreeSet::new(), Vec::new());
        for (name, path) in trashed {
            rests.extend(path.rsplit_once('/').map(|(directory, _)| directory));
            names.push(name);
        }
        if rests.len() >= SYNC_ALL_FROM {
            return self.disk().sync_all(self.stage_root());
        }
        let sync = |directory: &&str| self.disk().sync_directory(self.stage_root().at(directory));
        rests.iter().try_for_each(sync)?;
        self.sync_removed(names)
    }

    /// Removes for good what was moved to trash before `older_than_unix` (seconds since 1970 UTC).
    pub fn sweep_trash(&self, older_than_unix: u64) -> io::Result<Swept> {
        let mut swept = Swept::default();
        for name in self.trash_directories()? {
            if layout::trashed_at(&name).is_some_and(|at| at < older_than_unix) {
                self.descend(&format!("{}/{name}", layout::TRASH), 0, true, &mut swept)?;
            }
        }
        Ok(swept)
    }

    /// Removes for good what was moved to trash before `older_than_unix`, the oldest first, until `bytes` are gone
    /// or nothing is left.
    pub fn free_trash(&self, older_than_unix: u64, bytes: u64) -> io::Result<Swept> {
        let mut swept = Swept::default();
        for name in self.trash_directories()? {
            if swept.bytes >= bytes {
                break;
            }
            if layout::trashed_at(&name).is_some_and(|at| at < older_than_unix) {
                self.descend(&format!("{}/{name}", layout::TRASH), 0, true, &mut swept)?;
            }
        }
        Ok(swept)
    }

    /// Brings a file back that was moved to trash at `since_unix` (seconds since 1970 UTC) or later, the first of
    /// them; `false` if none rests there, or another file has its name. Durable when it returns.
    pub fn untrash(&self, name: &FileName, since_unix: u64) -> io::Result<bool> {
        for directory in self.trash_directories()? {
            if layout::trashed_at(&directory).is_none_or(|at| at < since_unix) {
                continue;
            }
            let rest = format!("{}/{directory}/{name}", layout::TRASH);
            if !self.disk().stat(self.stage_root().at(&rest)).is_ok_and(|stat| stat.kind == Kind::File) {
                continue;
            }
            self.make_parents(self.folder_root(), name.as_str())?;
            let back =
                self.disk().rename(self.stage_root().at(&rest), self.folder_root().at(name.as_str()), Replace::No);
            return match back {
                Ok(()) => self.sync_published([name]).map(|()| true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            };
        }
        Ok(false)
    }

    /// How much rests in trash.
    pub fn trash_usage(&self) -> io::Result<Swept> {
        let mut usage = Swept::default();
        for name in self.trash_directories()? {
            self.descend(&format!("{}/{name}", layout::TRASH), 0, false, &mut usage)?;
        }
        Ok(usage)
    }

    /// The oldest first.
    fn trash_directories(&self) -> io::Result<Vec<String>> {
        let names = self.staged_names(layout::TRASH)?;
        let mut names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
        names.sort_by_key(|name| layout::trashed_at(name));
        Ok(names)
    }

    /// Counts, and if asked removes, everything beneath `directory`.
    fn descend(&self, directory: &str, depth: usize, remove: bool, counted: &mut Swept) -> io::Result<()> {
        // The second of removal, and the components of a name.
        if depth > MAX_COMPONENTS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "directories too deep"));
        }
        for (name, kind) in self.staged_names(directory)? {
            let path = format!("{directory}/{name}");
            if kind == Kind::Directory {
                self.descend(&path, depth + 1, remove, counted)?;
                continue;
            }
            counted.bytes += self.disk().stat(self.stage_root().at(&path))?.size;
            counted.files += 1;
            if remove {
                self.disk().remove(self.stage_root().at(&path))?;
            }
        }
        if remove { self.disk().remove_directory(self.stage_root().at(directory)) } else { Ok(()) }
    }

    /// Directories above `path` that are there are durable: a file that moved below one that a power cut
    /// takes would be lost.
    fn make_resting_place(&self, path: &str) -> io::Result<()> {
        for directory in parents(path) {
            let at = self.stage_root().at(directory);
            if self.disk().stat(at).is_err() {
                self.disk().make_directory(at)?;
                let above = directory.rsplit_once('/').map_or("", |(above, _)| above);
                self.disk().sync_directory(self.stage_root().at(above))?;
            }
        }
        Ok(())
    }

    /// Names of one directory in staging; names that are no text are nobody's of ours.
    fn staged_names(&self, directory: &str) -> io::Result<Vec<(String, Kind)>> {
        let mut names = Vec::new();
        self.disk().list(self.stage_root().at(directory), &mut |name, kind| {
            names.extend(std::str::from_utf8(name).ok().map(|name| (name.to_owned(), kind)));
        })?;
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::staging::tests::{name, place};
    use std::fs;

    #[test]
    fn a_removed_file_rests_under_its_second_and_path() {
        let place = place();
        fs::create_dir(place.folder("sub")).unwrap();
        fs::write(place.folder("sub/f"), "12345").unwrap();
        place.staging.trash(&name("sub/f"), 77).unwrap();
        assert!(!place.folder("sub/f").exists());
        assert_eq!(fs::read(place.stage("trash/77/sub/f")).unwrap(), b"12345");
        assert_eq!(place.staging.trash_usage().unwrap(), Swept { files: 1, bytes: 5 });
    }

    #[test]
    fn equal_names_of_one_second_do_not_replace_each_other() {
        let place = place();
        for content in ["1", "22", "333"] {
            fs::write(place.folder("f"), content).unwrap();
            place.staging.trash(&name("f"), 77).unwrap();
        }
        // A directory where a file rests.
        fs::create_dir(place.folder("f")).unwrap();
        fs::write(place.folder("f/g"), "4444").unwrap();
        place.staging.trash(&name("f/g"), 77).unwrap();
        assert_eq!(place.staging.trash_usage().unwrap(), Swept { files: 4, bytes: 10 });
    }

    #[test]
    fn only_what_is_older_goes_for_good() {
        let place = place();
        for (file, at) in [("a", 10), ("b", 20), ("c", 20), ("d", 21)] {
            fs::write(place.folder(file), "xx").unwrap();
            place.staging.trash(&name(file), at).unwrap();
        }
        assert_eq!(place.staging.sweep_trash(10).unwrap(), Swept::default());
        assert_eq!(place.staging.sweep_trash(21).unwrap(), Swept { files: 3, bytes: 6 });
        assert!(place.stage("trash/21/d").exists() && !place.stage("trash/20").exists());
    }

    #[test]
    fn room_is_made_with_what_went_first_and_no_more_than_is_asked_for() {
        let place = place();
        for (file, at) in [("a", 10), ("b", 20), ("c", 30), ("d", 40)] {
            fs::write(place.folder(file), "xx").unwrap();
            place.staging.trash(&name(file), at).unwrap();
        }
        assert_eq!(place.staging.free_trash(40, 0).unwrap(), Swept::default());
        assert_eq!(place.staging.free_trash(40, 3).unwrap(), Swept { files: 2, bytes: 4 });
        assert!(!place.stage("trash/20").exists() && place.stage("trash/30/c").exists());
        assert_eq!(place.staging.free_trash(40, 99).unwrap(), Swept { files: 1, bytes: 2 });
        assert!(place.stage("trash/40/d").exists());
    }

    #[test]
    fn a_file_comes_back_from_the_removal_that_is_undone_and_never_over_another() {
        let place = place();
        fs::create_dir(place.folder("sub")).unwrap();
        for (content, at) in [("old", 10), ("new", 20)] {
            fs::write(place.folder("sub/f"), content).unwrap();
            place.staging.trash(&name("sub/f"), at).unwrap();
        }
        fs::remove_dir(place.folder("sub")).unwrap();
        assert!(place.staging.untrash(&name("sub/f"), 15).unwrap());
        assert_eq!(fs::read(place.folder("sub/f")).unwrap(), b"new");
        assert!(!place.staging.untrash(&name("sub/f"), 5).unwrap());
        assert!(!place.staging.untrash(&name("other"), 5).unwrap());
        assert_eq!(fs::read(place.folder("sub/f")).unwrap(), b"new");
    }

    #[test]
    fn a_missing_file_is_an_error_and_leaves_no_directory() {
        let place = place();
        let missing = place.staging.trash(&name("gone"), 5).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(!place.stage("trash/5").exists());
    }

    #[test]
    fn the_deepest_name_can_be_swept() {
        let place = place();
        fs::create_dir_all(place.folder("1/2/3/4/5/6/7")).unwrap();
        fs::write(place.folder("1/2/3/4/5/6/7/8"), "x").unwrap();
        place.staging.trash(&name("1/2/3/4/5/6/7/8"), 5).unwrap();
        assert_eq!(place.staging.sweep_trash(6).unwrap(), Swept { files: 1, bytes: 1 });
    }
}
