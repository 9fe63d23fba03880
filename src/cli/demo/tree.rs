//! The folder that the demonstration mirrors.

use crate::{
    base::clock::{Clock, SystemClock},
    cli::error::CliError,
    domain::name::FileName,
};
use sha1::{Digest, Sha1};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// Small updates in the folder that is made up.
const SMALL_FILES: u64 = 300;
/// Larger ones.
const LARGE_FILES: u64 = 12;

/// What lies in the main's folder.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Files that can be mirrored.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Names that can't be mirrored, links and the like: they stay behind.
    pub(super) left_out: u64,
    /// A few files to look at afterwards.
    pub(super) samples: Vec<FileName>,
}

impl Tree {
    fn add(&mut self, name: FileName, size: u64) {
        self.files += 1;
        self.bytes += size;
        // The first file, and others ever further apart.
        if self.files.is_power_of_two() {
            self.samples.push(name);
        }
    }
}

/// Links every file below `from` into `to`; copies where they are on different file systems. Can be
/// dropped between two files.
pub(super) async fn adopt(from: &Path, to: &Path) -> Result<Tree, CliError> {
    let failed = |path: &Path, error: io::Error| CliError::Failed(format!("{}: {error}", path.display()));
    let mut tree = Tree::default();
    let mut below = vec![PathBuf::new()];
    while let Some(place) = below.pop() {
        let directory = from.join(&place);
        for entry in fs::read_dir(&directory).map_err(|error| failed(&directory, error))? {
            tokio::task::yield_now().await;
            let entry = entry.map_err(|error| failed(&directory, error))?;
            let kind = entry.file_type().map_err(|error| failed(&entry.path(), error))?;
            let relative = place.join(entry.file_name());
            let name = relative.to_str().and_then(|text| FileName::new(text).ok());
            match name {
                Some(_) if kind.is_dir() => below.push(relative),
                Some(name) if kind.is_file() => {
                    let size = place_file(&entry.path(), &to.join(&relative)).map_err(|e| failed(&entry.path(), e))?;
                    tree.add(name, size);
                }
                _ => tree.left_out += 1,
            }
        }
    }
    Ok(tree)
}

fn place_file(from: &Path, to: &Path) -> io::Result<u64> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    if fs::hard_link(from, to).is_err() {
        let modified = fs::metadata(from)?.modified()?;
        reflink_copy::reflink_or_copy(from, to)?;
        fs::File::options().write(true).open(to)?.set_modified(modified)?;
    }
    Ok(fs::metadata(to)?.len())
}

/// Makes a folder up: updates with their SHA-1 in the name, and a file without one beside them.
pub(super) fn make_up(to: &Path) -> Result<Tree, CliError> {
    let mut tree = Tree::default();
    let make = || -> io::Result<Tree> {
        for i in 0..SMALL_FILES {
            let bytes = noise(i, 2_000 + (i * i * 97 % 40_000) as usize);
            tree.add(update(to, &format!("windows10.0-kb50{i:05}-x64"), &bytes)?, bytes.len() as u64);
        }
        for i in 0..LARGE_FILES {
            let bytes = noise(1_000 + i, 1_000_000 * (1 + i as usize));
            tree.add(update(to, &format!("windows11.0-kb51{i:05}-x64"), &bytes)?, bytes.len() as u64);
        }
        let catalogue = noise(9_999, 8_000_000);
        fs::write(to.join("catalogue.dat"), &catalogue)?;
        // A file without a digest in its name has to be quiet for a while before it is believed.
        let an_hour_ago = UNIX_EPOCH + Duration::from_secs(SystemClock.unix_seconds() - 3_600);
        fs::File::options().write(true).open(to.join("catalogue.dat"))?.set_modified(an_hour_ago)?;
        if let Ok(name) = FileName::new("catalogue.dat") {
            tree.add(name, catalogue.len() as u64);
        }
        Ok(tree)
    };
    make().map_err(|error| CliError::Failed(format!("{}: {error}", to.display())))
}

/// Writes an update under its immutable name: the whole file appears at once, as a download tool would do it.
pub(super) fn update(to: &Path, stem: &str, bytes: &[u8]) -> io::Result<FileName> {
    let sha1 = data_encoding::HEXLOWER.encode(&Sha1::digest(bytes));
    let text = format!("{stem}_{sha1}.cab");
    fs::write(to.join(&text), bytes)?;
    FileName::new(&text).map_err(io::Error::other)
}

/// Bytes that do not compress and that no two seeds share.
pub(super) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_is_taken_over_without_touching_it_and_odd_names_stay_behind() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("sub")).unwrap();
        fs::write(from.path().join("a.cab"), b"one").unwrap();
        fs::write(from.path().join("sub/b.cab"), b"three").unwrap();
        fs::write(from.path().join(".hidden"), b"x").unwrap();
        std::os::unix::fs::symlink("a.cab", from.path().join("link")).unwrap();
        let tree = adopt(from.path(), to.path()).await.unwrap();
        assert_eq!((tree.files, tree.bytes, tree.left_out), (2, 8, 2));
        assert_eq!(fs::read(to.path().join("sub/b.cab")).unwrap(), b"three");
        assert_eq!(fs::read_dir(from.path()).unwrap().count(), 4);
    }
}
