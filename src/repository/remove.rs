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
/// Most names that are gathered; beyond it the whole folder is compared in pages.
const MAX_GONE: usize = 100_000;
/// What to do about withheld deletions.
const ACCEPT: &str = "put the files back, or confirm with `wuasync sync accept-deletions`";

impl Repository {
    /// On a main: files, or directories with what was beneath them, that may be gone from the tree; those
    /// that are there, or that nothing was known of, are passed over. Tombstones are signed only under the cap, else the index keeps naming the
    /// files and an alarm stands.
    pub fn remove_gone(&self, folder: &FolderName, names: &[FileName]) -> Result<(), RepositoryError> {
        let open = self.folder(folder)?;
        let mut gone = Vec::new();
        for name in names {
            if open.stat_file(name)?.is_some() {
                continue;
            }
            self.note_gone(open, name);
            if self.is_known(folder, name)? {
                gone.push(name.clone());
            }
            self.each_gone_beneath(open, name, &mut |names| {
                gone.extend_from_slice(names);
                Ok(())
            })?;
            if gone.len() > MAX_GONE {
                return self.remove_all_gone(folder).map(drop);
            }
        }
        gone.sort_unstable();
        gone.dedup();
        if gone.is_empty() {
            return Ok(());
        }
        if let Some(sign) = self.may_sign_deletions(open, gone.len() as u64)? {
            gone.chunks(GROUP).try_for_each(|gone| self.remove(folder, gone, sign))?;
        }
        Ok(())
    }

    /// A name is gone, and with it whatever trouble was beneath it.
    pub(super) fn note_gone(&self, open: &Folder, name: &FileName) {
        self.note_absent(open, name);
        if open.staging.stat(name).is_err() {
            self.troubles.forget(&open.name, &self.troubles.beneath(&open.name, name));
        }
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
                changes.batch.files.remove_holding(folder, name)?;
                let body = changes.batch.entries.get(&namespace, key)?;
                let Some(value) = body.as_deref().and_then(Body::value_of) else {
                    changes.batch.files.set_missing(folder, name, None)?;
                    continue;
                };
                let record = FileRecord::decode(value)?;
                if sign {
                    changes.put(&namespace, key, &Body::Tombstone { removed_at })?;
                    changes.batch.files.set_missing(folder, name, None)?;
                    changes.batch.files.note_indexed(folder, Some(record.size), None)?;
                } else {
                    changes.batch.files.set_missing(folder, name, Some(&record.into()))?;
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
            self.raise_replaced(folder)?;
            return Ok(None);
        }
        let now = self.clock.unix_seconds();
        let totals = self.state.index.read()?.totals(&folder.name)?;
        let withheld = self.withheld(folder)?;
        let mut writer = self.writer();
        let lately = signed_lately(&mut writer, &folder.name, now);
        let missing = asked.saturating_add(withheld);
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
            let missing = self.withheld(folder)?;
            if missing > 0 {
                let (files, path) = (totals.files, folder.path.display());
                let what = format!("{missing} of {files} files are not in {path}; they are not deleted on secondaries");
                self.attention.raise(Alarm::DeletionsWithheld(folder.name.clone()), what, ACCEPT);
            }
        }
        Ok(())
    }

    /// Files that are gone and whose deletion is not signed: those that this node took out of service itself,
    /// for their damage, are not meant to go.
    fn withheld(&self, folder: &Folder) -> Result<u64, RepositoryError> {
        let snapshot = self.state.index.read()?;
        Ok(snapshot.totals(&folder.name)?.missing_files.saturating_sub(snapshot.damaged(&folder.name)?.0))
    }

    /// When every file is back, nothing is withheld.
    pub(super) fn clear_withheld_of(&self, folder: &Folder) -> Result<(), RepositoryError> {
        if self.withheld(folder)? == 0 {
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

    /// The right directory is open and only has to come back to its place; another one stays open until a
    /// restart.
    pub(super) fn raise_replaced(&self, folder: &Folder) -> Result<(), RepositoryError> {
        let cure = match self.opened_is_known(folder)? {
            true => "put the right directory or disk back; it is seen within seconds",
            false => "mount the right disk and restart, or confirm with `wuasync sync accept-deletions`",
        };
        self.attention.raise(
            Alarm::FolderReplaced(folder.name.clone()),
            format!("{} is another directory or disk than before; deletions are not signed", folder.path.display()),
            cure,
        );
        Ok(())
    }
}

/// How many files the last hour let go.
pub(super) fn signed_lately(writer: &mut Writer, folder: &FolderName, now: u64) -> u64 {
    let births = writer.deletions.entry(folder.clone()).or_default();
    while births.front().is_some_and(|(at, _)| at.saturating_add(DELETION_WINDOW) <= now) {
        births.pop_front();
    }
    births.iter().map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests;
