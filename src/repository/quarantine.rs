//! A file whose bytes are not what was verified, though nobody wrote to it, leaves service at once.
//!
//! Order of events, under the writer's lock: its stamp is compared once more; one commit takes the holding
//! away, says that its content is missing, counts the damage and remembers that the bytes have to go;
//! they move to the trash, where a person can look at them. Bytes that a second name shares with it are
//! the same rotten bytes: those names go with it.

use super::{
    attention::Alarm,
    error::RepositoryError,
    find::holds,
    open::{Folder, Repository},
};
use crate::{
    catalog::{Batch, DamageRecord, HoldingRecord, MissingRecord},
    domain::{
        file::FileRecord,
        member::Role,
        name::{FileName, FolderName},
        state::{Body, Namespace},
    },
};

/// Names of one inode that go together; more are found in their turn.
const MAX_NAMES: usize = 1_024;
/// Damaged files that have an alarm each; beyond these one speaks for all of a folder.
const MAX_ALARMS: usize = 50;

/// What becomes of a file that was found bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quarantined {
    /// It is out of service; `true` if its content is wanted, and so fetched again.
    Gone(bool),
    /// It is another file than the one that was read.
    Changed,
}

impl Repository {
    /// Takes a file out of service that was found bad in `groups` groups while it was `holding`.
    pub(super) fn quarantine(
        &self,
        folder: &FolderName,
        name: &FileName,
        holding: &HoldingRecord,
        groups: u64,
    ) -> Result<Quarantined, RepositoryError> {
        let open = self.folder(folder)?;
        let writer = self.writer();
        let is_same = open.stat_file(name)?.is_some_and(|stat| holds(&stat, holding));
        if !is_same || self.state.index.read()?.holding(folder, name)? != Some(*holding) {
            drop(writer);
            self.note_fault(folder, name);
            return Ok(Quarantined::Changed);
        }
        let names = self.names_of_inode(open, name, holding)?;
        let damage = DamageRecord { root: holding.root, groups, found_at: self.clock.unix_seconds() };
        let wanted = self.state.index.write(|batch| {
            let mut wanted = Vec::with_capacity(names.len());
            for name in &names {
                wanted.push(condemn(batch, folder, name, &damage)?);
            }
            Ok::<_, RepositoryError>(wanted)
        })?;
        let intents: Vec<_> = names.iter().map(|name| (folder.clone(), name.clone())).collect();
        let failed = self.bury_group(&intents)?;
        drop(writer);
        self.note_change();
        names.iter().zip(&wanted).for_each(|(name, wanted)| self.raise_damaged(folder, name, *wanted));
        if failed.is_some() {
            self.tell_of_burial(failed.as_ref());
        }
        Ok(Quarantined::Gone(wanted.first() == Some(&true)))
    }

    /// The name itself, and every other of the same folder whose bytes are the same on disk.
    fn names_of_inode(
        &self,
        open: &Folder,
        name: &FileName,
        holding: &HoldingRecord,
    ) -> Result<Vec<FileName>, RepositoryError> {
        let snapshot = self.state.index.read()?;
        let mut names = vec![name.clone()];
        for (folder, other) in snapshot.holders(&holding.root, MAX_NAMES)? {
            let shares = folder == open.name
                && other != *name
                && snapshot.holding(&folder, &other)?.is_some_and(|held| held.inode == holding.inode);
            if shares && open.stat_file(&other)?.is_some_and(|stat| stat.inode == holding.inode) {
                names.push(other);
            }
        }
        Ok(names)
    }

    fn raise_damaged(&self, folder: &FolderName, name: &FileName, wanted: bool) {
        let (what, cure) = match (self.role, wanted) {
            (_, false) => {
                ("was damaged on this disk, and the index does not name it", "take it from its trash, or forget it")
            }
            (Role::Main, true) => (
                "is damaged on this disk; it is taken from a secondary that has it",
                "look at the disk's health; put a good copy in its place if no secondary has one",
            ),
            (Role::Secondary, true) => ("was damaged on this disk; it is fetched again", "look at the disk's health"),
        };
        tracing::warn!(%folder, %name, "a file's bytes are not what was verified; it is in the trash");
        let alarm = Alarm::ContentDamaged(folder.clone(), name.clone());
        let count = self.attention.count(|alarm| matches!(alarm, Alarm::ContentDamaged(..)));
        if count < MAX_ALARMS || self.attention.stands(&alarm) {
            return self.attention.raise(alarm, format!("{folder}/{name} {what}"), cure);
        }
        let what = format!("more than {MAX_ALARMS} files were found damaged, in {folder} too");
        self.attention.raise(Alarm::ManyDamaged(folder.clone()), what, "replace the disk");
    }

    /// A file that was damaged was read again and is whole.
    pub(super) fn clear_damaged(&self, folder: &FolderName, name: &FileName) {
        self.attention.clear(&Alarm::ContentDamaged(folder.clone(), name.clone()));
        if self.attention.count(|alarm| matches!(alarm, Alarm::ContentDamaged(..))) == 0 {
            self.attention.clear(&Alarm::ManyDamaged(folder.clone()));
        }
    }

    /// At most `most` damaged files of a folder after a name that are wanted, with what is wanted.
    pub fn damaged_after(
        &self,
        folder: &FolderName,
        after: Option<&FileName>,
        most: usize,
    ) -> Result<Vec<(FileName, Option<MissingRecord>)>, RepositoryError> {
        let snapshot = self.state.index.read()?;
        let damaged = snapshot.damaged_after(folder, after, most)?;
        let missing = |(name, _)| Ok((snapshot.missing(folder, &name)?, name));
        let found: Result<Vec<_>, RepositoryError> = damaged.into_iter().map(missing).collect();
        Ok(found?.into_iter().map(|(missing, name)| (name, missing)).collect())
    }

    /// A damaged file is whole again; `from` says where its content came from.
    pub fn on_healed(&self, folder: &FolderName, name: &FileName, from: &str) {
        tracing::info!(%folder, %name, from, "a damaged file is whole again");
        let alarm = Alarm::ContentDamaged(folder.clone(), name.clone());
        if self.attention.stands(&alarm) {
            let what = format!("{folder}/{name} was damaged on this disk; it is whole again, from {from}");
            self.attention.raise(alarm, what, "look at the disk's health");
        }
    }
}

/// The rows of one bad file; `true` if its content is wanted.
fn condemn(
    batch: &mut Batch<'_>,
    folder: &FolderName,
    name: &FileName,
    damage: &DamageRecord,
) -> Result<bool, RepositoryError> {
    batch.files.remove_holding(folder, name)?;
    batch.files.put_intent(folder, name)?;
    let body = batch.entries.get(&Namespace::folder(folder), name.as_str().as_bytes())?;
    let indexed = body.as_deref().and_then(Body::value_of).map(FileRecord::decode).transpose()?;
    let missing: Option<MissingRecord> = indexed.map(Into::into);
    batch.files.set_missing(folder, name, missing.as_ref())?;
    batch.put_damage(folder, name, damage, missing.is_some())?;
    Ok(missing.is_some())
}
