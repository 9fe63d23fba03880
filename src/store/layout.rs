//! Every name that this daemon gives to something on disk. Pure.
//!
//! Two places: the state directory (`/var/lib/wuasync`), and for each folder a staging directory on
//! the folder's own mount:
//!
//! ```text
//! .wuasync/<folder>/incoming/<number>          whole files on their way to their names
//! .wuasync/<folder>/partials/<root>.data       blobs that arrive in pieces, with their outboards
//! .wuasync/<folder>/partials/<root>.obao
//! .wuasync/<folder>/downloads/<key>.data       files that arrive in order, their roots unknown yet
//! .wuasync/<folder>/downloads/<key>.tree       what their source said of them, and their outboards
//! .wuasync/<folder>/trash/<unix seconds>/...   removed files, at rest for the time of grace
//! .wuasync/<folder>/kept/<name>                what had a name before, for whoever wants it back
//! ```

use crate::domain::{
    digest::Root,
    name::{FileName, FolderName},
};
use std::path::{Path, PathBuf};

/// Index, holdings and log; rebuilt from the tree when lost.
pub const INDEX: &str = "index.redb";
/// Members, rules, wants, hosts, jobs, audit.
pub const LEDGER: &str = "ledger.redb";
/// What the published edition tells; read again from it when lost.
pub const EDITIONS: &str = "editions.redb";
/// What hosts tell; they tell it again when lost.
pub const HOSTS: &str = "hosts.redb";
/// The ledger as of last night.
pub const LEDGER_COPY: &str = "ledger.nightly.redb";
/// Hash trees of the blobs above one group.
pub const OUTBOARDS: &str = "outboards";
/// Private keys, mode 0600.
pub const KEYS: &str = "keys";
/// The last accepted head and line key.
pub const ACCEPTED: &str = "accepted";
/// The version of the state folder, as text.
pub const VERSION: &str = "version";
/// The line key, on a main.
pub const LINE_KEY: &str = "keys/line";
/// The numbering of the line, beside its key.
pub const EPOCH: &str = "keys/epoch";
/// This node's transport key.
pub const TRANSPORT_KEY: &str = "keys/transport.pem";
/// There while a restore is under way; left behind by one that was cut short.
pub const RESTORING: &str = "restoring";
/// Held by the one process that owns the state.
pub const LOCK: &str = "lock";
/// Address and key of the node that this one pulls from.
pub const PARENT: &str = "parent.toml";
/// Certificates that a person pinned.
pub const TRUST: &str = "trust";

/// Whole files on their way to their names.
pub const INCOMING: &str = "incoming";
/// Blobs that arrive in pieces.
pub const PARTIALS: &str = "partials";
/// Files that arrive in order, their roots unknown yet.
pub const DOWNLOADS: &str = "downloads";
/// Removed files at rest.
pub const TRASH: &str = "trash";
/// What had a name before.
pub const KEPT: &str = "kept";
/// What is renamed into the folder and removed, to see that staging shares its mount.
pub const PROBE: &str = ".wuasync-probe";

/// Whether an entry at the top of a folder is this daemon's, or the subfolder that WAPT keeps there.
pub fn is_reserved(name: &[u8]) -> bool {
    [RESERVED, BESIDE, PROBE].iter().any(|reserved| reserved.as_bytes() == name)
}

/// Hash trees on their way to their names, in the state directory.
pub const NEW_OUTBOARDS: &str = "outboards/new";
/// Beside the folder.
const BESIDE: &str = ".wuasync";
/// The one subfolder that WAPT's upgrade leaves alone.
const RESERVED: &str = ".stfolder";
/// In the folder.
const INSIDE: &str = ".stfolder/wuasync";
/// Behind a name in [`KEPT`], on its way there.
const NEXT: &str = ".next";
const DATA: &str = ".data";
const OUTBOARD: &str = ".obao";
const TREE: &str = ".tree";

/// Staging of a folder whose neighbours are on the same mount; none for the root of the file system.
pub fn staging_beside(folder_path: &Path, folder: &FolderName) -> Option<PathBuf> {
    folder_path.parent().map(|parent| staging_in(&parent.join(BESIDE), folder))
}

/// Staging of a folder that is a mount point itself.
pub fn staging_inside(folder_path: &Path) -> PathBuf {
    folder_path.join(INSIDE)
}

/// Staging of one folder in a place that several may share.
pub fn staging_in(place: &Path, folder: &FolderName) -> PathBuf {
    place.join(folder.as_str())
}

/// A whole file on its way to its name.
pub fn incoming(number: u64) -> String {
    format!("{INCOMING}/{number:x}")
}

/// The number in a name that [`incoming`] or [`new_outboard`] gave.
pub fn number_of(name: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(name).ok()?, 16).ok()
}

/// A blob's bytes, as far as they have arrived.
pub fn partial_data(root: Root) -> String {
    format!("{PARTIALS}/{root}{DATA}")
}

/// A blob's hash tree, as far as it has arrived.
pub fn partial_outboard(root: Root) -> String {
    format!("{PARTIALS}/{root}{OUTBOARD}")
}

/// The blob that a name in [`PARTIALS`] belongs to.
pub fn partial_root(name: &[u8]) -> Option<Root> {
    let name = std::str::from_utf8(name).ok()?;
    name.strip_suffix(DATA).or_else(|| name.strip_suffix(OUTBOARD))?.parse().ok()
}

/// A download's bytes, as far as they have arrived; `key` is what one flight of it is known by.
pub fn download_data(key: Root) -> String {
    format!("{DOWNLOADS}/{key}{DATA}")
}

/// What is known of a download besides its bytes.
pub fn download_tree(key: Root) -> String {
    format!("{DOWNLOADS}/{key}{TREE}")
}

/// The download that a name in [`DOWNLOADS`] belongs to.
pub fn download_key(name: &[u8]) -> Option<Root> {
    let name = std::str::from_utf8(name).ok()?;
    name.strip_suffix(DATA).or_else(|| name.strip_suffix(TREE))?.parse().ok()
}

/// Where what was removed at one time rests; `attempt` tells apart equal names of one second.
pub fn trash(unix_seconds: u64, attempt: u32) -> String {
    match attempt {
        0 => format!("{TRASH}/{unix_seconds}"),
        _ => format!("{TRASH}/{unix_seconds}-{attempt}"),
    }
}

/// When what rests under a name in [`TRASH`] was removed, in seconds since 1970 UTC.
pub fn trashed_at(name: &str) -> Option<u64> {
    name.split('-').next()?.parse().ok()
}

/// What had a name before. Names of other directories have no `/` there.
pub fn kept(name: &FileName) -> String {
    format!("{KEPT}/{}", name.as_str().replace('/', "\\"))
}

/// The same on its way there.
pub fn kept_next(name: &FileName) -> String {
    kept(name) + NEXT
}

/// The name that [`kept_next`] was made of.
pub fn name_of_kept_next(name: &[u8]) -> Option<FileName> {
    let name = std::str::from_utf8(name).ok()?.strip_suffix(NEXT)?;
    FileName::new(&name.replace('\\', "/")).ok()
}

/// The directory that holds a blob's hash tree, in the state directory.
pub fn outboard_directory(root: Root) -> String {
    format!("{OUTBOARDS}/{}", &root.to_string()[..2])
}

/// A blob's hash tree, in the state directory.
pub fn outboard(root: Root) -> String {
    format!("{}/{root}", outboard_directory(root))
}

/// A hash tree that is being made.
pub fn new_outboard(number: u64) -> String {
    format!("{NEW_OUTBOARDS}/{number:x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_what_they_were_made_of() {
        let root = Root([0xab; 32]);
        let last = |path: String| path.rsplit('/').next().unwrap().to_owned();
        assert_eq!(number_of(last(incoming(0xbeef)).as_bytes()), Some(0xbeef));
        assert_eq!(partial_root(last(partial_data(root)).as_bytes()), Some(root));
        assert_eq!(partial_root(last(partial_outboard(root)).as_bytes()), Some(root));
        assert_eq!(download_key(last(download_data(root)).as_bytes()), Some(root));
        assert_eq!(download_key(last(download_tree(root)).as_bytes()), Some(root));
        assert_eq!(trashed_at(&last(trash(12, 0))), Some(12));
        assert_eq!(trashed_at(&last(trash(12, 3))), Some(12));
        let name = FileName::new("a/b.cab").unwrap();
        assert_eq!(kept_next(&name), "kept/a\\b.cab.next");
        assert_eq!(name_of_kept_next(last(kept_next(&name)).as_bytes()), Some(name.clone()));
        assert_eq!(name_of_kept_next(last(kept(&name)).as_bytes()), None);
        assert_eq!(outboard(root), format!("outboards/ab/{root}"));
    }

    #[test]
    fn names_that_were_not_given_here_mean_nothing() {
        assert_eq!(number_of(b"xyz"), None);
        assert_eq!(partial_root(b"ab.data"), None);
        assert_eq!(partial_root(b"\xff"), None);
        assert_eq!(trashed_at("lost+found"), None);
    }

    #[test]
    fn staging_is_beside_the_folder_or_inside_it() {
        let waptwua = FolderName::new("waptwua").unwrap();
        let folder = Path::new("/var/www/waptwua");
        assert_eq!(staging_beside(folder, &waptwua), Some("/var/www/.wuasync/waptwua".into()));
        assert_eq!(staging_inside(folder), Path::new("/var/www/waptwua/.stfolder/wuasync"));
        assert_eq!(staging_beside(Path::new("/"), &waptwua), None);
    }
}
