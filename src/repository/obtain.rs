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
        self.stage_from(open, other, &holding, name, wanted)
    }

    /// As [`Self::stage_second`], of a file whose row may be gone already.
    pub(super) fn stage_from(
        &self,
        open: &Folder,
        other: &FileName,
        holding: &HoldingRecord,
        name: &FileName,
        wanted: &MissingRecord,
    ) -> Result<Option<Staged>, RepositoryError> {
        if self.open_holding(&open.name, other, holding)?.is_none() {
            return Ok(None);
        }
        let immutable = name.is_immutable() && other.is_immutable();
        let staged = match open.staging.link_or_copy(other, wanted.modified, immutable) {
            Err(error) if is_absent(&error) => return Ok(None),
            staged => staged.map_err(RepositoryError::io("copying", other))?,
        };
        if is_sound(open, &staged, holding).map_err(RepositoryError::io("reading the copy of", other))? {
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

#[cfg(test)]
mod tests {
    use super::super::testing::{
        OLD, Place, adopt, fetch, folder, follow, immutable, is_held, is_listed, is_missing, name, rescan,
    };
    use super::*;
    use std::{fs, os::unix::fs::MetadataExt};

    const BYTES: &[u8] = b"content";

    fn pair() -> (Place, Repository, Place, Repository) {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        (place, main, below, child)
    }

    fn inode(place: &Place, name: &str) -> u64 {
        fs::metadata(place.path(name)).unwrap().ino()
    }

    fn spread(place: &Place, main: &Repository, child: &Repository, names: &[&str]) -> Vec<String> {
        for (n, name) in names.iter().enumerate() {
            place.write_at(name, BYTES, OLD + n as u64);
        }
        adopt(main, names).unwrap();
        follow(main, child).unwrap();
        fetch(main, child).unwrap()
    }

    #[test]
    fn a_seeded_file_needs_at_most_another_time() {
        let (place, main, below, child) = pair();
        below.write_at("f", BYTES, OLD + 999);
        assert_eq!(spread(&place, &main, &child, &["f"]), [""; 0]);
        assert!(is_listed(&child, "f") && !is_missing(&child, "f"));
        assert_eq!(fs::metadata(below.path("f")).unwrap().mtime(), OLD as i64);
        assert_eq!(rescan(&child), 0);
    }

    #[test]
    fn a_seeded_file_with_other_content_is_no_help() {
        let (place, main, below, child) = pair();
        below.write("f", b"CONTENT");
        assert_eq!(spread(&place, &main, &child, &["f"]), ["f"]);
        assert_eq!(below.read("f").unwrap(), BYTES);
    }

    #[test]
    fn equal_content_is_one_inode_between_immutable_names_and_copied_between_others() {
        let (place, main, below, child) = pair();
        let (one, two) = (immutable("one", BYTES), immutable("two", BYTES));
        assert_eq!(spread(&place, &main, &child, &[&one, &two, "x", "y"]), std::slice::from_ref(&one));
        assert_eq!(inode(&below, &one), inode(&below, &two));
        assert_eq!(below.read("y").unwrap(), BYTES);
        let own: std::collections::BTreeSet<_> = [&one, "x", "y"].iter().map(|name| inode(&below, name)).collect();
        assert_eq!(own.len(), 3);
        assert!([&one, &two, "x", "y"].iter().all(|name| is_held(&child, name)));
    }

    #[test]
    fn rot_does_not_spread_by_copying() {
        let (place, main, below, child) = pair();
        spread(&place, &main, &child, &["x"]);
        let modified = fs::metadata(below.path("x")).unwrap().modified().unwrap();
        fs::write(below.path("x"), b"c0ntent").unwrap();
        fs::File::options().append(true).open(below.path("x")).unwrap().set_modified(modified).unwrap();
        assert_eq!(spread(&place, &main, &child, &["x", "y"]), ["y"]);
        assert_eq!(below.read("y").unwrap(), BYTES);
        assert_eq!(fs::read_dir(below.stage("incoming")).unwrap().count(), 0);
    }

    #[test]
    fn what_is_wanted_no_longer_is_settled() {
        let (place, main, below, child) = pair();
        spread(&place, &main, &child, &["f"]);
        let stale = MissingRecord { root: super::super::testing::root_of(BYTES), size: 7, modified: 1 };
        let settled = child.obtain_locally(&folder(), &name("f"), &stale).unwrap();
        assert!(matches!(settled, LocalSource::Settled));
        assert_eq!(fs::metadata(below.path("f")).unwrap().mtime(), OLD as i64);
    }
}
