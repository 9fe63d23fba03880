//! Looking at everything in a folder: what can be mirrored, and what can't and why.
//!
//! Holds the names of one directory at a time, beside the directories that are still to be seen.
//! Never opens a file.

use super::{
    disk::{Disk, Kind, RootId, Stat},
    layout,
};
use crate::domain::name::{FileName, MAX_COMPONENTS, NameError};
use std::{io, ops::Range};

/// Something that a walk came by.
#[derive(Debug)]
pub enum Walked {
    /// An ordinary file with a name that can be mirrored.
    File(FileName, Stat),
    /// Left alone; `status` lists it. Nothing beneath a refused directory is visited.
    Refused {
        /// As much of the path as is text.
        name: String,
        /// What is wrong with it.
        why: RefusedWhy,
    },
}

/// Why something in a folder is left alone.
#[derive(Debug, thiserror::Error)]
pub enum RefusedWhy {
    /// Another machine might not hold a file of that name, or of any name in that directory.
    #[error(transparent)]
    Name(NameError),
    /// A link, socket, pipe or device.
    #[error("neither a file nor a directory")]
    NotAFile,
    /// The system does not let the daemon look at it.
    #[error("not readable by the daemon")]
    Unreadable(#[source] io::Error),
}

/// Calls `each` for everything beneath `root`, except what [`layout::is_reserved`]; fails only where
/// `root` itself can't be listed. What vanishes meanwhile is skipped.
pub(super) fn walk(disk: &dyn Disk, root: RootId, each: &mut dyn FnMut(Walked)) -> io::Result<()> {
    walk_from(disk, root, vec![String::new()], each)
}

/// The same for one directory of `root`; there is nothing beneath what is no directory.
pub(super) fn walk_beneath(
    disk: &dyn Disk,
    root: RootId,
    directory: &FileName,
    each: &mut dyn FnMut(Walked),
) -> io::Result<()> {
    if directory.as_str().split('/').count() == MAX_COMPONENTS {
        each(Walked::Refused { name: directory.to_string(), why: RefusedWhy::Name(NameError::TooDeep) });
        return Ok(());
    }
    walk_from(disk, root, vec![directory.to_string()], each)
}

fn walk_from(
    disk: &dyn Disk,
    root: RootId,
    mut directories: Vec<String>,
    each: &mut dyn FnMut(Walked),
) -> io::Result<()> {
    while let Some(directory) = directories.pop() {
        let listing = match Listing::of(disk, root, &directory) {
            Ok(listing) => listing,
            Err(e) if directory.is_empty() => return Err(e),
            Err(e) => {
                refuse_unless_gone(directory, e, each);
                continue;
            }
        };
        for (place, kind) in &listing.entries {
            let name = &listing.names[place.clone()];
            if !(directory.is_empty() && layout::is_reserved(name)) {
                directories.extend(visit(disk, root, &directory, name, *kind, each));
            }
        }
    }
    Ok(())
}

/// What is in one directory, sorted, so that equal trees are walked in equal order.
///
/// All names are one piece of memory, which goes back to the system as a whole; a hundred thousand pieces stay with
/// the process long after the walk.
struct Listing {
    names: Vec<u8>,
    /// Where each name stands in `names`.
    entries: Vec<(Range<usize>, Kind)>,
}

impl Listing {
    fn of(disk: &dyn Disk, root: RootId, directory: &str) -> io::Result<Self> {
        let (mut names, mut entries) = (Vec::new(), Vec::new());
        disk.list(root.at(directory), &mut |name, kind| {
            let start = names.len();
            names.extend_from_slice(name);
            entries.push((start..names.len(), kind));
        })?;
        entries.sort_unstable_by(|(a, _): &(Range<usize>, Kind), (b, _)| names[a.clone()].cmp(&names[b.clone()]));
        Ok(Self { names, entries })
    }
}

/// Reports one entry; a directory that is to be seen is given back.
fn visit(
    disk: &dyn Disk,
    root: RootId,
    directory: &str,
    name: &[u8],
    kind: Kind,
    each: &mut dyn FnMut(Walked),
) -> Option<String> {
    let name = match std::str::from_utf8(name) {
        Ok(name) => join(directory, name),
        Err(_) => {
            let name = join(directory, &String::from_utf8_lossy(name));
            each(Walked::Refused { name, why: RefusedWhy::Name(NameError::NotUtf8) });
            return None;
        }
    };
    match (kind, FileName::new(&name)) {
        (Kind::Other, _) => each(Walked::Refused { name, why: RefusedWhy::NotAFile }),
        (_, Err(why)) => each(Walked::Refused { name, why: RefusedWhy::Name(why) }),
        (Kind::File, Ok(name)) => visit_file(disk, root, name, each),
        (Kind::Directory, Ok(_)) if name.split('/').count() == MAX_COMPONENTS => {
            each(Walked::Refused { name, why: RefusedWhy::Name(NameError::TooDeep) });
        }
        (Kind::Directory, Ok(_)) => return Some(name),
    }
    None
}

fn visit_file(disk: &dyn Disk, root: RootId, name: FileName, each: &mut dyn FnMut(Walked)) {
    match disk.stat(root.at(name.as_str())) {
        Ok(stat) if stat.kind == Kind::File => each(Walked::File(name, stat)),
        Ok(_) => each(Walked::Refused { name: name.into(), why: RefusedWhy::NotAFile }),
        Err(e) => refuse_unless_gone(name.into(), e, each),
    }
}

fn refuse_unless_gone(name: String, error: io::Error, each: &mut dyn FnMut(Walked)) {
    if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        each(Walked::Refused { name, why: RefusedWhy::Unreadable(error) });
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::real::RealDisk;
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

    #[test]
    fn one_directory_is_seen_with_whole_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        for file in ["a/b/c", "a/nul", "a-x"] {
            fs::write(folder.path().join(file), "1").unwrap();
        }
        let disk = RealDisk::new();
        let root = disk.open_root(folder.path(), false).unwrap();
        let beneath = |directory: &str| {
            let mut seen = Vec::new();
            let mut each = |walked| match walked {
                Walked::File(name, _) => seen.push(name.to_string()),
                Walked::Refused { name, .. } => seen.push(format!("{name}!")),
            };
            walk_beneath(&disk, root, &FileName::new(directory).unwrap(), &mut each).unwrap();
            seen
        };
        assert_eq!(beneath("a"), ["a/nul!", "a/b/c"]);
        assert_eq!((beneath("a-x"), beneath("none")), (vec![], vec![]));
        assert_eq!(beneath("1/2/3/4/5/6/7/8"), ["1/2/3/4/5/6/7/8!"]);
    }

    fn walked(folder: &Path) -> Vec<String> {
        let disk = RealDisk::new();
        let root = disk.open_root(folder, false).unwrap();
        let mut seen = Vec::new();
        walk(&disk, root, &mut |walked| {
            seen.push(match walked {
                Walked::File(name, stat) => format!("{name} {}", stat.size),
                Walked::Refused { name, why } => format!("{name}: {why}"),
            });
        })
        .unwrap();
        seen.sort();
        seen
    }

    #[test]
    fn a_folder_is_seen_with_what_can_be_mirrored_and_what_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for directory in [".stfolder/wuasync", ".hidden/deep", "sub/.hidden", "1/2/3/4/5/6/7/8"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        for file in ["a.cab", "sub/b.cab", "sub/.hidden/x", ".top", "1/2/3/4/5/6/7/f", "1/2/3/4/5/6/7/8/g", "nul.txt"] {
            fs::write(at(file), "12345").unwrap();
        }
        fs::write(folder.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
        std::os::unix::fs::symlink("a.cab", at("link")).unwrap();
        assert_eq!(
            walked(folder.path()),
            [
                ".hidden: a component begins with a dot",
                ".top: a component begins with a dot",
                "1/2/3/4/5/6/7/8: more than 8 components",
                "1/2/3/4/5/6/7/f 5",
                "a.cab 5",
                "link: neither a file nor a directory",
                "nul.txt: a Windows device name",
                "sub/.hidden: a component begins with a dot",
                "sub/b.cab 5",
                "\u{fffd}: not UTF-8",
            ]
        );
    }

    #[test]
    fn an_empty_folder_holds_nothing_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(walked(folder.path()).is_empty());
        let disk = RealDisk::new();
        let root = disk.open_root(&folder.path().join("gone"), true).unwrap();
        fs::remove_dir(folder.path().join("gone")).unwrap();
        // A removed directory lists as empty or not at all; either way no file is reported.
        let _ = walk(&disk, root, &mut |walked| panic!("{walked:?}"));
    }
}
