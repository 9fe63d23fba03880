//! Repositories for tests: on a real disk or one in memory, with a clock that stands still.

use super::{
    Arrival, Change, DeletionCap, Examined, FolderConfig, FollowError, LocalSource, OpenRepositoryError, Repository,
    RepositoryConfig, RepositoryError,
};
use crate::{
    base::{
        clock::{Clock, SharedClock},
        read_at::ReadAt,
    },
    domain::{
        digest::Root,
        file::FileRecord,
        member::Role,
        name::{FileName, FolderName},
        state::Namespace,
    },
    store::disk::{SharedDisk, real::RealDisk},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// When tests take place, in seconds since 1970 UTC.
pub(crate) const NOW: u64 = 2_000_000_000;
/// When their files were written.
pub(crate) const OLD: u64 = 1_700_000_000;

/// Stands still until it is set.
pub(crate) struct StandingClock(AtomicU64);

impl StandingClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(NOW)))
    }

    pub(crate) fn set(&self, unix_seconds: u64) {
        self.0.store(unix_seconds, Ordering::Relaxed);
    }
}

impl Clock for StandingClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed) * 1_000
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

pub(crate) fn folder() -> FolderName {
    FolderName::new("waptwua").unwrap()
}

pub(crate) fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

/// An immutable name for these bytes.
pub(crate) fn immutable(stem: &str, bytes: &[u8]) -> String {
    use sha1::Digest;
    format!("{stem}_{}.cab", data_encoding::HEXLOWER.encode(&sha1::Sha1::digest(bytes)))
}

pub(crate) fn root_of(bytes: &[u8]) -> Root {
    blake3::hash(bytes).into()
}

/// Opens a repository; `seed` tells apart the line keys and nonces that it draws.
pub(crate) fn open_on(
    disk: SharedDisk,
    clock: SharedClock,
    role: Role,
    top: &Path,
    seed: u8,
) -> Result<Repository, OpenRepositoryError> {
    let config = RepositoryConfig {
        role,
        state_dir: top.join("state"),
        folders: vec![FolderConfig { name: folder(), path: top.join("www/waptwua"), staging: None }],
        deletion_cap: DeletionCap { max_percent: 20, min_files: 3 },
        disk_reserve_bytes: 0,
        log_limit: Default::default(),
    };
    let mut drawn = 0;
    Repository::open(disk, clock, &config, &mut |bytes| {
        drawn += 1;
        bytes.fill(seed.wrapping_add(drawn));
    })
}

/// A folder with its state on the machine's disk.
pub(crate) struct Place {
    pub(crate) top: tempfile::TempDir,
    pub(crate) clock: Arc<StandingClock>,
    pub(crate) seed: u8,
}

impl Place {
    pub(crate) fn disk(&self) -> SharedDisk {
        Arc::new(RealDisk::new())
    }

    pub(crate) fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("www/waptwua")).unwrap();
        Self { top, clock: StandingClock::new(), seed: 10 }
    }

    /// In memory where the machine lets it: syncs cost nothing there.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let top = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        fs::create_dir_all(top.path().join("www/waptwua")).unwrap();
        Self { top, ..Self::new() }
    }

    pub(crate) fn main(&self) -> Repository {
        self.open(Role::Main).unwrap()
    }

    pub(crate) fn secondary(&self) -> Repository {
        self.open(Role::Secondary).unwrap()
    }

    pub(crate) fn open(&self, role: Role) -> Result<Repository, OpenRepositoryError> {
        open_on(Arc::new(RealDisk::new()), self.clock.clone(), role, self.top.path(), self.seed)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.top.path().join("www/waptwua").join(name)
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.top.path().join("state").join(name)
    }

    pub(crate) fn stage(&self, name: &str) -> PathBuf {
        self.top.path().join("www/.wuasync/waptwua").join(name)
    }

    /// Writes a file as if long ago.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        self.write_at(name, bytes, OLD);
    }

    pub(crate) fn write_at(&self, name: &str, bytes: &[u8], modified: u64) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
        let file = fs::File::options().append(true).open(self.path(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(name)).ok()
    }

    /// Files at rest in the trash, by their bytes.
    pub(crate) fn trashed(&self) -> Vec<Vec<u8>> {
        fn below(path: &Path, found: &mut Vec<Vec<u8>>) {
            for entry in fs::read_dir(path).unwrap().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => below(&entry.path(), found),
                    false => found.push(fs::read(entry.path()).unwrap()),
                }
            }
        }
        let mut found = Vec::new();
        below(&self.stage("trash"), &mut found);
        found
    }
}

/// What whoever tends a main does with names that settled.
pub(crate) fn adopt(main: &Repository, names: &[&str]) -> Result<(), RepositoryError> {
    let mut ready = Vec::new();
    for text in names {
        match main.examine(&folder(), &name(text))? {
            Examined::Ready(file) => ready.push(file),
            Examined::Unchanged => {}
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(main.publish(&ready)?, []);
    Ok(())
}

/// A scan of a main, and all that follows from it.
pub(crate) fn rescan(repository: &Repository) -> u64 {
    let mut differing = Vec::new();
    let summary = repository.scan(&folder(), &mut |name, _| differing.push(name)).unwrap();
    for name in differing {
        match repository.role() {
            Role::Main => {
                if let Examined::Ready(file) = repository.examine(&folder(), &name).unwrap() {
                    repository.publish(&[file]).unwrap();
                }
            }
            Role::Secondary => _ = repository.mend(&folder(), &name).unwrap(),
        }
    }
    repository.finish_adoption(&folder()).unwrap();
    summary.gone
}

fn entries(of: &Repository, namespace: &Namespace) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut entries = BTreeMap::new();
    let snapshot = of.state().index.read().unwrap();
    let mut put = |key: &[u8], body: &[u8]| {
        entries.insert(key.to_vec(), body.to_vec());
        Ok::<_, RepositoryError>(())
    };
    snapshot.each_entry(namespace, &mut put).unwrap();
    entries
}

/// What a comparison of the two trees finds.
pub(crate) fn differences(parent: &Repository, child: &Repository) -> Vec<Change> {
    let mut changes = Vec::new();
    for namespace in child.namespaces() {
        let (theirs, own) = (entries(parent, &namespace), entries(child, &namespace));
        let mut note = |key: &Vec<u8>, body: Option<&Vec<u8>>| {
            changes.push(Change { seq: None, namespace: namespace.clone(), key: key.clone(), body: body.cloned() });
        };
        theirs.iter().filter(|(key, body)| own.get(*key) != Some(body)).for_each(|(key, body)| note(key, Some(body)));
        own.keys().filter(|key| !theirs.contains_key(*key)).for_each(|key| note(key, None));
    }
    changes
}

/// Follows the parent's head by comparing trees.
pub(crate) fn follow(parent: &Repository, child: &Repository) -> Result<(), FollowError> {
    child.follow(parent.head().unwrap(), &differences(parent, child))
}

/// Brings everything that the child lacks from its own disk, else from the parent. Answers with what
/// had to be transferred.
pub(crate) fn fetch(parent: &Repository, child: &Repository) -> Result<Vec<String>, RepositoryError> {
    let mut transferred = Vec::new();
    for (name, wanted) in child.missing_after(&folder(), None, 1_000)? {
        let staged = match child.obtain_locally(&folder(), &name, &wanted)? {
            LocalSource::Settled => continue,
            LocalSource::Staged(staged) => staged,
            LocalSource::Nothing => {
                let Some(blob) = parent.open_blob(&wanted.root)? else { continue };
                transferred.push(name.to_string());
                let stage = child.staging(&folder())?.stage_bytes(&bytes_of(&*blob.data, blob.size), wanted.modified);
                stage.map_err(RepositoryError::io("staging", &name))?
            }
        };
        child.receive(vec![Arrival { folder: folder(), name, wanted, staged }])?;
    }
    Ok(transferred)
}

pub(crate) fn bytes_of(file: &dyn ReadAt, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// What the index says of a file.
pub(crate) fn indexed(of: &Repository, text: &str) -> Option<FileRecord> {
    of.indexed(&folder(), &name(text)).unwrap()
}

pub(crate) fn is_held(by: &Repository, text: &str) -> bool {
    by.state().index.read().unwrap().holding(&folder(), &name(text)).unwrap().is_some()
}

pub(crate) fn is_listed(by: &Repository, text: &str) -> bool {
    by.state().index.read().unwrap().holding(&folder(), &name(text)).unwrap().is_some_and(|holding| holding.listed)
}

pub(crate) fn is_missing(at: &Repository, text: &str) -> bool {
    at.state().index.read().unwrap().missing(&folder(), &name(text)).unwrap().is_some()
}

pub(crate) fn seq(of: &Repository) -> u64 {
    of.head().unwrap().head().seq
}
