//! What is served under a name.

use super::{
    attention::{Trouble, lock},
    error::RepositoryError,
    open::Repository,
};
use crate::{
    base::read_at::ReadAt,
    catalog::HoldingRecord,
    domain::{
        digest::Root,
        member::Role,
        name::{FileName, FolderName},
        state::{Body, Namespace},
    },
    store::disk::{DiskFile, Kind, Stat},
};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

/// Most faults that are remembered between two looks.
const MAX_FAULTS: usize = 10_000;

/// What this repository has under a name.
pub enum Found {
    /// A whole file. Its root is unknown only while a main adopts its folder for the first time.
    Held {
        /// The open file.
        file: Arc<dyn ReadAt>,
        /// Its length in bytes.
        size: u64,
        /// Its mtime, seconds since 1970 UTC.
        modified: i64,
        /// Its content.
        root: Option<Root>,
    },
    /// Not yet: on its way, or still being written by another program.
    NotYet,
    /// No such file.
    Unknown,
}

impl Repository {
    /// Looks a name up. Blocks for one or two system calls.
    pub fn find(&self, folder: &FolderName, name: &FileName) -> Result<Found, RepositoryError> {
        let Some(open) = self.folders.get(folder) else { return Ok(Found::Unknown) };
        let snapshot = self.state.index.read()?;
        let holding = snapshot.holding(folder, name)?;
        let file = match open.staging.open_file(name) {
            Ok(file) => Some(file),
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(RepositoryError::io("opening", name)(error)),
        };
        if let (Some(file), Some(holding)) = (&file, &holding)
            && holds(&stat(file.as_ref(), name)?, holding)
        {
            let modified = holding.modified_ns.div_euclid(1_000_000_000);
            return Ok(Found::Held { file: file.clone(), size: holding.size, modified, root: Some(holding.root) });
        }
        if holding.is_some() {
            self.note_fault(folder, name);
            return Ok(Found::NotYet);
        }
        let body = snapshot.entry(&Namespace::folder(folder), name.as_str().as_bytes())?;
        if body.is_some_and(|body| Body::value_of(&body).is_some()) {
            return Ok(Found::NotYet);
        }
        match (self.role, file) {
            (Role::Main, Some(file)) if open.adopted.load(Ordering::Acquire) => {
                stat(file.as_ref(), name).map(|_| Found::NotYet)
            }
            (Role::Main, Some(_)) if self.troubles.of(folder, name.as_str()) == Some(Trouble::Incomplete) => {
                Ok(Found::NotYet)
            }
            (Role::Main, Some(file)) => {
                let stat = stat(file.as_ref(), name)?;
                let modified = stat.modified_ns.div_euclid(1_000_000_000);
                Ok(Found::Held { file, size: stat.size, modified, root: None })
            }
            _ => Ok(Found::Unknown),
        }
    }

    /// Remembers that a holding does not match its file, for whoever tends the folder. Beyond 10,000 it
    /// is left to the next scan.
    pub(super) fn note_fault(&self, folder: &FolderName, name: &FileName) {
        let mut faults = lock(&self.faults);
        let new = faults.len() < MAX_FAULTS && faults.insert((folder.clone(), name.clone()));
        drop(faults);
        if new {
            self.note_change();
        }
    }

    /// The faults of a folder noted since the last call.
    pub(super) fn take_faults(&self, folder: &FolderName) -> Vec<FileName> {
        lock(&self.faults).extract_if(.., |(of, _)| of == folder).map(|(_, name)| name).collect()
    }
}

/// Whether a file on disk is still the one that was verified.
pub(super) fn holds(stat: &Stat, holding: &HoldingRecord) -> bool {
    stat.kind == Kind::File
        && stat.size == holding.size
        && stat.modified_ns == holding.modified_ns
        && stat.inode == holding.inode
}

/// Whether an error means that there is no ordinary file of that name.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidInput
    )
}

fn stat(file: &dyn DiskFile, name: &FileName) -> Result<Stat, RepositoryError> {
    file.stat().map_err(RepositoryError::io("looking at", name))
}
