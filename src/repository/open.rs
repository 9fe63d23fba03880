//! The repository itself, and how it comes up.

use super::{
    attention::{Attention, Troubles, lock},
    author::Author,
    deletions::DeletionCap,
    error::RepositoryError,
    state_dir::{OpenStateError, StateDir},
};
use crate::{
    base::clock::SharedClock,
    domain::{
        key::LineKey,
        member::Role,
        name::{FileName, FolderName},
        state::{Accepted, LineSigner, SignedHead},
    },
    store::{
        disk::SharedDisk,
        staging::{OpenStagingError, Staging},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};
use tokio::sync::watch;

/// One configured folder.
#[derive(Debug, Clone)]
pub struct FolderConfig {
    /// Its name in URLs and in the state.
    pub name: FolderName,
    /// Where it lies.
    pub path: PathBuf,
    /// Where its staging lies, if not beside it.
    pub staging: Option<PathBuf>,
}

/// Everything that a repository is told.
#[derive(Debug, Clone)]
pub struct RepositoryConfig {
    /// Main or secondary.
    pub role: Role,
    /// Where its state lies.
    pub state_dir: PathBuf,
    /// What it mirrors.
    pub folders: Vec<FolderConfig>,
    /// How much an hour may delete.
    pub deletion_cap: DeletionCap,
}

/// A repository that can't come up.
#[derive(Debug, thiserror::Error)]
pub enum OpenRepositoryError {
    /// The state folder.
    #[error("the state folder")]
    State(#[from] OpenStateError),
    /// A mirrored folder.
    #[error("folder {folder}")]
    Folder {
        /// Which one.
        folder: FolderName,
        /// Why.
        source: OpenStagingError,
    },
    /// What is inside.
    #[error("reading the state")]
    Inside(#[from] RepositoryError),
}

/// One folder that is open.
pub(super) struct Folder {
    pub(super) name: FolderName,
    pub(super) path: PathBuf,
    pub(super) staging: Staging,
    /// Whether every file that was there at the first start has been looked at.
    pub(super) adopted: AtomicBool,
    pub(super) progress: Progress,
}

/// How far the running scan has come.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) running: AtomicBool,
    pub(super) done_files: AtomicU64,
    pub(super) total_files: AtomicU64,
    pub(super) done_bytes: AtomicU64,
    pub(super) total_bytes: AtomicU64,
}

/// How far a scan has come: of the files that differ from the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdoptionProgress {
    /// Files that were looked at.
    pub done_files: u64,
    /// Files that were found so far.
    pub total_files: u64,
    /// Bytes that were hashed.
    pub done_bytes: u64,
    /// Bytes of the files that were found so far.
    pub total_bytes: u64,
}

/// What the one writer at a time knows.
pub(super) struct Writer {
    /// The secret half of the line, on a main.
    pub(super) author: Option<Author>,
    /// The state as of the last commit.
    pub(super) head: Option<SignedHead>,
    /// What must not be gone behind.
    pub(super) accepted: Option<Accepted>,
    /// When tombstones were signed lately, and how many.
    pub(super) deletions: BTreeMap<FolderName, VecDeque<(u64, u64)>>,
}

/// One node's folders, bytes and rows.
pub struct Repository {
    pub(super) role: Role,
    pub(super) clock: SharedClock,
    pub(super) state: StateDir,
    pub(super) folders: BTreeMap<FolderName, Folder>,
    pub(super) deletion_cap: DeletionCap,
    pub(super) writer: Mutex<Writer>,
    pub(super) changed: watch::Sender<u64>,
    pub(super) faults: Mutex<BTreeSet<(FolderName, FileName)>>,
    /// What needs a person.
    pub attention: Attention,
    /// Files that are left alone.
    pub troubles: Troubles,
}

impl Repository {
    /// Opens state and folders and finishes what a power cut interrupted. Reads no file of the tree.
    ///
    /// A main without a line key draws one from `random`; a main that lost its index starts a new epoch.
    pub fn open(
        disk: SharedDisk,
        clock: SharedClock,
        config: &RepositoryConfig,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Self, OpenRepositoryError> {
        let state = StateDir::open(disk.clone(), &config.state_dir, clock.unix_seconds())?;
        let mut folders = BTreeMap::new();
        for folder in &config.folders {
            let opened = open_folder(&disk, &state, folder)?;
            folders.insert(folder.name.clone(), opened);
        }
        let writer = open_writer(&state, config.role, clock.unix_ms(), random)?;
        let repository = Self {
            role: config.role,
            attention: Attention::new(clock.clone()),
            clock,
            state,
            folders,
            deletion_cap: config.deletion_cap,
            writer: Mutex::new(writer),
            changed: watch::Sender::new(0),
            faults: Mutex::default(),
            troubles: Troubles::default(),
        };
        repository.finish_intents()?;
        repository.sweep_staging()?;
        if config.role == Role::Main {
            repository.begin_line()?;
        }
        Ok(repository)
    }

    /// Main or secondary.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The line that is signed or followed, if any yet.
    pub fn line(&self) -> Option<LineKey> {
        let writer = self.writer();
        let signed = writer.author.as_ref().map(|author| author.signer.line());
        signed.or_else(|| writer.accepted.as_ref().map(|accepted| accepted.line))
    }

    /// The state as of the last commit.
    pub fn head(&self) -> Option<SignedHead> {
        self.writer().head.clone()
    }

    /// The mirrored folders.
    pub fn folder_names(&self) -> impl Iterator<Item = &FolderName> {
        self.folders.keys()
    }

    /// Where a folder lies.
    pub fn folder_path(&self, folder: &FolderName) -> Option<&PathBuf> {
        self.folders.get(folder).map(|folder| &folder.path)
    }

    /// Databases and small files.
    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// The time that this repository goes by.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Wakes whenever rows changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How far the scan of a folder has come, while one runs.
    pub fn adoption(&self, folder: &FolderName) -> Option<AdoptionProgress> {
        let progress = &self.folders.get(folder)?.progress;
        progress.running.load(Relaxed).then(|| AdoptionProgress {
            done_files: progress.done_files.load(Relaxed),
            total_files: progress.total_files.load(Relaxed),
            done_bytes: progress.done_bytes.load(Relaxed),
            total_bytes: progress.total_bytes.load(Relaxed),
        })
    }

    pub(super) fn note_change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    pub(super) fn folder(&self, name: &FolderName) -> Result<&Folder, RepositoryError> {
        self.folders.get(name).ok_or_else(|| RepositoryError::UnknownFolder(name.clone()))
    }

    /// Sends the bytes after rows that went before a power cut.
    fn finish_intents(&self) -> Result<(), RepositoryError> {
        let intents = self.state.index.read()?.intents()?;
        for (folder, name) in intents {
            self.carry_out_removal(&folder, &name)?;
        }
        Ok(())
    }

    fn sweep_staging(&self) -> Result<(), RepositoryError> {
        for folder in self.folders.values() {
            folder.staging.sweep_incoming().map_err(RepositoryError::io("sweeping the staging of", &folder.name))?;
        }
        Ok(())
    }
}

fn open_folder(disk: &SharedDisk, state: &StateDir, config: &FolderConfig) -> Result<Folder, OpenRepositoryError> {
    let staging = Staging::open(disk.clone(), &config.path, &config.name, config.staging.as_deref())
        .map_err(|source| OpenRepositoryError::Folder { folder: config.name.clone(), source })?;
    let snapshot = state.index.read().map_err(RepositoryError::from)?;
    let adopted = snapshot.meta(&adopted_key(&config.name)).map_err(RepositoryError::from)?.is_some();
    Ok(Folder {
        name: config.name.clone(),
        path: config.path.clone(),
        staging,
        adopted: AtomicBool::new(adopted),
        progress: Progress::default(),
    })
}

/// The row that says that a folder was adopted.
pub(super) fn adopted_key(folder: &FolderName) -> String {
    format!("adopted/{folder}")
}

fn open_writer(
    state: &StateDir,
    role: Role,
    now_ms: u64,
    random: &mut dyn FnMut(&mut [u8]),
) -> Result<Writer, RepositoryError> {
    let accepted = state.accepted()?;
    let stored = state.index.read()?.head()?;
    let (author, line) = match role {
        Role::Main => {
            let signer = line_signer(state, random)?;
            let line = signer.line();
            (Some(signer), Some(line))
        }
        Role::Secondary => (None, accepted.as_ref().map(|accepted| accepted.line)),
    };
    let head = match (stored, line) {
        (Some(bytes), Some(line)) => Some(SignedHead::verify(&bytes, &line)?),
        _ => None,
    };
    let author = match author {
        Some(signer) => Some(Author::begin(state, signer, head.as_ref(), accepted.as_ref(), now_ms, random)?),
        None => None,
    };
    Ok(Writer { author, head, accepted, deletions: BTreeMap::new() })
}

fn line_signer(state: &StateDir, random: &mut dyn FnMut(&mut [u8])) -> Result<LineSigner, RepositoryError> {
    if let Some(signer) = state.line_signer()? {
        return Ok(signer);
    }
    let mut secret = [0; 32];
    random(&mut secret);
    let signer = LineSigner::from_secret(&secret);
    state.set_line_signer(&signer)?;
    Ok(signer)
}
