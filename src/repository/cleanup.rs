//! Files that a plan let go leave a main, and can be had back from the trash while they rest there.
//!
//! Order of events: the cap is asked, the ledger remembers what is about to go, each group of rows leaves with
//! signed tombstones and intents in one commit, wants that no person has go with it, and the bytes move to the
//! trash. Decides nothing of what goes: that is a plan's.

use super::{
    deletions::{DeletionPlan, plan_deletions},
    error::RepositoryError,
    examine::Examined,
    open::Repository,
    remove::signed_lately,
};
use crate::{
    catalog::{CleanupRecord, FilePlace, UseRecord},
    domain::{
        file::FileRecord,
        key::NodeKey,
        member::Role,
        name::{FileName, FolderName},
        state::{Body, Namespace},
    },
    store::trash::Swept,
};
use std::collections::{BTreeMap, BTreeSet};

/// Files that leave in one commit.
const GROUP: usize = 500;
/// Rows that are read in one go.
const PAGE: usize = 2_000;

/// What became of files that were to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetGo {
    /// They rest in the trash, those aside that changed since they were looked at.
    Gone(Swept),
    /// They are more than the cap lets go at once: nothing was done.
    Withheld {
        /// How many were to go.
        asked: u64,
        /// How many the cap lets go.
        allowed: u64,
    },
}

/// What came back of the last cleanup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Undone {
    /// When that cleanup began, in seconds since 1970 UTC; `None` if there is none to undo.
    pub at: Option<u64>,
    /// Files that are in their folder and in the index again.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that have left the trash, or whose name another file has.
    pub lost: u64,
}

impl Repository {
    /// The files of a folder that the index names and this disk holds, with their lengths, by name.
    pub fn held_files(&self, folder: &FolderName) -> Result<Vec<(FileName, u64)>, RepositoryError> {
        let snapshot = self.state.index.read()?;
        let (mut files, mut after) = (Vec::new(), None);
        loop {
            let page = snapshot.holdings_after(folder, after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(files) };
            after = Some(last.clone());
            files.extend(page.into_iter().filter(|(_, held)| held.listed).map(|(name, held)| (name, held.size)));
        }
    }

    /// Since when each of `files` is here and when it was asked for last. One that was never seen is here since
    /// now; what is not among `files` is forgotten.
    pub fn uses_of(
        &self,
        folder: &FolderName,
        files: &[(FileName, u64)],
    ) -> Result<BTreeMap<FileName, UseRecord>, RepositoryError> {
        let mut known = self.state.ledger.uses(folder)?;
        let now = self.clock.unix_seconds();
        let mut uses = BTreeMap::new();
        let mut new = Vec::new();
        for (name, _) in files {
            let record = known.remove(name).unwrap_or_else(|| {
                let record = UseRecord { arrived_at: now, asked_at: None };
                new.push((name.clone(), record));
                record
            });
            uses.insert(name.clone(), record);
        }
        let forgotten: Vec<_> = known.into_keys().collect();
        self.state.ledger.put_uses(folder, &new, &forgotten)?;
        Ok(uses)
    }

    /// Hosts asked for files at these times, in seconds since 1970 UTC.
    pub fn note_asked(&self, asked: &BTreeMap<FilePlace, u64>) -> Result<(), RepositoryError> {
        Ok(self.state.ledger.note_asked(asked, self.clock.unix_seconds())?)
    }

    /// As [`Repository::note_asked`], of files that the index names alone: a child's word makes no rows of others.
    pub fn note_known_asked(&self, asked: &BTreeMap<FilePlace, u64>) -> Result<(), RepositoryError> {
        let index = self.state.index.read()?;
        let mut known = BTreeMap::new();
        for (place, at) in asked {
            if index.entry(&Namespace::folder(&place.0), place.1.as_str().as_bytes())?.is_some() {
                known.insert(place.clone(), *at);
            }
        }
        self.note_asked(&known)
    }

    /// What hosts asked for at `since` (seconds since 1970 UTC) or later.
    pub fn asked_since(&self, since: u64) -> Result<BTreeSet<FilePlace>, RepositoryError> {
        let mut asked = BTreeSet::new();
        for folder in self.folders.keys() {
            let uses = self.state.ledger.uses(folder)?;
            let lately = uses.into_iter().filter(|(_, used)| used.asked_at.is_some_and(|at| at >= since));
            asked.extend(lately.map(|(name, _)| (folder.clone(), name)));
        }
        Ok(asked)
    }

    /// These members have told what their hosts ask for.
    pub fn note_heard(&self, members: &[NodeKey]) -> Result<(), RepositoryError> {
        Ok(self.state.ledger.note_heard(members, self.clock.unix_seconds())?)
    }

    /// The members that told at `since` (seconds since 1970 UTC) or later what their hosts ask for.
    pub fn heard_since(&self, since: u64) -> Result<BTreeSet<NodeKey>, RepositoryError> {
        Ok(self.state.ledger.heard_since(since)?)
    }

    /// When a member told last what its hosts ask for, in seconds since 1970 UTC. On a secondary its own key has the time at
    /// which its parent was told.
    pub fn heard_at(&self, member: &NodeKey) -> Result<Option<u64>, RepositoryError> {
        Ok(self.state.ledger.heard_at(member)?)
    }

    /// On a main: these files of a folder go to the trash and out of the index, and so from every secondary.
    /// `of` is how many files the cap is a share of; `force` lifts it. A file whose length is another one stays.
    pub fn let_go(
        &self,
        folder: &FolderName,
        files: &[(FileName, u64)],
        of: u64,
        force: bool,
    ) -> Result<LetGo, RepositoryError> {
        if self.role != Role::Main {
            return Err(RepositoryError::NotMain);
        }
        let (now, asked) = (self.clock.unix_seconds(), files.len() as u64);
        if asked == 0 {
            return Ok(LetGo::Gone(Swept::default()));
        }
        {
            let mut writer = self.writer();
            let lately = signed_lately(&mut writer, folder, now);
            if let DeletionPlan::Withhold { allowed } = plan_deletions(asked, lately, of, self.deletion_cap)
                && !force
            {
                return Ok(LetGo::Withheld { asked, allowed });
            }
            writer.deletions.entry(folder.clone()).or_default().push_back((now, asked));
        }
        let record = files.iter().map(|(name, size)| (folder.clone(), name.clone(), *size)).collect();
        self.state.ledger.put_cleanup(&CleanupRecord { at: now, files: record, undone_at: None })?;
        let mut gone = Swept::default();
        for group in files.chunks(GROUP) {
            let left = self.tombstone(folder, group, now)?;
            gone.files += left.len() as u64;
            gone.bytes += left.iter().map(|(_, size)| size).sum::<u64>();
            let names: Vec<_> = left.into_iter().map(|(name, _)| name).collect();
            let places: Vec<_> = names.iter().map(|name| (folder.clone(), name.clone())).collect();
            self.state.ledger.drop_wants(&places)?;
            self.state.ledger.put_uses(folder, &[], &names)?;
        }
        self.bury()?;
        Ok(LetGo::Gone(gone))
    }

    /// Rows of one group; answers with what went.
    fn tombstone(
        &self,
        folder: &FolderName,
        files: &[(FileName, u64)],
        removed_at: u64,
    ) -> Result<Vec<(FileName, u64)>, RepositoryError> {
        let namespace = Namespace::folder(folder);
        self.author(|changes| {
            let mut gone = Vec::with_capacity(files.len());
            for (name, size) in files {
                let key = name.as_str().as_bytes();
                let Some(holding) = changes.batch.files.holding(folder, name)?.filter(|held| held.size == *size) else {
                    continue;
                };
                let body = changes.batch.entries.get(&namespace, key)?;
                let Some(value) = body.as_deref().and_then(Body::value_of) else { continue };
                let record = FileRecord::decode(value)?;
                changes.batch.files.remove_holding(folder, name)?;
                changes.batch.files.put_intent(folder, name)?;
                changes.put(&namespace, key, &Body::Tombstone { removed_at })?;
                changes.batch.files.set_missing(folder, name, None)?;
                changes.batch.files.note_indexed(folder, Some(record.size), None)?;
                gone.push((name.clone(), holding.size));
            }
            Ok(gone)
        })
    }

    /// On a main: what the last cleanup let go and still rests in the trash is in its folder and in the index
    /// again, as if it had arrived now.
    pub fn undo_cleanup(&self) -> Result<Undone, RepositoryError> {
        if self.role != Role::Main {
            return Err(RepositoryError::NotMain);
        }
        let Some((number, record)) = self.state.ledger.last_cleanup()? else { return Ok(Undone::default()) };
        let mut undone = Undone { at: Some(record.at), ..Undone::default() };
        let now = self.clock.unix_seconds();
        for group in record.files.chunks(GROUP) {
            let mut ready = Vec::new();
            for (folder, name, _) in group {
                let back = match self.folders.get(folder) {
                    Some(open) => open.staging.untrash(name, record.at),
                    None => Ok(false),
                };
                let back = back.map_err(RepositoryError::io("taking from the trash", name))?;
                match self.is_back(back, folder, name)? {
                    Some(Examined::Ready(file)) => ready.push(file),
                    // Whoever watches the folder was faster.
                    Some(Examined::Unchanged | Examined::Unsettled) => {}
                    _ => undone.lost += 1,
                }
            }
            self.publish(&ready)?;
        }
        for (folder, name, size) in &record.files {
            if self.state.index.read()?.holding(folder, name)?.is_some() {
                self.state.ledger.put_uses(
                    folder,
                    &[(name.clone(), UseRecord { arrived_at: now, asked_at: None })],
                    &[],
                )?;
                undone.files += 1;
                undone.bytes += size;
            }
        }
        self.state.ledger.end_cleanup(number, now)?;
        Ok(undone)
    }

    fn is_back(&self, back: bool, folder: &FolderName, name: &FileName) -> Result<Option<Examined>, RepositoryError> {
        if back { self.examine(folder, name).map(Some) } else { Ok(None) }
    }

    /// Removes for good what was moved to the trash before `before` (seconds since 1970 UTC); damaged files stay until they
    /// are whole again.
    pub fn sweep_trash(&self, before: u64) -> Result<Swept, RepositoryError> {
        let mut swept = Swept::default();
        for folder in self.folders.keys() {
            let some = self.sweep_trash_of(folder, before)?;
            swept = Swept { files: swept.files + some.files, bytes: swept.bytes + some.bytes };
        }
        Ok(swept)
    }

    /// As [`Repository::sweep_trash`], of one folder.
    pub(super) fn sweep_trash_of(&self, folder: &FolderName, before: u64) -> Result<Swept, RepositoryError> {
        // The rotten copy may be the best one there is, until the file is whole again.
        let damaged_since = self.state.index.read()?.damaged(folder)?.1;
        let before = damaged_since.map_or(before, |since| before.min(since));
        let swept = self.folder(folder)?.staging.sweep_trash(before);
        swept.map_err(RepositoryError::io("sweeping the trash of", folder))
    }

    /// Removes for good what rests in the trash, the oldest first, until so many bytes are gone; damaged files stay
    /// until they are whole again.
    pub fn free_trash(&self, bytes: u64) -> Result<Swept, RepositoryError> {
        let mut swept = Swept::default();
        for (folder, open) in &self.folders {
            let damaged_since = self.state.index.read()?.damaged(folder)?.1;
            let before = damaged_since.unwrap_or(u64::MAX);
            let left = bytes.saturating_sub(swept.bytes);
            let freed = open.staging.free_trash(before, left);
            let freed = freed.map_err(RepositoryError::io("emptying the trash of", folder))?;
            swept = Swept { files: swept.files + freed.files, bytes: swept.bytes + freed.bytes };
        }
        Ok(swept)
    }

    /// How much rests in the trash of all folders.
    pub fn trash_usage(&self) -> Result<Swept, RepositoryError> {
        let mut sum = Swept::default();
        for (folder, open) in &self.folders {
            let usage = open.staging.trash_usage().map_err(RepositoryError::io("looking into the trash of", folder))?;
            sum = Swept { files: sum.files + usage.files, bytes: sum.bytes + usage.bytes };
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Place, adopt, fetch, folder, follow, indexed, is_held, name};
    use super::*;

    /// A main with `count` files of 3 bytes, f0 and on.
    fn with_files(count: usize) -> (Place, Repository) {
        let place = Place::new();
        let main = place.main();
        let names: Vec<_> = (0..count).map(|n| format!("f{n}")).collect();
        names.iter().for_each(|name| place.write(name, b"abc"));
        adopt(&main, &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        (place, main)
    }

    fn files(names: &[&str]) -> Vec<(FileName, u64)> {
        names.iter().map(|text| (name(text), 3)).collect()
    }

    #[test]
    fn what_a_plan_let_go_is_in_the_trash_here_and_below_and_comes_back_whole() {
        let (place, main) = with_files(20);
        let below = Place::new();
        let child = below.secondary();
        follow(&main, &child).unwrap();
        fetch(&main, &child).unwrap();
        let went = main.let_go(&folder(), &files(&["f1", "f2", "unknown"]), 20, false).unwrap();
        assert_eq!(went, LetGo::Gone(Swept { files: 2, bytes: 6 }));
        assert_eq!((place.read("f1"), place.trashed().len(), indexed(&main, "f1")), (None, 2, None));
        follow(&main, &child).unwrap();
        assert!(!is_held(&child, "f1") && is_held(&child, "f3"));
        assert_eq!((below.read("f2"), below.trashed().len()), (None, 2));
        place.clock.set(NOW + 50);
        let undone = main.undo_cleanup().unwrap();
        assert_eq!(undone, Undone { at: Some(NOW), files: 2, bytes: 6, lost: 1 });
        assert!(is_held(&main, "f1") && indexed(&main, "f2").is_some() && place.read("f1").unwrap() == b"abc");
        let uses = main.uses_of(&folder(), &main.held_files(&folder()).unwrap()).unwrap();
        assert_eq!(uses[&name("f1")].arrived_at, NOW + 50, "it is young again");
        assert_eq!(main.undo_cleanup().unwrap(), Undone::default());
    }

    #[test]
    fn more_than_the_cap_stay_until_they_are_forced_and_many_small_cleanups_count_as_one() {
        let (place, main) = with_files(10);
        let many = files(&["f0", "f1", "f2", "f3"]);
        assert_eq!(main.let_go(&folder(), &many, 10, false).unwrap(), LetGo::Withheld { asked: 4, allowed: 3 });
        assert!(place.trashed().is_empty() && is_held(&main, "f0"));
        assert!(matches!(main.let_go(&folder(), &many[..3], 10, false).unwrap(), LetGo::Gone(Swept { files: 3, .. })));
        let more = files(&["f3"]);
        assert_eq!(main.let_go(&folder(), &more, 7, false).unwrap(), LetGo::Withheld { asked: 1, allowed: 0 });
        assert!(matches!(main.let_go(&folder(), &more, 7, true).unwrap(), LetGo::Gone(Swept { files: 1, .. })));
    }

    #[test]
    fn a_file_that_is_another_one_meanwhile_stays() {
        let (place, main) = with_files(3);
        place.write("f1", b"longer");
        adopt(&main, &["f1"]).unwrap();
        let went = main.let_go(&folder(), &files(&["f1"]), 3, false).unwrap();
        assert_eq!((went, is_held(&main, "f1")), (LetGo::Gone(Swept::default()), true));
    }

    #[test]
    fn a_cleanup_that_was_cut_short_between_rows_and_bytes_is_carried_out_at_the_next_start() {
        let (place, main) = with_files(3);
        main.tombstone(&folder(), &files(&["f1"]), NOW).unwrap();
        assert!(place.read("f1").is_some());
        drop(main);
        let main = place.main();
        assert_eq!((place.read("f1"), place.trashed().len(), is_held(&main, "f2")), (None, 1, true));
    }

    #[test]
    fn the_trash_is_emptied_as_far_as_room_is_needed() {
        let (place, main) = with_files(6);
        for n in 0..3 {
            place.clock.set(NOW + 10_000 * n);
            main.let_go(&folder(), &files(&[&format!("f{n}")]), 6, false).unwrap();
        }
        assert_eq!(main.trash_usage().unwrap(), Swept { files: 3, bytes: 9 });
        assert_eq!(main.free_trash(4).unwrap(), Swept { files: 2, bytes: 6 });
        assert_eq!(main.free_trash(u64::MAX).unwrap(), Swept { files: 1, bytes: 3 });
        assert!(place.trashed().is_empty());
        assert_eq!(main.undo_cleanup().unwrap().lost, 1);
    }

    #[test]
    fn a_secondary_lets_nothing_go_by_itself() {
        let place = Place::new();
        let child = place.secondary();
        assert!(matches!(child.let_go(&folder(), &[], 0, true), Err(RepositoryError::NotMain)));
        assert!(matches!(child.undo_cleanup(), Err(RepositoryError::NotMain)));
    }
}
