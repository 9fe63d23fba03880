//! Folders, as another program sees them.

use sha1::Digest;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    time::{Duration, SystemTime},
};

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    pub inode: u64,
    pub size: u64,
    pub modified_ns: i64,
}

/// A name that promises these bytes.
pub fn immutable(stem: &str, bytes: &[u8]) -> String {
    format!("{stem}_{}.cab", data_encoding::HEXLOWER.encode(&sha1::Sha1::digest(bytes)))
}

/// Writes in place, at a time of the story.
pub fn write(folder: &Path, name: &str, bytes: &[u8], at_ms: u64) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    set_modified(&path, at_ms);
}

/// Another byte in the middle, or a first one.
pub fn edit(path: &Path, at_ms: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    set_modified(path, at_ms);
}

fn set_modified(path: &Path, at_ms: u64) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(at_ms)).unwrap();
}

/// Everything beneath, by name.
pub fn files(folder: &Path) -> BTreeMap<String, Stamp> {
    let mut found = BTreeMap::new();
    collect(folder, "", &mut found);
    found
}

fn collect(directory: &Path, above: &str, found: &mut BTreeMap<String, Stamp>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = format!("{above}{}", entry.file_name().to_str().unwrap());
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            collect(&entry.path(), &format!("{name}/"), found);
        } else {
            let modified_ns = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
            found.insert(name, Stamp { inode: meta.ino(), size: meta.len(), modified_ns });
        }
    }
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
