//! Where tree, holdings and index disagree, by reading every byte; and what Microsoft's index tells otherwise.

use super::{
    attention::Trouble,
    error::RepositoryError,
    find::{holds, is_absent},
    open::Repository,
    scan::trouble_of,
};
use crate::{
    base::read_at::ReadAt,
    catalog::HoldingRecord,
    domain::{
        file::FileRecord,
        name::{FileName, FolderName},
        state::{Body, Namespace},
    },
    store::{disk::DiskFile, verified::verify, walk::Walked},
};
use std::sync::Arc;

/// Rows that are looked through in one go.
const PAGE: usize = 500;
/// Disagreements that are named: a person reads no more.
const MAX_FINDINGS: usize = 10_000;

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The folder.
    pub folder: FolderName,
    /// The file, as it is called on disk.
    pub name: String,
    /// What disagrees.
    pub what: String,
}

/// What a check read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckSummary {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Disagreements, 10,000 at most.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub unnamed: u64,
    /// What is left alone for its name, kind or rights, 10,000 at most: no disagreement.
    pub left_alone: Vec<LeftAlone>,
    /// How many more there are.
    pub left_alone_unnamed: u64,
}

/// Something in a folder that is never mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    /// The folder.
    pub folder: FolderName,
    /// As it is called on disk.
    pub name: String,
    /// Why.
    pub trouble: Trouble,
}

impl CheckSummary {
    fn note(&mut self, folder: &FolderName, name: &str, what: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { folder: folder.clone(), name: name.to_owned(), what: what.into() });
        } else {
            self.unnamed += 1;
        }
    }

    fn leave_alone(&mut self, folder: &FolderName, name: String, trouble: Trouble) {
        if self.left_alone.len() < MAX_FINDINGS {
            self.left_alone.push(LeftAlone { folder: folder.clone(), name, trouble });
        } else {
            self.left_alone_unnamed += 1;
        }
    }
}

impl Repository {
    /// Reads every holding and compares it with its root, and names every file that only the tree or
    /// only the index knows. Changes nothing. Blocks for as long as that takes.
    pub fn check(&self, on_file: &mut dyn FnMut(u64)) -> Result<CheckSummary, RepositoryError> {
        let mut summary = CheckSummary::default();
        for folder in self.folders.keys() {
            self.check_holdings(folder, &mut summary, on_file)?;
            self.check_index(folder, &mut summary)?;
            self.check_tree(folder, &mut summary)?;
        }
        Ok(summary)
    }

    fn check_holdings(
        &self,
        folder: &FolderName,
        summary: &mut CheckSummary,
        on_file: &mut dyn FnMut(u64),
    ) -> Result<(), RepositoryError> {
        let mut after = None;
        loop {
            let page = self.state.index.read()?.holdings_after(folder, after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (name, holding) in page {
                if let Some(what) = self.check_holding(folder, &name, &holding)? {
                    summary.note(folder, name.as_str(), what);
                }
                summary.files += 1;
                summary.bytes += holding.size;
                on_file(holding.size);
            }
        }
    }

    fn check_holding(
        &self,
        folder: &FolderName,
        name: &FileName,
        holding: &HoldingRecord,
    ) -> Result<Option<String>, RepositoryError> {
        let file = match self.folder(folder)?.staging.open_file(name) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(Some("its file is gone".into())),
            Err(error) => return Ok(Some(format!("its file can't be opened: {error}"))),
        };
        let stat = file.stat().map_err(RepositoryError::io("looking at", name))?;
        if !holds(&stat, holding) {
            return Ok(Some("its file was changed since it was verified".into()));
        }
        let outboard = self.state.outboards.read(holding.root, holding.size);
        let outboard = outboard.map_err(RepositoryError::io("reading the hash tree of", name))?;
        let bad = verify(as_read_at(&file), outboard.as_ref().map(as_read_at), holding.root, holding.size)
            .map_err(RepositoryError::io("reading", name))?;
        if !bad.is_empty() {
            return Ok(Some(format!("{} ranges of its bytes do not match its root", bad.len())));
        }
        self.contradiction(name, holding, as_read_at(&file))
    }

    /// What the index names, and neither holdings nor missing account for.
    fn check_index(&self, folder: &FolderName, summary: &mut CheckSummary) -> Result<(), RepositoryError> {
        let snapshot = self.state.index.read()?;
        snapshot.each_entry(&Namespace::folder(folder), |key, body| {
            let Some(value) = Body::value_of(body) else { return Ok::<_, RepositoryError>(()) };
            let what = match (FileName::from_bytes(key), FileRecord::decode(value)) {
                (Ok(name), Ok(file)) => {
                    let held = snapshot.holding(folder, &name)?.is_some_and(|holding| holding.root == file.root);
                    match (held, snapshot.missing(folder, &name)?.is_some()) {
                        (true, _) => None,
                        (false, true) => Some("the index names it and it is not here".to_owned()),
                        (false, false) => Some("the index names it and no row accounts for it".to_owned()),
                    }
                }
                _ => Some("the index names a file that can't be mirrored here".to_owned()),
            };
            if let Some(what) = what {
                summary.note(folder, &String::from_utf8_lossy(key), what);
            }
            Ok(())
        })
    }

    /// What lies in the tree, and no row knows.
    fn check_tree(&self, folder: &FolderName, summary: &mut CheckSummary) -> Result<(), RepositoryError> {
        let snapshot = self.state.index.read()?;
        let mut failed = None;
        let open = self.folder(folder)?;
        let walked = open.staging.walk(&mut |met| match met {
            Walked::File(name, _) => match snapshot.holding(folder, &name) {
                Ok(Some(_)) => {}
                Ok(None) => summary.note(folder, name.as_str(), "it lies in the folder and is no holding"),
                Err(error) => failed = Some(error),
            },
            Walked::Refused { name, why } => summary.leave_alone(folder, name, trouble_of(why)),
        });
        walked.map_err(RepositoryError::io("walking", folder))?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn as_read_at(file: &Arc<dyn DiskFile>) -> &dyn ReadAt {
    file.as_ref()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, OLD, Place, adopt, fetch, folder, follow, name, rescan};
    use super::*;
    use std::fs;

    fn findings(of: &Repository) -> Vec<(String, String)> {
        let summary = of.check(&mut |_| {}).unwrap();
        summary.findings.into_iter().map(|finding| (finding.name, finding.what)).collect()
    }

    #[test]
    fn a_sound_repository_has_nothing_to_find() {
        let place = Place::new();
        let main = place.main();
        place.write("a", &vec![1; 200_000]);
        place.write("b", b"b");
        rescan(&main);
        let mut read = 0;
        let summary = main.check(&mut |bytes| read += bytes).unwrap();
        assert_eq!(summary, CheckSummary { files: 2, bytes: 200_001, ..Default::default() });
        assert_eq!(read, 200_001);
    }

    #[test]
    fn every_kind_of_disagreement_is_found() {
        let place = Place::new();
        let main = place.main();
        let rotten = vec![1; 200_000];
        ["changed", "gone"].iter().for_each(|name| place.write(name, b"x"));
        place.write("rotten", &rotten);
        rescan(&main);
        place.write_at("changed", b"y", OLD + 1);
        fs::remove_file(place.path("gone")).unwrap();
        let mut bytes = rotten.clone();
        bytes[70_000] ^= 1;
        place.write("rotten", &bytes);
        place.write_at("stranger", b"s", NOW);
        place.write("con.cab", b"refused");
        let found = findings(&main);
        let what = |name: &str| found.iter().find(|(of, _)| of == name).map(|(_, what)| what.as_str()).unwrap_or("");
        assert_eq!(what("changed"), "its file was changed since it was verified");
        assert_eq!(what("gone"), "its file is gone");
        assert_eq!(what("rotten"), "1 ranges of its bytes do not match its root");
        assert_eq!(what("stranger"), "it lies in the folder and is no holding");
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn what_is_left_alone_is_listed_and_is_no_disagreement() {
        let place = Place::new();
        let main = place.main();
        place.write("con.cab", b"refused");
        std::os::unix::fs::symlink("/etc/passwd", place.path("link")).unwrap();
        let summary = main.check(&mut |_| {}).unwrap();
        assert_eq!(summary.findings, []);
        let left: Vec<_> = summary.left_alone.iter().map(|left| (left.name.as_str(), &left.trouble)).collect();
        assert!(matches!(left[..], [("con.cab", Trouble::Refused(_)), ("link", Trouble::NotAFile)]), "{left:?}");
    }

    #[test]
    fn what_the_index_names_and_is_not_here_is_found() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        ["a", "b"].iter().for_each(|name| place.write(name, b"x"));
        adopt(&main, &["a", "b"]).unwrap();
        follow(&main, &child).unwrap();
        fetch(&main, &child).unwrap();
        fs::remove_file(below.path("a")).unwrap();
        child.mend(&folder(), &name("a")).unwrap();
        child.state.index.write(|batch| batch.files.remove_holding(&folder(), &name("b")).map(drop)).unwrap();
        let found = findings(&child);
        assert!(found.contains(&("a".into(), "the index names it and it is not here".into())));
        assert!(found.contains(&("b".into(), "the index names it and no row accounts for it".into())));
    }

    #[test]
    fn findings_beyond_the_limit_are_counted() {
        let mut summary = CheckSummary::default();
        (0..MAX_FINDINGS + 3).for_each(|n| summary.note(&folder(), &n.to_string(), "x"));
        assert_eq!((summary.findings.len(), summary.unnamed), (MAX_FINDINGS, 3));
    }
}
