//! Files that are gone from a main's tree: signed as removed under the cap, withheld above it.
//!
//! A file that is withheld stays in the index with a row in `missing`, until it comes back or an
//! administrator accepts the deletions. In a folder that is another directory or disk than before,
//! rows rest as they are: when the right one is back, nothing has to be read again.

use super::{
    attention::Alarm,
    deletions::{DeletionPlan, plan_deletions},
    error::RepositoryError,
    open::{Folder, Repository, Writer},
};
use crate::domain::{
    file::FileRecord,
    name::{FileName, FolderName},
    state::{Body, Namespace},
};

/// Over how long deletions are counted against the cap, in seconds.
const DELETION_WINDOW: u64 = 3_600;
/// Files that leave in one commit.
const GROUP: usize = 1_000;
/// What to do about withheld deletions.
const ACCEPT: &str = "put the files back, or confirm with `wuasync sync accept-deletions`";

impl Repository {
    /// On a main: files that may be gone from the tree; those that are there, or that nothing was known
    /// of, are passed over. Tombstones are signed only under the cap, else the index keeps naming the
    /// files and an alarm stands.
    pub fn remove_gone(&self, folder: &FolderName, names: &[FileName]) -> Result<(), RepositoryError> {
        let open = self.folder(folder)?;
        let mut gone = Vec::new();
        for name in names {
            if self.is_known(folder, name)? && open.stat_file(name)?.is_none() {
                gone.push(name.clone());
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        if let Some(sign) = self.may_sign_deletions(open, gone.len() as u64)? {
            gone.chunks(GROUP).try_for_each(|gone| self.remove(folder, gone, sign))?;
        }
        Ok(())
    }

    /// On a main: everything that is held and gone, decided on as a whole. Answers with how many.
    pub(super) fn remove_all_gone(&self, folder: &FolderName) -> Result<u64, RepositoryError> {
        let open = self.folder(folder)?;
        let mut count = 0;
        self.each_gone(open, &mut |names| {
            count += names.len() as u64;
            Ok(())
        })?;
        if count > 0
            && let Some(sign) = self.may_sign_deletions(open, count)?
        {
            self.each_gone(open, &mut |names| self.remove(folder, names, sign))?;
        }
        Ok(count)
    }

    /// On a main: an administrator has seen the alarm and wants the deletions signed, those of a folder
    /// in another's place too. Answers with how many were signed.
    pub fn accept_deletions(&self, folder: &FolderName) -> Result<u64, RepositoryError> {
        let open = self.folder(folder)?;
        self.accept_identity(folder)?;
        self.each_gone(open, &mut |names| self.remove(folder, names, false))?;
        let mut signed = 0;
        loop {
            let page = self.state.index.read()?.missing_after(folder, None, GROUP)?;
            if page.is_empty() {
                break;
            }
            let names: Vec<_> = page.into_iter().map(|(name, _)| name).collect();
            self.remove(folder, &names, true)?;
            signed += names.len() as u64;
        }
        self.attention.clear(&Alarm::DeletionsWithheld(folder.clone()));
        Ok(signed)
    }

    /// The rows of files that are gone leave; the index follows if told to `sign`.
    fn remove(&self, folder: &FolderName, names: &[FileName], sign: bool) -> Result<(), RepositoryError> {
        let removed_at = self.clock.unix_seconds();
        let namespace = Namespace::folder(folder);
        self.author(|changes| {
            for name in names {
                let key = name.as_str().as_bytes();
                changes.batch.remove_holding(folder, name)?;
                let body = changes.batch.entry(&namespace, key)?;
                let Some(value) = body.as_deref().and_then(Body::value_of) else {
                    changes.batch.set_missing(folder, name, None)?;
                    continue;
                };
                let record = FileRecord::decode(value)?;
                if sign {
                    changes.put(&namespace, key, &Body::Tombstone { removed_at })?;
                    changes.batch.set_missing(folder, name, None)?;
                    changes.batch.note_indexed(folder, Some(record.size), None)?;
                } else {
                    changes.batch.set_missing(folder, name, Some(&record.into()))?;
                }
            }
            Ok(())
        })
    }

    /// On a main: a file whose content is no longer what its name promises is held no longer. The index
    /// keeps naming it: the next write may complete it.
    pub(super) fn withhold(&self, folder: &FolderName, name: &FileName) -> Result<(), RepositoryError> {
        if self.state.index.read()?.holding(folder, name)?.is_none() {
            return Ok(());
        }
        self.remove(folder, std::slice::from_ref(name), false)
    }

    /// Whether a name that is gone would be news: it is held, or named by the index and not yet missing.
    fn is_known(&self, folder: &FolderName, name: &FileName) -> Result<bool, RepositoryError> {
        let snapshot = self.state.index.read()?;
        if snapshot.holding(folder, name)?.is_some() {
            return Ok(true);
        }
        let body = snapshot.entry(&Namespace::folder(folder), name.as_str().as_bytes())?;
        let indexed = body.as_deref().and_then(Body::value_of).is_some();
        Ok(indexed && snapshot.missing(folder, name)?.is_none())
    }

    /// `None` if the rows are to rest.
    fn may_sign_deletions(&self, folder: &Folder, asked: u64) -> Result<Option<bool>, RepositoryError> {
        if !self.identity_is_known(folder)? {
            self.raise_replaced(folder);
            return Ok(None);
        }
        let now = self.clock.unix_seconds();
        let totals = self.state.index.read()?.totals(&folder.name)?;
        let mut writer = self.writer();
        let lately = signed_lately(&mut writer, &folder.name, now);
        let missing = asked.saturating_add(totals.missing_files);
        match plan_deletions(missing, lately, totals.files, self.deletion_cap) {
            DeletionPlan::Sign => {
                writer.deletions.entry(folder.name.clone()).or_default().push_back((now, asked));
                Ok(Some(true))
            }
            DeletionPlan::Withhold { allowed } => {
                drop(writer);
                self.raise_withheld(folder, missing, totals.files, allowed);
                Ok(Some(false))
            }
        }
    }

    /// The alarm over withheld deletions outlives a restart of a main.
    pub(super) fn recall_withheld(&self) -> Result<(), RepositoryError> {
        for folder in self.folders.values() {
            let totals = self.state.index.read()?.totals(&folder.name)?;
            if totals.missing_files > 0 {
                let (missing, files, path) = (totals.missing_files, totals.files, folder.path.display());
                let what = format!("{missing} of {files} files are not in {path}; they are not deleted on secondaries");
                self.attention.raise(Alarm::DeletionsWithheld(folder.name.clone()), what, ACCEPT);
            }
        }
        Ok(())
    }

    /// When every file is back, nothing is withheld.
    pub(super) fn clear_withheld_of(&self, folder: &Folder) -> Result<(), RepositoryError> {
        if self.state.index.read()?.totals(&folder.name)?.missing_files == 0 {
            self.attention.clear(&Alarm::DeletionsWithheld(folder.name.clone()));
        }
        Ok(())
    }

    fn raise_withheld(&self, folder: &Folder, missing: u64, files: u64, allowed: u64) {
        let what = format!(
            "{missing} of {files} files are gone from {}; more than {allowed} at once are not deleted on secondaries",
            folder.path.display()
        );
        self.attention.raise(Alarm::DeletionsWithheld(folder.name.clone()), what, ACCEPT);
    }

    pub(super) fn raise_replaced(&self, folder: &Folder) {
        self.attention.raise(
            Alarm::FolderReplaced(folder.name.clone()),
            format!("{} is another directory or disk than before; deletions are not signed", folder.path.display()),
            "mount the right disk and restart, or confirm with `wuasync sync accept-deletions`",
        );
    }
}

fn signed_lately(writer: &mut Writer, folder: &FolderName, now: u64) -> u64 {
    let births = writer.deletions.entry(folder.clone()).or_default();
    while births.front().is_some_and(|(at, _)| at.saturating_add(DELETION_WINDOW) <= now) {
        births.pop_front();
    }
    births.iter().map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Place, adopt, folder, indexed, is_held, is_missing, name, rescan, seq};
    use super::*;
    use std::fs;

    fn main_of(files: usize) -> (Place, Repository) {
        let place = Place::new();
        let main = place.main();
        let names: Vec<_> = (0..files).map(|n| format!("f{n:03}")).collect();
        names.iter().for_each(|name| place.write(name, name.as_bytes()));
        assert_eq!(rescan(&main), 0);
        assert_eq!(seq(&main), files as u64);
        (place, main)
    }

    fn drop_files(place: &Place, numbers: std::ops::Range<usize>) -> Vec<FileName> {
        let names: Vec<_> = numbers.map(|n| format!("f{n:03}")).collect();
        names.iter().for_each(|name| fs::remove_file(place.path(name)).unwrap());
        names.iter().map(|text| name(text)).collect()
    }

    fn withheld() -> Alarm {
        Alarm::DeletionsWithheld(folder())
    }

    #[test]
    fn deletions_under_the_cap_become_tombstones() {
        let (place, main) = main_of(20);
        let gone = drop_files(&place, 0..4);
        main.remove_gone(&folder(), &gone).unwrap();
        assert_eq!(seq(&main), 24);
        assert!(gone.iter().all(|name| indexed(&main, name.as_str()).is_none() && !is_held(&main, name.as_str())));
        assert!(!main.attention.stands(&withheld()));
    }

    #[test]
    fn deletions_above_the_cap_are_withheld_until_they_are_accepted() {
        let (place, main) = main_of(20);
        let gone = drop_files(&place, 0..5);
        assert_eq!(rescan(&main), 5);
        assert!(main.attention.stands(&withheld()));
        assert!(gone.iter().all(|name| indexed(&main, name.as_str()).is_some() && is_missing(&main, name.as_str())));
        assert_eq!(seq(&main), 20);
        drop(main);
        let main = place.main();
        assert!(main.attention.stands(&withheld()), "a restart forgets no alarm");
        assert_eq!(main.accept_deletions(&folder()).unwrap(), 5);
        assert!(gone.iter().all(|name| indexed(&main, name.as_str()).is_none() && !is_missing(&main, name.as_str())));
        assert_eq!(seq(&main), 25);
        assert!(!main.attention.stands(&withheld()));
    }

    #[test]
    fn files_that_come_back_end_the_alarm() {
        let (place, main) = main_of(20);
        drop_files(&place, 0..5);
        rescan(&main);
        (0..5).map(|n| format!("f{n:03}")).for_each(|name| place.write(&name, name.as_bytes()));
        assert_eq!(rescan(&main), 0);
        assert!(!main.attention.stands(&withheld()));
        assert_eq!(seq(&main), 20, "nothing changed after all");
    }

    #[test]
    fn many_small_deletions_are_one_large_and_an_hour_later_they_are_not() {
        let (place, main) = main_of(20);
        for n in 0..3 {
            main.remove_gone(&folder(), &drop_files(&place, n..n + 1)).unwrap();
        }
        assert_eq!(seq(&main), 23);
        main.remove_gone(&folder(), &drop_files(&place, 3..5)).unwrap();
        assert!(main.attention.stands(&withheld()));
        main.accept_deletions(&folder()).unwrap();
        place.clock.set(NOW + DELETION_WINDOW);
        main.remove_gone(&folder(), &drop_files(&place, 5..8)).unwrap();
        assert!(!main.attention.stands(&withheld()));
    }

    #[test]
    fn names_that_nobody_knew_count_for_nothing() {
        let (_place, main) = main_of(5);
        let strangers: Vec<_> = (0..1_000).map(|n| name(&format!("download-{n}.part"))).collect();
        main.remove_gone(&folder(), &strangers).unwrap();
        assert!(!main.attention.stands(&withheld()));
        assert_eq!(seq(&main), 5);
    }

    #[test]
    fn an_emptied_folder_signs_nothing_however_often_it_is_looked_at() {
        let (place, main) = main_of(30);
        drop_files(&place, 0..30);
        assert_eq!(rescan(&main), 30);
        assert_eq!(rescan(&main), 0);
        assert!(main.attention.stands(&withheld()));
        assert_eq!(seq(&main), 30);
    }

    #[test]
    fn in_a_folder_in_anothers_place_rows_rest_and_nothing_is_signed() {
        let (place, main) = main_of(10);
        let replaced = Alarm::FolderReplaced(folder());
        drop(main);
        fs::rename(place.path(""), place.top.path().join("right")).unwrap();
        fs::create_dir(place.path("")).unwrap();
        let main = place.main();
        assert_eq!(rescan(&main), 10);
        assert_eq!(rescan(&main), 10);
        assert!(main.attention.stands(&replaced));
        assert_eq!(seq(&main), 10);
        drop(main);
        fs::remove_dir(place.path("")).unwrap();
        fs::rename(place.top.path().join("right"), place.path("")).unwrap();
        let main = place.main();
        let mut differing = 0;
        main.scan(&folder(), &mut |_, _| differing += 1).unwrap();
        assert_eq!(differing, 0, "nothing is read again");
        assert!(!main.attention.stands(&replaced));
    }

    #[test]
    fn a_folder_that_is_swapped_while_the_daemon_runs_raises_the_alarm() {
        let (place, main) = main_of(10);
        fs::rename(place.path(""), place.top.path().join("right")).unwrap();
        fs::create_dir(place.path("")).unwrap();
        rescan(&main);
        assert!(main.attention.stands(&Alarm::FolderReplaced(folder())));
        fs::remove_dir(place.path("")).unwrap();
        fs::rename(place.top.path().join("right"), place.path("")).unwrap();
        rescan(&main);
        assert!(!main.attention.stands(&Alarm::FolderReplaced(folder())));
    }

    #[test]
    fn a_replaced_folder_is_taken_over_when_the_deletions_are_accepted() {
        let (place, main) = main_of(10);
        drop(main);
        fs::rename(place.path(""), place.top.path().join("old")).unwrap();
        fs::create_dir(place.path("")).unwrap();
        place.write("f000", b"f000");
        let main = place.main();
        rescan(&main);
        assert_eq!(main.accept_deletions(&folder()).unwrap(), 9);
        rescan(&main);
        assert!(!main.attention.stands(&Alarm::FolderReplaced(folder())));
        assert!(is_held(&main, "f000") && indexed(&main, "f001").is_none());
    }

    #[test]
    fn a_secondary_signs_nothing() {
        let place = Place::new();
        let child = place.secondary();
        assert!(matches!(child.sign_again(), Err(RepositoryError::NotMain)));
        adopt(&child, &[]).unwrap();
    }
}
