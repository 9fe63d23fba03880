//! Content by its root, for other repositories.

use super::{
    error::RepositoryError,
    find::{holds, is_absent},
    open::Repository,
};
use crate::{
    base::read_at::ReadAt,
    catalog::HoldingRecord,
    domain::{
        digest::Root,
        name::{FileName, FolderName},
    },
    store::{disk::DiskFile, hash::hash_file, segment::GROUP_BYTES},
};
use std::sync::Arc;

/// Names that are tried for one content before giving up.
const MAX_HOLDERS: usize = 8;

/// An open blob with its hash tree.
#[derive(Clone)]
pub struct Blob {
    /// Its length in bytes.
    pub size: u64,
    /// Its bytes.
    pub data: Arc<dyn ReadAt>,
    /// Its outboard; a blob of one group has none.
    pub outboard: Option<Arc<dyn ReadAt>>,
}

impl Repository {
    /// Opens a content that is held here. Blocks; hashes the file again if its outboard was lost.
    pub fn open_blob(&self, root: &Root) -> Result<Option<Blob>, RepositoryError> {
        let snapshot = self.state.index.read()?;
        for (folder, name) in snapshot.holders(root, MAX_HOLDERS)? {
            let Some(holding) = snapshot.holding(&folder, &name)? else { continue };
            if holding.root != *root {
                continue;
            }
            if let Some(file) = self.open_holding(&folder, &name, &holding)? {
                return Ok(Some(self.blob(file, &name, &holding)?));
            }
        }
        Ok(None)
    }

    /// Opens a file that still is what was verified; else notes the fault.
    pub(super) fn open_holding(
        &self,
        folder: &FolderName,
        name: &FileName,
        holding: &HoldingRecord,
    ) -> Result<Option<Arc<dyn DiskFile>>, RepositoryError> {
        let Some(open) = self.folders.get(folder) else { return Ok(None) };
        let file = match open.staging.open_file(name) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => {
                self.note_fault(folder, name);
                return Ok(None);
            }
            Err(error) => return Err(RepositoryError::io("opening", name)(error)),
        };
        if holds(&file.stat().map_err(RepositoryError::io("looking at", name))?, holding) {
            return Ok(Some(file));
        }
        self.note_fault(folder, name);
        Ok(None)
    }

    fn blob(&self, file: Arc<dyn DiskFile>, name: &FileName, holding: &HoldingRecord) -> Result<Blob, RepositoryError> {
        let outboard: Option<Arc<dyn ReadAt>> =
            if holding.size <= GROUP_BYTES { None } else { Some(self.outboard(file.as_ref(), name, holding)?) };
        Ok(Blob { size: holding.size, data: file, outboard })
    }

    fn outboard(
        &self,
        file: &dyn DiskFile,
        name: &FileName,
        holding: &HoldingRecord,
    ) -> Result<Arc<dyn DiskFile>, RepositoryError> {
        let outboards = &self.state.outboards;
        let io = || RepositoryError::io("reading the hash tree of", name);
        if let Some(outboard) = outboards.read(holding.root, holding.size).map_err(io())? {
            return Ok(outboard);
        }
        if let Some(new) = outboards.begin(holding.size).map_err(io())? {
            let hashed = hash_file(file, holding.size, false, Some(new.file()), &mut |_| {}).map_err(io())?;
            outboards.adopt(new, hashed.root).map_err(io())?;
        }
        let found = outboards.read(holding.root, holding.size).map_err(io())?;
        found.ok_or_else(|| io()(std::io::ErrorKind::InvalidData.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{OLD, Place, adopt, bytes_of, folder, name, root_of};
    use std::fs;

    #[test]
    fn a_content_is_found_under_any_name_that_still_holds_it() {
        let place = Place::new();
        let main = place.main();
        ["a", "b"].iter().for_each(|name| place.write(name, b"same"));
        adopt(&main, &["a", "b"]).unwrap();
        place.write_at("a", b"other", OLD + 1);
        let blob = main.open_blob(&root_of(b"same")).unwrap().unwrap();
        assert_eq!((bytes_of(&*blob.data, blob.size), blob.outboard.is_none()), (b"same".to_vec(), true));
        assert_eq!(main.take_faults(&folder()), [name("a")]);
        fs::remove_file(place.path("b")).unwrap();
        assert!(main.open_blob(&root_of(b"same")).unwrap().is_none());
        assert!(main.open_blob(&root_of(b"never")).unwrap().is_none());
    }

    #[test]
    fn an_outboard_that_was_lost_is_made_anew() {
        let place = Place::new();
        let main = place.main();
        let bytes = vec![5; 300_000];
        place.write("a", &bytes);
        adopt(&main, &["a"]).unwrap();
        main.state.outboards.remove(root_of(&bytes)).unwrap();
        let blob = main.open_blob(&root_of(&bytes)).unwrap().unwrap();
        assert!(blob.outboard.is_some() && blob.size == 300_000);
        assert!(main.state.outboards.read(root_of(&bytes), 300_000).unwrap().is_some());
    }
}
