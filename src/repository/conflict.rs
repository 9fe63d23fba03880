//! One base name has one digest: the first file of a base name stays, a second one with another digest
//! is listed and stays out of the index while the first is there.
//!
//! Files that were kept out are remembered as they were examined, so that the end of the first lets
//! them in without reading them again.

use super::{
    attention::{Trouble, lock},
    error::RepositoryError,
    examine::Adoptable,
    open::Repository,
};
use crate::{
    catalog::Snapshot,
    domain::{
        name::{FileName, FolderName},
        state::{Body, Namespace},
    },
};

/// Files that are remembered; the others wait for the next scan.
const MAX_REMEMBERED: usize = 1_000;
/// Names of one beginning that are looked at in one go, and how often.
const PAGE: usize = 64;
const PAGES: usize = 16;

impl Repository {
    /// Those of `found` that may enter the index; the others are listed with the name that was first.
    pub(super) fn without_conflicts<'a>(
        &self,
        found: Vec<&'a Adoptable>,
    ) -> Result<Vec<&'a Adoptable>, RepositoryError> {
        let snapshot = self.state.index.read()?;
        let mut kept: Vec<&Adoptable> = Vec::with_capacity(found.len());
        for file in found {
            let among_them =
                || kept.iter().find(|other| other.folder == file.folder && is_rival(&other.name, &file.name));
            let first = match first_of(&snapshot, &file.folder, &file.name)? {
                Some(first) => Some(first),
                None => among_them().map(|other| other.name.clone()),
            };
            match first.filter(|_| !is_indexed(&snapshot, file).unwrap_or(true)) {
                Some(first) => self.keep_out(file, first),
                None => kept.push(file),
            }
        }
        Ok(kept)
    }

    /// Lets files in whose first is gone.
    pub(super) fn release_conflicts(&self, folder: &FolderName) -> Result<(), RepositoryError> {
        let waiting: Vec<_> = lock(&self.conflicts).keys().filter(|(of, _)| of == folder).cloned().collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let snapshot = self.state.index.read()?;
        let mut free = Vec::new();
        for key in waiting {
            if first_of(&snapshot, folder, &key.1)?.is_none() {
                free.extend(lock(&self.conflicts).remove(&key));
            }
        }
        for file in &free {
            self.troubles.clear(folder, &file.name);
        }
        // What changed meanwhile is met by whoever saw the change.
        self.publish(&free).map(drop)
    }

    fn keep_out(&self, file: &Adoptable, first: FileName) {
        self.troubles.note(&file.folder, file.name.as_str(), Trouble::Conflict(first));
        let mut conflicts = lock(&self.conflicts);
        let key = (file.folder.clone(), file.name.clone());
        if conflicts.len() < MAX_REMEMBERED || conflicts.contains_key(&key) {
            conflicts.insert(key, file.clone());
        }
    }
}

fn is_indexed(snapshot: &Snapshot, file: &Adoptable) -> Result<bool, RepositoryError> {
    let body = snapshot.entry(&Namespace::folder(&file.folder), file.name.as_str().as_bytes())?;
    Ok(body.as_deref().and_then(Body::value_of).is_some())
}

/// The file that has the base name of `name` already, held or withheld.
fn first_of(snapshot: &Snapshot, folder: &FolderName, name: &FileName) -> Result<Option<FileName>, RepositoryError> {
    let Some((before, _)) = name.around_digest() else { return Ok(None) };
    let Ok(beginning) = FileName::new(&format!("{before}_")) else { return Ok(None) };
    let held = first_among(&beginning, name, |after| {
        Ok(snapshot.holdings_after(folder, Some(after), PAGE)?.into_iter().map(|(name, _)| name).collect())
    })?;
    match held {
        Some(held) => Ok(Some(held)),
        None => first_among(&beginning, name, |after| {
            Ok(snapshot.missing_after(folder, Some(after), PAGE)?.into_iter().map(|(name, _)| name).collect())
        }),
    }
}

fn first_among(
    beginning: &FileName,
    name: &FileName,
    page_after: impl Fn(&FileName) -> Result<Vec<FileName>, RepositoryError>,
) -> Result<Option<FileName>, RepositoryError> {
    let mut after = beginning.clone();
    for _ in 0..PAGES {
        let page = page_after(&after)?;
        let same = page.iter().take_while(|other| other.as_str().starts_with(beginning.as_str()));
        if let Some(rival) = same.clone().find(|other| is_rival(other, name)) {
            return Ok(Some(rival.clone()));
        }
        match page.last() {
            Some(last) if page.len() == PAGE && same.count() == PAGE => after = last.clone(),
            _ => break,
        }
    }
    Ok(None)
}

/// Whether two names are one base name with two digests.
fn is_rival(one: &FileName, other: &FileName) -> bool {
    one.around_digest().is_some()
        && one.around_digest() == other.around_digest()
        && one.promised_sha1() != other.promised_sha1()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, adopt, folder, immutable, indexed, is_held, name, rescan};
    use super::*;
    use std::fs;

    #[test]
    fn a_second_digest_under_one_base_name_is_listed_and_enters_when_the_first_is_gone() {
        let place = Place::new();
        let main = place.main();
        let (first, second, other) = (immutable("kb", b"first"), immutable("kb", b"second"), immutable("kb_x", b"x"));
        ["a", "b", "c", "d", "e", "f"].iter().for_each(|name| place.write(name, name.as_bytes()));
        place.write(&first, b"first");
        rescan(&main);
        place.write(&second, b"second");
        place.write(&other, b"x");
        rescan(&main);
        assert!(is_held(&main, &first) && is_held(&main, &other) && indexed(&main, &second).is_none());
        assert_eq!(main.troubles.listed(&folder()), [(second.clone(), Trouble::Conflict(name(&first)))]);
        fs::remove_file(place.path(&first)).unwrap();
        main.remove_gone(&folder(), &[name(&first)]).unwrap();
        assert!(is_held(&main, &second) && indexed(&main, &second).is_some() && indexed(&main, &first).is_none());
        assert_eq!(main.troubles.listed(&folder()), []);
    }

    #[test]
    fn what_the_index_names_already_is_no_conflict() {
        let place = Place::new();
        let main = place.main();
        let (first, second) = (immutable("kb", b"first"), immutable("kb", b"second"));
        place.write(&first, b"first");
        adopt(&main, &[&first]).unwrap();
        place.write_at(&first, b"first", super::super::testing::OLD + 1);
        adopt(&main, &[&first]).unwrap();
        assert!(is_held(&main, &first));
        place.write(&format!("sub/{second}"), b"second");
        adopt(&main, &[&format!("sub/{second}")]).unwrap();
        assert!(indexed(&main, &format!("sub/{second}")).is_some(), "another directory is another base name");
    }
}
