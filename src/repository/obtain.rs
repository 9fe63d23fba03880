//! Wanted content that lies on this disk already needs no network.

use super::{
    error::RepositoryError,
    examine::Examined,
    find::{holds, is_absent},
    open::{Folder, Repository},
    receive::commit_arrivals,
};
use crate::{
    catalog::{HoldingRecord, MissingRecord},
    domain::name::{FileName, FolderName},
    store::{disk::Stat, hash::hash_file, staging::Staged},
};

/// Holders of one content that are tried.
const MAX_HOLDERS: usize = 8;

/// What this disk can do for a missing file.
pub enum LocalSource {
    /// It was there, or is wanted no longer; the rows say so.
    Settled,
    /// A copy or a second name of it is staged.
    Staged(Staged),
    /// Nothing: it must be fetched.
    Nothing,
}

impl Repository {
    /// Looks for wanted content on this disk: under its own name (seeded by hand, or with another
    /// mtime), or under another name of the folder. Blocks; may hash the file.
    pub fn obtain_locally(
        &self,
        folder: &FolderName,
        name: &FileName,
        wanted: &MissingRecord,
    ) -> Result<LocalSource, RepositoryError> {
        let open = self.folder(folder)?;
        let lies_there = open.stat_file(name)?.is_some_and(|stat| stat.size == wanted.size);
        if lies_there && self.settle_in_place(open, name, wanted)? {
            return Ok(LocalSource::Settled);
        }
        let holders = self.state.index.read()?.holders(&wanted.root, MAX_HOLDERS)?;
        for (_, other) in holders.iter().filter(|(of, other)| of == folder && other != name) {
            if let Some(staged) = self.stage_second(open, other, name, wanted)? {
                return Ok(LocalSource::Staged(staged));
            }
        }
        Ok(LocalSource::Nothing)
    }

    /// A file that lies under its name with the wanted content needs at most another mtime.
    fn settle_in_place(&self, open: &Folder, name: &FileName, wanted: &MissingRecord) -> Result<bool, RepositoryError> {
        let Some((stamp, found)) = self.content_in_place(open, name)? else { return Ok(false) };
        if found != wanted.root {
            return Ok(false);
        }
        open.staging.sync_in_place(&[name]).map_err(RepositoryError::io("syncing", name))?;
        let writer = self.writer();
        let snapshot = self.state.index.read()?;
        if snapshot.missing(&open.name, name)? != Some(*wanted) {
            return Ok(true);
        }
        if open.stat_file(name)? != Some(stamp) {
            return Ok(false);
        }
        let mut stat = stamp;
        if stamp.modified_ns != wanted.modified.saturating_mul(1_000_000_000)
            && !self.shares_inode(open, name, wanted, &stamp)?
        {
            stat = open.staging.set_modified(name, wanted.modified).map_err(RepositoryError::io("dating", name))?;
            open.staging.sync_in_place(&[name]).map_err(RepositoryError::io("syncing", name))?;
        }
        commit_arrivals(&self.state.index, &open.name, &[(name.clone(), *wanted, stat)])?;
        drop(writer);
        self.note_change();
        Ok(true)
    }

    /// The content under a name: as the rows know it, or hashed.
    fn content_in_place(
        &self,
        open: &Folder,
        name: &FileName,
    ) -> Result<Option<(Stat, crate::domain::digest::Root)>, RepositoryError> {
        let known = self.state.index.read()?.holding(&open.name, name)?;
        let Some(stat) = open.stat_file(name)? else { return Ok(None) };
        if let Some(holding) = known.filter(|holding| holds(&stat, holding)) {
            return Ok(Some((stat, holding.root)));
        }
        match self.examine(&open.name, name)? {
            Examined::Ready(file) => Ok(Some((file.stamp, file.root()))),
            _ => Ok(None),
        }
    }

    /// Another name of the same inode would get the other mtime as well, and look edited.
    fn shares_inode(
        &self,
        open: &Folder,
        name: &FileName,
        wanted: &MissingRecord,
        stat: &Stat,
    ) -> Result<bool, RepositoryError> {
        let snapshot = self.state.index.read()?;
        for (folder, other) in snapshot.holders(&wanted.root, MAX_HOLDERS)? {
            let holding = snapshot.holding(&folder, &other)?;
            if (folder == open.name && other != *name) && holding.is_some_and(|holding| holding.inode == stat.inode) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A second name between immutable names, else a copy: any program may write the others in place.
    fn stage_second(
        &self,
        open: &Folder,
        other: &FileName,
        name: &FileName,
        wanted: &MissingRecord,
    ) -> Result<Option<Staged>, RepositoryError> {
        let Some(holding) = self.state.index.read()?.holding(&open.name, other)? else { return Ok(None) };
        if self.open_holding(&open.name, other, &holding)?.is_none() {
            return Ok(None);
        }
        let immutable = name.is_immutable() && other.is_immutable();
        let staged = match open.staging.link_or_copy(other, wanted.modified, immutable) {
            Err(error) if is_absent(&error) => return Ok(None),
            staged => staged.map_err(RepositoryError::io("copying", other))?,
        };
        if is_sound(open, &staged, &holding).map_err(RepositoryError::io("reading the copy of", other))? {
            return Ok(Some(staged));
        }
        self.note_fault(&open.name, other);
        open.staging.discard(&staged).map_err(RepositoryError::io("discarding the copy of", other))?;
        Ok(None)
    }
}

/// A second name is the very inode that was verified; a copy is verified again, so that no rot spreads.
fn is_sound(open: &Folder, staged: &Staged, holding: &HoldingRecord) -> std::io::Result<bool> {
    let file = open.staging.open_staged(staged)?;
    let stat = file.stat()?;
    if stat.inode == holding.inode {
        return Ok(holds(&stat, holding));
    }
    if stat.size != holding.size {
        return Ok(false);
    }
    Ok(hash_file(file.as_ref(), holding.size, false, None, &mut |_| {})?.root == holding.root)
}
