//! Editions in files, for whoever compares them. Signatures are not looked at.

use crate::{
    domain::edition::{self, FileChange, UpdateChange},
    wsusscn::{self, Edition, EditionError, Options},
};
use std::{
    convert::Infallible,
    fs::File,
    io::{self, Read},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// A cabinet that can't be read as an edition.
#[derive(Debug, thiserror::Error)]
pub enum EditionFileError {
    /// It can't be opened.
    #[error("{}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no edition, or a damaged one.
    #[error("{}", path.display())]
    Edition {
        /// Which one.
        path: PathBuf,
        /// Why, and where.
        source: Box<EditionError>,
    },
}

/// An edition that was read from a file.
pub struct EditionFileRead(Edition);

impl EditionFileRead {
    /// When Microsoft made it, in seconds since 1970 UTC; its updates; their files.
    pub fn counts(&self) -> (i64, u64, u64) {
        (self.0.id().created, self.0.update_count() as u64, self.0.file_count() as u64)
    }
}

/// Reads an edition from a file; `on_progress` is told how many bytes of how many were read.
pub fn read_edition(path: &Path, on_progress: &mut dyn FnMut(u64, u64)) -> Result<EditionFileRead, EditionFileError> {
    let failed = |source| EditionFileError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    let reader = Told { file: io::BufReader::with_capacity(1 << 20, file), read: 0, len, on_progress };
    let read = wsusscn::read(reader, &Options::default());
    read.map(EditionFileRead)
        .map_err(|source| EditionFileError::Edition { path: path.to_owned(), source: Box::new(source) })
}

/// Tells what `new` has otherwise than `old`, by UpdateID, until `each` breaks.
pub fn each_changed_update(
    old: &EditionFileRead,
    new: &EditionFileRead,
    each: &mut dyn FnMut(UpdateChange) -> ControlFlow<()>,
) {
    let (old, new) = (old.0.updates().map(Ok), new.0.updates().map(Ok));
    let Ok(()) = edition::each_changed_update::<Infallible>(old, new, each);
}

/// Tells which files `new` has otherwise than `old`, by SHA-1, until `each` breaks.
pub fn each_changed_file(
    old: &EditionFileRead,
    new: &EditionFileRead,
    each: &mut dyn FnMut(FileChange) -> ControlFlow<()>,
) {
    let (old, new) = (old.0.files().map(Ok), new.0.files().map(Ok));
    let Ok(()) = edition::each_changed_file::<Infallible>(old, new, each);
}

struct Told<'a> {
    file: io::BufReader<File>,
    read: u64,
    len: u64,
    on_progress: &'a mut dyn FnMut(u64, u64),
}

impl Read for Told<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.read += n as u64;
        (self.on_progress)(self.read, self.len);
        Ok(n)
    }
}
