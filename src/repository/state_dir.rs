//! The state folder: keys, databases, and the small files that must survive both.
//!
//! Order at open: the version file first, so that a newer state is left untouched; it is also the
//! lock that keeps a second process out. Then the databases. An index that can't be opened is set aside and made anew: it is rebuilt from the tree.

use super::attention::lock;
use crate::{
    base::{random_access::RandomAccess, read_at::ReadAt},
    catalog::{Editions, Hosts, Index, Ledger, OpenCatalogError},
    domain::{
        key::LineKey,
        member::Role,
        state::{Accepted, LineSigner},
        versioned::{self, VersionedError},
    },
    store::{
        disk::{DiskFile, Open, Replace, RootId, SharedDisk},
        layout,
        outboards::Outboards,
    },
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// The newest form of the state folder.
const VERSION: u32 = 1;
const SMALL_FILE_VERSION: u8 = 1;
/// Most bytes in one of the small files.
const MAX_SMALL_BYTES: u64 = 64 * 1024;

/// A state folder that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenStateError {
    /// It was written by a newer program, and was left untouched.
    #[error("{path}: state of version {found}, this program knows {VERSION}; install the newer program again")]
    Newer {
        /// The state folder.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// The file that says its version says nothing.
    #[error(
        "{path}: the file `version` is damaged: restore it from the backup, or, for this program's own state, \
         write {VERSION} into it"
    )]
    DamagedVersion {
        /// The state folder.
        path: PathBuf,
    },
    /// A main has signed before, and the key that it signed with is gone. Nothing was written.
    #[error(
        "{path}: keys/line is missing: restore it from the backup; without it every site must be paired anew, \
         with an empty state folder here and there"
    )]
    LineKeyMissing {
        /// The state folder.
        path: PathBuf,
    },
    /// The key is not the one that this state was signed with. Nothing was written.
    #[error(
        "{path}: keys/line is of line {found}, and the state is of line {followed}: restore the right key from the \
         backup; without it every site must be paired anew, with an empty state folder here and there"
    )]
    OtherLineKey {
        /// The state folder.
        path: PathBuf,
        /// The key's line.
        found: LineKey,
        /// The state's line.
        followed: LineKey,
    },
    /// A small file that the node can't start without.
    #[error("{path}")]
    Small {
        /// The state folder.
        path: PathBuf,
        /// Which, and why.
        source: SmallFileError,
    },
    /// Another process has it open; two would damage the databases.
    #[error("{path} is in use by another process")]
    InUse {
        /// The state folder.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("{path}: {doing}")]
    Io {
        /// The state folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The ledger can't be used, and can't be rebuilt.
    #[error(
        "{path}: ledger.redb can't be used; put {} beside it in its place, or bring a backup back with \
         `wuasync restore`",
        layout::LEDGER_COPY
    )]
    Ledger {
        /// The state folder.
        path: PathBuf,
        /// Why.
        source: OpenCatalogError,
    },
    /// A database refused.
    #[error("{path}: {file}{}", database_cure(.file, .source))]
    Catalog {
        /// The state folder.
        path: PathBuf,
        /// Which database.
        file: &'static str,
        /// Why.
        source: OpenCatalogError,
    },
}

/// A small file that can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SmallFileError {
    /// The disk refused.
    #[error("{file} in the state folder")]
    Io {
        /// Which file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Its content is no such value.
    #[error("{file} in the state folder is damaged; {}", small_cure(.file))]
    Damaged {
        /// Which file.
        file: &'static str,
        /// Why.
        source: VersionedError,
    },
}

/// What to do about a damaged small file.
fn small_cure(file: &str) -> &'static str {
    match file {
        layout::LINE_KEY => "restore it from the backup; without it every site must be paired anew",
        layout::EPOCH => {
            "restore it from the backup, or remove it: a new epoch begins, and nothing is transferred again"
        }
        layout::ACCEPTED => "restore it from the backup, or remove it: the stored state takes its place",
        _ => "restore it from the backup",
    }
}

fn database_cure(file: &str, error: &OpenCatalogError) -> &'static str {
    match file {
        layout::LEDGER if error.is_damage() => {
            " is damaged: restore it from the backup, or move it away: members stay, open invitations and the audit are lost"
        }
        _ => "",
    }
}

/// The numbering of a line, kept beside the line key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Grows with every restart of numbering.
    pub number: u64,
    /// Drawn with it.
    pub nonce: [u8; 16],
}

/// An open state folder.
pub struct StateDir {
    disk: SharedDisk,
    root: RootId,
    /// The signed state and the holdings.
    pub index: Index,
    /// What can't be rebuilt.
    pub ledger: Ledger,
    /// What the published edition tells.
    pub editions: Editions,
    /// What hosts tell.
    pub hosts: Hosts,
    /// The hash trees of large blobs.
    pub outboards: Outboards,
    /// Whether the index was lost and starts empty.
    pub index_was_lost: bool,
    /// One copy of the ledger at a time.
    copying: Mutex<()>,
    /// Locked for as long as it is open.
    _lock: Arc<dyn DiskFile>,
}

impl StateDir {
    /// Opens the folder at `path`, making it if absent. `now` names a damaged index that is set aside.
    /// The state of a main that has signed is opened only beside the key that it signed with.
    pub fn open(disk: SharedDisk, path: &Path, role: Role, now: u64) -> Result<Self, OpenStateError> {
        let io = |doing| move |source| OpenStateError::Io { path: path.to_owned(), doing, source };
        let root = disk.open_root(path, true).map_err(io("opening the state folder"))?;
        check_version(&disk, root, path)?;
        let lock = disk.open(root.at(layout::VERSION), Open::Read).map_err(io("opening its version"))?;
        if !lock.try_lock().map_err(io("locking it"))? {
            return Err(OpenStateError::InUse { path: path.to_owned() });
        }
        if role == Role::Main {
            check_line_key(&disk, root, path)?;
        }
        disk.make_directory(root.at(layout::KEYS)).map_err(io("making the folder of keys"))?;
        let outboards = Outboards::open(disk.clone(), root).map_err(io("opening the outboards"))?;
        let (index, index_was_lost) = open_index(&disk, root, path, now)?;
        let ledger = open_file(&disk, root, layout::LEDGER, make_ledger).map_err(io("opening the ledger"))?;
        let ledger = Ledger::open(ledger).map_err(|source| OpenStateError::Ledger { path: path.to_owned(), source })?;
        let editions = open_editions(&disk, root).map_err(io("opening the editions"))?;
        let hosts = open_hosts(&disk, root).map_err(io("opening what hosts told"))?;
        Ok(Self {
            disk,
            root,
            index,
            ledger,
            editions,
            hosts,
            outboards,
            index_was_lost,
            copying: Mutex::new(()),
            _lock: lock,
        })
    }

    /// The head that was accepted last, or signed last on a main.
    pub fn accepted(&self) -> Result<Option<Accepted>, SmallFileError> {
        self.read_value(layout::ACCEPTED)
    }

    /// Keeps the head that was accepted last; durable when it returns.
    pub fn set_accepted(&self, accepted: &Accepted) -> Result<(), SmallFileError> {
        self.write_value(layout::ACCEPTED, accepted)
    }

    /// The numbering of the line, on a main.
    pub fn epoch(&self) -> Result<Option<Epoch>, SmallFileError> {
        self.read_value(layout::EPOCH)
    }

    /// Starts a numbering; durable when it returns.
    pub fn set_epoch(&self, epoch: &Epoch) -> Result<(), SmallFileError> {
        self.write_value(layout::EPOCH, epoch)
    }

    /// The line key, on a main.
    pub fn line_signer(&self) -> Result<Option<LineSigner>, SmallFileError> {
        let secret: Option<[u8; 32]> = self.read_value(layout::LINE_KEY)?;
        Ok(secret.map(|secret| LineSigner::from_secret(&secret)))
    }

    /// Refuses a main whose stored head is of another line than its key. `stored` is the line of the head.
    pub(super) fn check_stored_line(&self, path: &Path, stored: LineKey) -> Result<(), OpenStateError> {
        let small = |source| OpenStateError::Small { path: path.to_owned(), source };
        judge_line_key(self.line_signer().map_err(small)?.map(|signer| signer.line()), Some(stored), true, path)
    }

    /// Keeps the line key; durable when it returns.
    pub fn set_line_signer(&self, signer: &LineSigner) -> Result<LineKey, SmallFileError> {
        self.write_value(layout::LINE_KEY, &signer.secret())?;
        Ok(signer.line())
    }

    /// Writes the ledger as of now beside it, whole and durable when it returns.
    pub fn copy_ledger(&self) -> io::Result<()> {
        let _one = lock(&self.copying);
        self.copy_ledger_alone()
    }

    /// The bytes of the ledger as of now, by way of its copy.
    pub(super) fn ledger_bytes(&self) -> io::Result<Vec<u8>> {
        let _one = lock(&self.copying);
        self.copy_ledger_alone()?;
        let copy = self.disk.open(self.root.at(layout::LEDGER_COPY), Open::Read)?;
        let mut bytes = vec![0; usize::try_from(copy.stat()?.size).map_err(io::Error::other)?];
        copy.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn copy_ledger_alone(&self) -> io::Result<()> {
        let temporary = format!("{}.new", layout::LEDGER_COPY);
        remove_if_there(&self.disk, self.root, &temporary)?;
        let file = self.disk.open(self.root.at(&temporary), Open::CreateNew)?;
        file.set_mode(0o600)?;
        self.ledger.copy_to(Arc::new(DatabaseFile(file.clone()))).map_err(io::Error::other)?;
        file.sync()?;
        self.disk.rename(self.root.at(&temporary), self.root.at(layout::LEDGER_COPY), Replace::Yes)?;
        self.disk.sync_directory(self.root.at(""))
    }

    /// Removes a small file; durable when it returns.
    pub(super) fn remove_small(&self, file: &'static str) -> Result<(), SmallFileError> {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let removed = remove_if_there(&self.disk, self.root, file);
        let synced = removed.and_then(|()| self.disk.sync_directory(self.root.at(folder)));
        synced.map_err(|source| SmallFileError::Io { file, source })
    }

    /// A small file's bytes.
    pub fn read_small(&self, file: &'static str) -> Result<Option<Vec<u8>>, SmallFileError> {
        read_small(&self.disk, self.root, file).map_err(|source| SmallFileError::Io { file, source })
    }

    /// Replaces a small file atomically; durable when it returns.
    pub fn write_small(&self, file: &'static str, bytes: &[u8]) -> Result<(), SmallFileError> {
        write_small(&self.disk, self.root, file, bytes).map_err(|source| SmallFileError::Io { file, source })
    }

    fn read_value<T: serde::de::DeserializeOwned>(&self, file: &'static str) -> Result<Option<T>, SmallFileError> {
        read_value(&self.disk, self.root, file)
    }

    fn write_value<T: Serialize>(&self, file: &'static str, value: &T) -> Result<(), SmallFileError> {
        let bytes = versioned::encode(SMALL_FILE_VERSION, value);
        self.write_small(file, &bytes.map_err(|source| SmallFileError::Damaged { file, source })?)
    }
}

fn check_version(disk: &SharedDisk, root: RootId, path: &Path) -> Result<(), OpenStateError> {
    let io = |doing| move |source| OpenStateError::Io { path: path.to_owned(), doing, source };
    match read_small(disk, root, layout::VERSION).map_err(io("reading its version"))? {
        Some(bytes) => {
            let found = String::from_utf8_lossy(&bytes).trim().to_owned();
            match found.parse() {
                Ok(VERSION) => Ok(()),
                Ok(0_u32) | Err(_) => Err(OpenStateError::DamagedVersion { path: path.to_owned() }),
                Ok(_) => Err(OpenStateError::Newer { path: path.to_owned(), found }),
            }
        }
        None => {
            let text = format!("{VERSION}\n");
            write_small(disk, root, layout::VERSION, text.as_bytes()).map_err(io("writing its version"))
        }
    }
}

/// Before anything is written: whoever has signed has a key, and it is of the line that was signed.
fn check_line_key(disk: &SharedDisk, root: RootId, path: &Path) -> Result<(), OpenStateError> {
    let small = |source| OpenStateError::Small { path: path.to_owned(), source };
    let secret: Option<[u8; 32]> = read_value(disk, root, layout::LINE_KEY).map_err(small)?;
    let accepted: Option<Accepted> = read_value(disk, root, layout::ACCEPTED).map_err(small)?;
    let has_epoch = read_small(disk, root, layout::EPOCH)
        .map_err(|source| small(SmallFileError::Io { file: layout::EPOCH, source }))?
        .is_some();
    let found = secret.map(|secret| LineSigner::from_secret(&secret).line());
    judge_line_key(found, accepted.map(|accepted| accepted.line), has_epoch, path)
}

/// A key may be absent only where nothing was signed or followed.
fn judge_line_key(
    found: Option<LineKey>,
    followed: Option<LineKey>,
    has_signed: bool,
    path: &Path,
) -> Result<(), OpenStateError> {
    match (found, followed) {
        (None, Some(_)) => Err(OpenStateError::LineKeyMissing { path: path.to_owned() }),
        (None, None) if has_signed => Err(OpenStateError::LineKeyMissing { path: path.to_owned() }),
        (Some(found), Some(followed)) if found != followed => {
            Err(OpenStateError::OtherLineKey { path: path.to_owned(), found, followed })
        }
        _ => Ok(()),
    }
}

fn read_value<T: serde::de::DeserializeOwned>(
    disk: &SharedDisk,
    root: RootId,
    file: &'static str,
) -> Result<Option<T>, SmallFileError> {
    let bytes = read_small(disk, root, file).map_err(|source| SmallFileError::Io { file, source })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let value = versioned::decode(SMALL_FILE_VERSION, &bytes);
    value.map(Some).map_err(|source| SmallFileError::Damaged { file, source })
}

fn open_index(disk: &SharedDisk, root: RootId, path: &Path, now: u64) -> Result<(Index, bool), OpenStateError> {
    let io = |doing| move |source| OpenStateError::Io { path: path.to_owned(), doing, source };
    let catalog = |source| OpenStateError::Catalog { path: path.to_owned(), file: layout::INDEX, source };
    let existed = disk.stat(root.at(layout::INDEX)).is_ok_and(|stat| stat.size > 0);
    let file = open_file(disk, root, layout::INDEX, make_index).map_err(io("opening the index"))?;
    match Index::open(file) {
        Ok(index) => Ok((index, !existed)),
        Err(error) if !error.is_damage() => Err(catalog(error)),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the index is damaged; it is set aside and rebuilt"
            );
            let aside = format!("{}.damaged-{now}", layout::INDEX);
            disk.rename(root.at(layout::INDEX), root.at(&aside), Replace::Yes)
                .map_err(io("setting the index aside"))?;
            let file = open_file(disk, root, layout::INDEX, make_index).map_err(io("opening the index"))?;
            Ok((Index::open(file).map_err(catalog)?, true))
        }
    }
}

/// Opens a database's file; one that is absent is made whole elsewhere first, so that no power cut
/// leaves half of one.
fn open_file(disk: &SharedDisk, root: RootId, file: &str, make: Make) -> io::Result<Arc<dyn RandomAccess>> {
    let database = |how, file: &str| Ok::<_, io::Error>(Arc::new(DatabaseFile(disk.open(root.at(file), how)?)));
    match database(Open::Write, file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return Ok(opened?),
    }
    let temporary = format!("{file}.new");
    remove_if_there(disk, root, &temporary)?;
    let new = database(Open::CreateNew, &temporary)?;
    make(new.clone()).map_err(io::Error::other)?;
    new.sync()?;
    disk.rename(root.at(&temporary), root.at(file), Replace::Yes)?;
    disk.sync_directory(root.at(""))?;
    Ok(database(Open::Write, file)?)
}

/// Makes an empty database in an empty file.
type Make = fn(Arc<dyn RandomAccess>) -> Result<(), OpenCatalogError>;

fn make_index(file: Arc<dyn RandomAccess>) -> Result<(), OpenCatalogError> {
    Index::open(file).map(drop)
}

fn make_ledger(file: Arc<dyn RandomAccess>) -> Result<(), OpenCatalogError> {
    Ledger::open(file).map(drop)
}

fn make_editions(file: Arc<dyn RandomAccess>) -> Result<(), OpenCatalogError> {
    Editions::open(file).map(drop)
}

/// A damaged one is made anew: all of it is read from the edition again.
fn open_editions(disk: &SharedDisk, root: RootId) -> io::Result<Editions> {
    let open = || -> io::Result<Editions> {
        let file = open_file(disk, root, layout::EDITIONS, make_editions)?;
        Editions::open(file).map_err(io::Error::other)
    };
    open().or_else(|error| {
        tracing::warn!(%error, "what the edition told can't be read: it is read from the edition again");
        remove_if_there(disk, root, layout::EDITIONS)?;
        open()
    })
}

fn make_hosts(file: Arc<dyn RandomAccess>) -> Result<(), OpenCatalogError> {
    Hosts::open(file).map(drop)
}

/// A damaged one is made anew: hosts tell it again.
fn open_hosts(disk: &SharedDisk, root: RootId) -> io::Result<Hosts> {
    let open = || -> io::Result<Hosts> {
        let file = open_file(disk, root, layout::HOSTS, make_hosts)?;
        Hosts::open(file).map_err(io::Error::other)
    };
    open().or_else(|error| {
        tracing::warn!(%error, "what hosts told can't be read: it is forgotten, and they tell it again");
        remove_if_there(disk, root, layout::HOSTS)?;
        open()
    })
}

fn remove_if_there(disk: &SharedDisk, root: RootId, file: &str) -> io::Result<()> {
    match disk.remove(root.at(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn read_small(disk: &SharedDisk, root: RootId, file: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(root.at(file), Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; file.stat()?.size.min(MAX_SMALL_BYTES) as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

fn write_small(disk: &SharedDisk, root: RootId, file: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{file}.new");
    remove_if_there(disk, root, &temporary)?;
    let written = disk.open(root.at(&temporary), Open::CreateNew)?;
    written.set_mode(0o600)?;
    written.write_all_at(bytes, 0)?;
    written.sync()?;
    disk.rename(root.at(&temporary), root.at(file), Replace::Yes)?;
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    disk.sync_directory(root.at(folder))
}

/// A file of the disk seam as a home for a database.
struct DatabaseFile(Arc<dyn DiskFile>);

impl ReadAt for DatabaseFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
}

impl RandomAccess for DatabaseFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.stat()?.size)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Place;
    use super::*;
    use crate::store::disk::real::RealDisk;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn open(place: &Place) -> Result<StateDir, OpenStateError> {
        StateDir::open(Arc::new(RealDisk::new()), &place.state(""), Role::Main, 7)
    }

    #[test]
    fn small_values_survive_a_restart_and_keys_are_for_the_owner_alone() {
        let place = Place::new();
        let state = open(&place).unwrap();
        let signer = LineSigner::from_secret(&[3; 32]);
        let epoch = Epoch { number: 5, nonce: [6; 16] };
        assert_eq!((state.epoch().unwrap(), state.line_signer().unwrap().is_none()), (None, true));
        state.set_line_signer(&signer).unwrap();
        state.set_epoch(&epoch).unwrap();
        drop(state);
        let state = open(&place).unwrap();
        assert_eq!(state.epoch().unwrap(), Some(epoch));
        assert_eq!(state.line_signer().unwrap().unwrap().line(), signer.line());
        let mode = fs::metadata(place.state(layout::LINE_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_small_file_is_named() {
        let place = Place::new();
        let state = open(&place).unwrap();
        fs::write(place.state(layout::EPOCH), b"\x01").unwrap();
        let refused = state.epoch().unwrap_err();
        assert!(refused.to_string().contains("or remove it: a new epoch begins"), "{refused}");
        assert!(matches!(refused, SmallFileError::Damaged { file, .. } if file == layout::EPOCH));
    }

    #[test]
    fn a_version_that_says_nothing_is_damaged_and_not_newer() {
        let place = Place::new();
        drop(open(&place).unwrap());
        for text in ["", "x", "0"] {
            fs::write(place.state(layout::VERSION), text).unwrap();
            assert!(matches!(open(&place), Err(OpenStateError::DamagedVersion { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_damaged_ledger_is_refused_and_left_alone() {
        let place = Place::new();
        drop(open(&place).unwrap());
        fs::write(place.state(layout::LEDGER), vec![7; 50_000]).unwrap();
        let refused = open(&place).err().unwrap();
        assert!(matches!(refused, OpenStateError::Ledger { .. }));
        assert_eq!(fs::read(place.state(layout::LEDGER)).unwrap(), vec![7; 50_000]);
    }
}
