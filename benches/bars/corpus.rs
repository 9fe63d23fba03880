//! Folders of files that do not compress and were quiet for an hour.

use crate::processes::{immutable, noise};
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

/// `count` files of `size` bytes; names carry their SHA-1 if `promised`.
pub(crate) fn make(count: u64, size: usize, promised: bool) -> TempDir {
    let place = tempfile::Builder::new().prefix("wuasync-corpus-").tempdir().unwrap();
    add(place.path(), 0..count, size, promised);
    place
}

/// Adds files with these numbers.
pub(crate) fn add(folder: &Path, numbers: std::ops::Range<u64>, size: usize, promised: bool) {
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    for number in numbers {
        let bytes = noise(number, size);
        let name = if promised { immutable(&format!("kb{number}"), &bytes) } else { format!("kb{number}") };
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        fs::File::options().append(true).open(path).unwrap().set_modified(an_hour_ago).unwrap();
    }
}

/// The same files in another folder of the same file system.
pub(crate) fn link(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::hard_link(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
