//! Files that other programs put into the folder: looked at where they lie, never copied or moved.

use super::{
    attention::{Alarm, Trouble},
    deletions::{DeletionPlan, plan_deletions},
    error::RepositoryError,
    find::{holds, is_absent},
    open::{Folder, Repository, Writer},
};
use crate::{
    catalog::HoldingRecord,
    domain::{
        digest::Root,
        file::FileRecord,
        member::Role,
        name::{FileName, FolderName},
        state::{Body, Namespace},
    },
    store::{
        disk::{DiskFile, Stat},
        hash::{Changed, Hashed, hash_file},
    },
};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// Over how long deletions are counted against the cap, in seconds.
const DELETION_WINDOW: u64 = 3_600;

/// A file that was read whole and is what its name promises.
#[derive(Debug, Clone)]
pub struct Adoptable {
    /// Its folder.
    pub folder: FolderName,
    /// Its name.
    pub name: FileName,
    /// What the index will say.
    pub record: FileRecord,
    stamp: Stat,
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
            Err(error) if is_absent(&error) => return Ok(Examined::Gone),
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
            Err(error) if Changed::is(&error) => return Ok(Examined::Unsettled),
            Err(error) => {
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
    ) -> io::Result<Hashed> {
        let want_sha1 = name.promised_sha1().is_some();
        let mut told = 0;
        let mut on_progress = |so_far: u64| {
            folder.progress.done_bytes.fetch_add(so_far.saturating_sub(told), Relaxed);
            told = so_far;
        };
        let outboards = &self.state.outboards;
        let Some(new) = outboards.begin(size)? else {
            return hash_file(file, size, want_sha1, None, &mut on_progress);
        };
        match hash_file(file, size, want_sha1, Some(new.file()), &mut on_progress) {
            Ok(hashed) => outboards.adopt(new, hashed.root).map(|()| hashed),
            Err(error) => {
                outboards.discard(new)?;
                Err(error)
            }
        }
    }

    /// Takes files that were examined into the rows: on a main signed into the index; on a secondary
    /// as a holding if the index names that content, else as an extra. Their bytes are made durable first.
    pub fn publish(&self, ready: &[Adoptable]) -> Result<(), RepositoryError> {
        for (folder, open) in &self.folders {
            let names: Vec<_> = ready.iter().filter(|file| file.folder == *folder).map(|file| &file.name).collect();
            if !names.is_empty() {
                open.staging.sync_in_place(&names).map_err(RepositoryError::io("syncing files of", folder))?;
            }
        }
        match self.role {
            Role::Main => self.author(|changes| {
                ready.iter().try_for_each(|file| {
                    changes.batch.put_holding(&file.folder, &file.name, &file.holding(true))?;
                    changes.batch.set_missing(&file.folder, &file.name, None)?;
                    let namespace = Namespace::folder(&file.folder);
                    let key = file.name.as_str().as_bytes();
                    let before = size_of(changes.batch.entry(&namespace, key)?.as_deref());
                    changes.put(&namespace, key, &Body::Value(file.record.encode()?))?;
                    Ok(changes.batch.note_indexed(&file.folder, before, Some(file.record.size))?)
                })
            }),
            Role::Secondary => self.hold(ready),
        }
    }

    fn hold(&self, ready: &[Adoptable]) -> Result<(), RepositoryError> {
        let writer = self.writer();
        self.state.index.write(|batch| {
            ready.iter().try_for_each(|file| {
                let wanted = batch.missing(&file.folder, &file.name)?;
                let listed = wanted
                    .is_some_and(|wanted| wanted.root == file.record.root && wanted.modified == file.record.modified);
                if listed {
                    batch.set_missing(&file.folder, &file.name, None)?;
                }
                batch.put_holding(&file.folder, &file.name, &file.holding(listed))?;
                Ok::<_, RepositoryError>(())
            })
        })?;
        drop(writer);
        self.note_change();
        Ok(())
    }

    /// On a main: files that are gone from the tree. Their rows go at once; tombstones are signed
    /// only under the cap, else the index keeps naming them and an alarm stands.
    pub fn remove_gone(&self, folder: &FolderName, names: &[FileName]) -> Result<(), RepositoryError> {
        let open = self.folder(folder)?;
        let gone: Vec<_> = names
            .iter()
            .filter(|name| open.staging.stat(name).is_err_and(|error| is_absent(&error)))
            .cloned()
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let sign = self.may_sign_deletions(open, gone.len() as u64)?;
        let now = self.clock.unix_seconds();
        self.author(|changes| {
            let namespace = Namespace::folder(folder);
            for name in &gone {
                changes.batch.remove_holding(folder, name)?;
                let Some(body) = changes.batch.entry(&namespace, name.as_str().as_bytes())? else { continue };
                let Some(value) = Body::value_of(&body) else { continue };
                let record = FileRecord::decode(value)?;
                if sign {
                    changes.put(&namespace, name.as_str().as_bytes(), &Body::Tombstone { removed_at: now })?;
                    changes.batch.set_missing(folder, name, None)?;
                    changes.batch.note_indexed(folder, Some(record.size), None)?;
                } else {
                    changes.batch.set_missing(folder, name, Some(&record.into()))?;
                }
            }
            Ok(())
        })
    }

    /// On a main: an administrator has seen the alarm and wants the withheld deletions signed.
    pub fn accept_deletions(&self, folder: &FolderName) -> Result<u64, RepositoryError> {
        let now = self.clock.unix_seconds();
        let mut signed = 0;
        loop {
            let page = self.state.index.read()?.missing_after(folder, None, 1_000)?;
            if page.is_empty() {
                break;
            }
            signed += page.len() as u64;
            self.author(|changes| {
                page.iter().try_for_each(|(name, missing)| {
                    let key = name.as_str().as_bytes();
                    changes.put(&Namespace::folder(folder), key, &Body::Tombstone { removed_at: now })?;
                    changes.batch.set_missing(folder, name, None)?;
                    Ok(changes.batch.note_indexed(folder, Some(missing.size), None)?)
                })
            })?;
        }
        self.attention.clear(&Alarm::DeletionsWithheld(folder.clone()));
        self.accept_identity(folder)?;
        Ok(signed)
    }

    fn may_sign_deletions(&self, folder: &Folder, asked: u64) -> Result<bool, RepositoryError> {
        let now = self.clock.unix_seconds();
        let snapshot = self.state.index.read()?;
        let totals = snapshot.totals(&folder.name)?;
        let replaced = !self.identity_is_known(folder)?;
        let mut writer = self.writer();
        let lately = signed_lately(&mut writer, &folder.name, now);
        let plan = plan_deletions(asked + totals.missing_files, lately, totals.files, self.deletion_cap);
        if replaced {
            drop(writer);
            self.raise_replaced(folder);
            return Ok(false);
        }
        match plan {
            DeletionPlan::Sign => {
                writer.deletions.entry(folder.name.clone()).or_default().push_back((now, asked));
                Ok(true)
            }
            DeletionPlan::Withhold { allowed } => {
                drop(writer);
                let missing = asked + totals.missing_files;
                self.attention.raise(
                    Alarm::DeletionsWithheld(folder.name.clone()),
                    format!("{missing} of {} files are gone from {}; more than {allowed} at once are not deleted on secondaries",
                        totals.files, folder.path.display()),
                    "put the files back, or confirm with `wuasync sync accept-deletions`",
                );
                Ok(false)
            }
        }
    }

    pub(super) fn raise_replaced(&self, folder: &Folder) {
        self.attention.raise(
            Alarm::FolderReplaced(folder.name.clone()),
            format!("{} is another directory or disk than before; deletions are not signed", folder.path.display()),
            "mount the right disk, or confirm with `wuasync sync accept-deletions`",
        );
    }
}

impl Adoptable {
    fn holding(&self, listed: bool) -> HoldingRecord {
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

/// The size that an entry of a folder names, if it names a file.
pub(super) fn size_of(body: Option<&[u8]>) -> Option<u64> {
    FileRecord::decode(Body::value_of(body?)?).ok().map(|record| record.size)
}

fn signed_lately(writer: &mut Writer, folder: &FolderName, now: u64) -> u64 {
    let births: &mut VecDeque<(u64, u64)> = writer.deletions.entry(folder.clone()).or_default();
    while births.front().is_some_and(|(at, _)| at.saturating_add(DELETION_WINDOW) <= now) {
        births.pop_front();
    }
    births.iter().map(|(_, count)| count).sum()
}
