//! What is kept of a name beside what has it: one file of each, on the folder's own mount.
//!
//! Order of events when a name gets another file: [`Staging::keep`] gives the old one a second name, the new one
//! takes the name, and [`Staging::settle_kept`] puts the old one in the place of what was kept before. What a
//! power cut leaves between these, [`Staging::sweep_kept`] ends.

use super::{
    disk::{DiskFile, Kind, Open, Replace, Stat},
    layout,
    staging::{Staged, Staging},
};
use crate::domain::name::FileName;
use std::{io, sync::Arc};

/// What is kept of a name, open for reading.
pub struct KeptFile {
    /// As what it can take its name again.
    pub staged: Staged,
    /// Its bytes.
    pub file: Arc<dyn DiskFile>,
    /// Its length and its time.
    pub stat: Stat,
}

impl Staging {
    /// Gives a file of the folder a second name, under which it is kept once it is settled. Where the file system
    /// has no second names, it is moved.
    pub fn keep(&self, name: &FileName) -> io::Result<()> {
        let next = layout::kept_next(name);
        self.disk().make_directory(self.stage_root().at(layout::KEPT))?;
        self.disk().sync_directory(self.stage_root().at(""))?;
        self.remove_if_there(&next)?;
        self.second_name(name, &next)?;
        self.disk().sync_directory(self.stage_root().at(layout::KEPT))
    }

    /// What [`Staging::keep`] set aside is what is kept, in the place of what was kept before.
    pub fn settle_kept(&self, name: &FileName) -> io::Result<()> {
        let (from, to) = (layout::kept_next(name), layout::kept(name));
        match self.disk().rename(self.stage_root().at(&from), self.stage_root().at(&to), Replace::Yes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed.and_then(|()| self.disk().sync_directory(self.stage_root().at(layout::KEPT))),
        }
    }

    /// What is kept of a name.
    pub fn kept(&self, name: &FileName) -> io::Result<Option<KeptFile>> {
        let path = layout::kept(name);
        let file = match self.disk().open(self.stage_root().at(&path), Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let stat = file.stat()?;
        Ok(Some(KeptFile { staged: Staged { path, size: stat.size, companion: None, stat: None }, file, stat }))
    }

    /// A copy of a file of the folder rests in the trash: a second name, or the file itself where the file system
    /// has none. `now_unix` is in seconds since 1970 UTC. Not synced.
    pub fn rest_copy(&self, name: &FileName, now_unix: u64) -> io::Result<()> {
        self.to_trash(name, now_unix, |path| self.second_name(name, path)).map(drop)
    }

    /// Ends what a power cut left between [`Staging::keep`] and [`Staging::settle_kept`].
    pub fn sweep_kept(&self) -> io::Result<()> {
        let mut left = Vec::new();
        let listed = self.disk().list(self.stage_root().at(layout::KEPT), &mut |name, _| {
            left.extend(layout::name_of_kept_next(name));
        });
        match listed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            listed => listed?,
        }
        for name in left {
            let next = layout::kept_next(&name);
            let kept = self.disk().stat(self.stage_root().at(&next))?;
            let is_there_too = |stat: Stat| stat.kind == Kind::File && stat.inode == kept.inode;
            match self.stat(&name) {
                Ok(stat) if is_there_too(stat) => self.remove_if_there(&next)?,
                _ => self.settle_kept(&name)?,
            }
        }
        Ok(())
    }

    fn second_name(&self, name: &FileName, path: &str) -> io::Result<()> {
        let (from, to) = (self.folder_root().at(name.as_str()), self.stage_root().at(path));
        match self.disk().link(from, to) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => self.disk().rename(from, to, Replace::No),
            linked => linked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::staging::tests::{Place, name, place};
    use std::fs;

    const CAB: &str = "wsusscn2.cab";

    fn kept(place: &Place) -> Option<Vec<u8>> {
        fs::read(place.stage("kept/wsusscn2.cab")).ok()
    }

    fn replace(place: &Place, bytes: &[u8]) {
        let staged = place.staging.stage_bytes(bytes, 0).unwrap();
        place.staging.publish(&staged, &name(CAB), Replace::Yes).unwrap();
    }

    #[test]
    fn the_file_before_is_kept_and_that_before_it_goes() {
        let place = place();
        fs::write(place.folder(CAB), "1").unwrap();
        for (new, before) in [("2", "1"), ("3", "2")] {
            place.staging.keep(&name(CAB)).unwrap();
            replace(&place, new.as_bytes());
            place.staging.settle_kept(&name(CAB)).unwrap();
            assert_eq!(kept(&place).unwrap(), before.as_bytes());
            assert_eq!(fs::read(place.folder(CAB)).unwrap(), new.as_bytes());
            let KeptFile { staged, stat, .. } = place.staging.kept(&name(CAB)).unwrap().unwrap();
            assert_eq!((staged.size, stat.size, fs::read_dir(place.stage("kept")).unwrap().count()), (1, 1, 1));
        }
        assert!(place.staging.kept(&name("other")).unwrap().is_none());
    }

    #[test]
    fn what_a_power_cut_left_is_kept_if_the_name_has_another_file_and_else_goes() {
        let place = place();
        place.staging.sweep_kept().unwrap();
        fs::write(place.folder(CAB), "1").unwrap();
        place.staging.keep(&name(CAB)).unwrap();
        place.staging.sweep_kept().unwrap();
        assert_eq!((kept(&place), fs::read_dir(place.stage("kept")).unwrap().count()), (None, 0));
        place.staging.keep(&name(CAB)).unwrap();
        replace(&place, b"2");
        place.staging.sweep_kept().unwrap();
        assert_eq!((kept(&place).unwrap(), fs::read(place.folder(CAB)).unwrap()), (b"1".to_vec(), b"2".to_vec()));
    }

    #[test]
    fn a_copy_rests_in_the_trash_and_the_name_keeps_its_file() {
        let place = place();
        fs::write(place.folder(CAB), "1").unwrap();
        place.staging.rest_copy(&name(CAB), 77).unwrap();
        place.staging.rest_copy(&name(CAB), 77).unwrap();
        assert_eq!(place.staging.trash_usage().unwrap().files, 2);
        assert_eq!(fs::read(place.folder(CAB)).unwrap(), b"1");
        assert_eq!(fs::read(place.stage("trash/77/wsusscn2.cab")).unwrap(), b"1");
    }
}
