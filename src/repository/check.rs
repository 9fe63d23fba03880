//! Where tree, holdings and index disagree, by reading every byte.

use super::{
    error::RepositoryError,
    find::{holds, is_absent},
    open::Repository,
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

const PAGE: usize = 500;

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
    /// Every disagreement.
    pub findings: Vec<Finding>,
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
                    summary.findings.push(Finding { folder: folder.clone(), name: name.to_string(), what });
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
        Ok((!bad.is_empty()).then(|| format!("{} ranges of its bytes do not match its root", bad.len())))
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
            let name = String::from_utf8_lossy(key).into_owned();
            summary.findings.extend(what.map(|what| Finding { folder: folder.clone(), name, what }));
            Ok(())
        })
    }

    /// What lies in the tree, and no row knows.
    fn check_tree(&self, folder: &FolderName, summary: &mut CheckSummary) -> Result<(), RepositoryError> {
        let mut findings = Vec::new();
        let mut note = |name: &str, what: String| {
            findings.push(Finding { folder: folder.clone(), name: name.to_owned(), what });
        };
        let snapshot = self.state.index.read()?;
        let mut failed = None;
        let open = self.folder(folder)?;
        let walked = open.staging.walk(&mut |met| match met {
            Walked::File(name, _) => match snapshot.holding(folder, &name) {
                Ok(Some(_)) => {}
                Ok(None) => note(name.as_str(), "it lies in the folder and is no holding".into()),
                Err(error) => failed = Some(error),
            },
            Walked::Refused { name, why } => note(&name, format!("it is left alone: {why}")),
        });
        walked.map_err(RepositoryError::io("walking", folder))?;
        summary.findings.extend(findings);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn as_read_at(file: &Arc<dyn DiskFile>) -> &dyn ReadAt {
    file.as_ref()
}
