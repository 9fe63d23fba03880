//! Content that leaves under one name and is named by another in the same step, as after a rename at the
//! main, takes the other name before the first goes to the trash: it is not fetched again.

use super::{error::RepositoryError, follow::Applied, in_order::Turn, open::Repository, receive::Arrival};
use crate::{
    catalog::{HoldingRecord, MissingRecord},
    domain::{
        digest::Root,
        name::{FileName, FolderName},
    },
};
use std::collections::BTreeMap;

/// Files that are staged before they take their names in one commit.
const GROUP: usize = 500;

impl Repository {
    /// Gives what was removed the names that want it. What can't be kept is fetched like any other file.
    pub(super) fn keep_renamed(&self, applied: &Applied) {
        let removed = applied.removed.iter().map(|(folder, name, held)| ((folder, held.root), (name, held)));
        let removed: BTreeMap<(&FolderName, Root), (&FileName, &HoldingRecord)> = removed.collect();
        let mut arrivals = Vec::new();
        for (folder, name, wanted) in &applied.named {
            let Some((from, held)) = removed.get(&(folder, wanted.root)) else { continue };
            match self.stage_renamed(folder, from, held, name, wanted) {
                Ok(arrival) => arrivals.extend(arrival),
                Err(error) => warn(&error),
            }
            if arrivals.len() >= GROUP {
                self.receive(std::mem::take(&mut arrivals)).unwrap_or_else(|error| warn(&error));
            }
        }
        self.receive(arrivals).unwrap_or_else(|error| warn(&error));
    }

    fn stage_renamed(
        &self,
        folder: &FolderName,
        from: &FileName,
        held: &HoldingRecord,
        name: &FileName,
        wanted: &MissingRecord,
    ) -> Result<Option<Arrival>, RepositoryError> {
        if self.state.index.read()?.missing(folder, name)? != Some(*wanted)
            || self.turn(folder, name, wanted)? != Turn::Any
        {
            return Ok(None);
        }
        let staged = self.stage_from(self.folder(folder)?, from, held, name, wanted)?;
        let arrival = |staged| Arrival { folder: folder.clone(), name: name.clone(), wanted: *wanted, staged };
        Ok(staged.map(arrival))
    }
}

fn warn(error: &RepositoryError) {
    tracing::warn!(error = error as &dyn std::error::Error, "a renamed file is fetched anew");
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, adopt, fetch, folder, follow, immutable, is_held, rescan};
    use std::fs;

    #[test]
    fn content_that_was_renamed_while_nobody_looked_is_kept_and_not_fetched_again() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        let (kb, renamed) = (immutable("kb", b"content"), immutable("other", b"content"));
        place.write(&kb, b"content");
        place.write("mutable", b"changes");
        adopt(&main, &[&kb, "mutable"]).unwrap();
        follow(&main, &child).unwrap();
        fetch(&main, &child).unwrap();
        fs::rename(place.path(&kb), place.path(&renamed)).unwrap();
        fs::rename(place.path("mutable"), place.path("moved")).unwrap();
        rescan(&main);
        follow(&main, &child).unwrap();
        assert!(is_held(&child, &renamed) && is_held(&child, "moved"));
        assert!(!is_held(&child, &kb) && below.read(&kb).is_none() && below.read("mutable").is_none());
        assert_eq!(below.read("moved").unwrap(), b"changes");
        assert_eq!(fetch(&main, &child).unwrap(), [""; 0]);
        assert_eq!(child.state.index.read().unwrap().totals(&folder()).unwrap().missing_files, 0);
    }

    #[test]
    fn a_renamed_file_that_was_spoilt_meanwhile_is_fetched() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        place.write("a", b"content");
        adopt(&main, &["a"]).unwrap();
        follow(&main, &child).unwrap();
        fetch(&main, &child).unwrap();
        fs::rename(place.path("a"), place.path("b")).unwrap();
        rescan(&main);
        let modified = fs::metadata(below.path("a")).unwrap().modified().unwrap();
        fs::write(below.path("a"), b"c0ntent").unwrap();
        fs::File::options().append(true).open(below.path("a")).unwrap().set_modified(modified).unwrap();
        follow(&main, &child).unwrap();
        assert!(!is_held(&child, "b"));
        assert_eq!(fetch(&main, &child).unwrap(), ["b"]);
        assert_eq!(below.read("b").unwrap(), b"content");
    }
}
