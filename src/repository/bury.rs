//! Bytes follow their rows to the trash: in groups, and again after whatever interrupted them.
//!
//! Order of events: the row went with an intent; the file moves; the move is made durable; directories
//! that are empty by that go; the intent goes. A file that was received anew meanwhile has no intent and stays.

use super::{
    attention::Alarm,
    error::RepositoryError,
    find::is_absent,
    open::{Folder, Repository},
};
use crate::domain::name::{FileName, FolderName};
use std::collections::BTreeMap;

/// Files that move under one lock and leave in one commit.
const GROUP: usize = 500;
const DOING: &str = "moving removed files to the trash";

impl Repository {
    /// Carries out every intent. One that can't be is kept for the next time, with an alarm.
    pub(super) fn bury(&self) -> Result<(), RepositoryError> {
        let mut after = None;
        let mut failed = None;
        loop {
            let writer = self.writer(); // nothing may arrive under these names meanwhile
            let group = self.state.index.read()?.intents_after(after.as_ref(), GROUP)?;
            if group.is_empty() {
                break;
            }
            failed = self.bury_group(&group)?.or(failed);
            after = group.into_iter().next_back();
            drop(writer);
        }
        self.tell_of_burial(failed.as_ref());
        Ok(())
    }

    /// An alarm stands while bytes can't follow their rows.
    pub(super) fn tell_of_burial(&self, failed: Option<&RepositoryError>) {
        match failed {
            Some(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "{DOING} failed");
                let cure = "let the daemon's user write in the folder; it is tried again every hour";
                self.attention.raise(Alarm::Failing(DOING), format!("{DOING} failed: {error}"), cure);
            }
            None => self.attention.clear(&Alarm::Failing(DOING)),
        }
    }

    /// Answers with the last failure of a single file.
    pub(super) fn bury_group(
        &self,
        group: &[(FolderName, FileName)],
    ) -> Result<Option<RepositoryError>, RepositoryError> {
        let now = self.clock.unix_seconds();
        let mut failed = None;
        let mut moved: BTreeMap<&FolderName, Vec<(&FileName, String)>> = BTreeMap::new();
        for (folder, name) in group {
            let trash = |open: &Folder| match open.stat_file(name) {
                Ok(None) => Ok(String::new()),
                _ => open.staging.trash(name, now),
            };
            match self.folders.get(folder).map_or(Ok(String::new()), trash) {
                Err(error) if !is_absent(&error) => {
                    failed = Some(RepositoryError::io("moving to the trash", name)(error));
                }
                moved_to => moved.entry(folder).or_default().push((name, moved_to.unwrap_or_default())),
            }
        }
        for (folder, names) in &moved {
            let Some(open) = self.folders.get(*folder) else { continue };
            let synced = open.staging.sync_trashed(names.iter().map(|(name, path)| (*name, path.as_str())));
            synced.map_err(RepositoryError::io("syncing directories of", folder))?;
            names.iter().for_each(|(name, _)| open.staging.remove_empty_parents(name));
        }
        self.state.index.write(|batch| {
            let all = moved.iter().flat_map(|(folder, names)| names.iter().map(move |(name, _)| (folder, name)));
            all.into_iter().try_for_each(|(folder, name)| batch.files.clear_intent(folder, name))
        })?;
        Ok(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, adopt, fetch, folder, follow, name};
    use std::fs;

    #[test]
    fn directories_go_with_the_last_file_beneath_them_and_the_folder_stays() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        let files = ["d/e/f", "g/h", "top"];
        files.iter().for_each(|name| place.write(name, b"x"));
        adopt(&main, &files).unwrap();
        follow(&main, &child).unwrap();
        fetch(&main, &child).unwrap();
        below.write("g/own", b"own");
        files.iter().for_each(|name| fs::remove_file(place.path(name)).unwrap());
        main.remove_gone(&folder(), &files.map(name)).unwrap();
        follow(&main, &child).unwrap();
        assert!(!below.path("d").exists() && !below.path("g/h").exists() && !below.path("top").exists());
        assert!(below.path("g/own").exists() && below.path("").exists());
        assert!(place.path("d/e").exists(), "a main's tree is not touched");
    }
}
