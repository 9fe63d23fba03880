//! The repository itself, and how it comes up.

use super::{
    asked_rows::AskedRows,
    attention::{Attention, Troubles, lock},
    author::Author,
    deletions::DeletionCap,
    error::RepositoryError,
    find::is_absent,
    frozen::Frozen,
    in_order::Waiting,
    log_limit::LogLimit,
    state_dir::{OpenStateError, StateDir},
    together::Pair,
};
use crate::{
    base::clock::SharedClock,
    catalog::WantLimit,
    domain::{
        digest::Root,
        key::LineKey,
        member::Role,
        name::{FileName, FolderName},
        state::{Accepted, LineSigner, SignedHead},
    },
    store::{
        disk::{Kind, SharedDisk, Stat},
        partial::{partial_roots, sweep_partials},
        staging::{OpenStagingError, Staging},
    },
    watch::Own,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{self, Relaxed},
        },
    },
};
use tokio::sync::{Notify, watch};

/// Rows that are looked through in one go.
const PAGE: usize = 1_000;

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
    /// What arriving files leave free on each folder's disk, in bytes; 0 leaves it to the disk.
    pub disk_reserve_bytes: u64,
    /// How far back the log of changes reaches.
    pub log_limit: LogLimit,
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
    /// Rows of files that hosts asked for lately.
    pub(super) asked_rows: AskedRows,
    /// What is moved into it here, of which the watch need not tell.
    pub(super) own: Arc<Own>,
}

/// How far the running scan has come.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) running: AtomicBool,
    /// Somebody asked for a scan that has not begun.
    pub(super) asked: AtomicBool,
    /// Wakes whoever tends the folder when a scan is asked for.
    pub(super) wake: Notify,
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

impl Progress {
    pub(super) fn reset(&self) {
        for counter in [&self.done_files, &self.total_files, &self.done_bytes, &self.total_bytes] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Whether something that was found waits to be looked at.
    pub(super) fn is_under_way(&self) -> bool {
        self.done_files.load(Ordering::Relaxed) < self.total_files.load(Ordering::Relaxed)
    }
}

/// What the one writer at a time knows.
pub(super) struct Writer {
    /// The secret half of the line, on a main.
    pub(super) author: Option<Author>,
    /// The state as of the last commit.
    pub(super) head: Option<SignedHead>,
    /// What must not be gone behind.
    pub(super) accepted: Option<Accepted>,
    /// The last commit failed: nobody knows whether it is durable, so the head is read again.
    pub(super) unsure: bool,
    /// When tombstones were signed lately, and how many.
    pub(super) deletions: BTreeMap<FolderName, VecDeque<(u64, u64)>>,
}

/// One node's folders, bytes and rows.
pub struct Repository {
    pub(super) role: Role,
    pub(super) disk: SharedDisk,
    pub(super) clock: SharedClock,
    pub(super) state: StateDir,
    pub(super) folders: BTreeMap<FolderName, Folder>,
    pub(super) deletion_cap: DeletionCap,
    pub(super) log_limit: LogLimit,
    pub(super) want_limit: WantLimit,
    /// As of which change of rows no held want could make room.
    pub(super) swept_in_vain: AtomicU64,
    pub(super) writer: Mutex<Writer>,
    pub(super) changed: watch::Sender<u64>,
    pub(super) faults: Mutex<BTreeSet<(FolderName, FileName)>>,
    /// Names that are answered as they were.
    pub(super) frozen: Frozen,
    /// The edition and its sidecar.
    pub(super) pair: OnceLock<Pair>,
    /// One change of the rules at a time.
    pub(super) changing_rules: Mutex<()>,
    /// What has arrived and may not take its name yet.
    pub(super) waiting: Mutex<Waiting>,
    pub(super) keeps_lists: AtomicBool,
    /// What needs a person.
    pub attention: Attention,
    /// Files that are left alone.
    pub troubles: Troubles,
}

impl Repository {
    /// Opens state and folders and finishes what a power cut interrupted. Reads no file of the tree.
    ///
    /// A main that never signed draws a line key from `random`; a main that lost its index starts a new epoch.
    pub fn open(
        disk: SharedDisk,
        clock: SharedClock,
        config: &RepositoryConfig,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Self, OpenRepositoryError> {
        let state = StateDir::open(disk.clone(), &config.state_dir, config.role, clock.unix_seconds())?;
        if config.role == Role::Main
            && let Some(line) = stored_line(&state)?
        {
            state.check_stored_line(&config.state_dir, line)?;
        }
        let mut folders = BTreeMap::new();
        for folder in &config.folders {
            let opened = open_folder(&disk, &state, folder)?;
            opened.staging.keep_free(config.disk_reserve_bytes);
            folders.insert(folder.name.clone(), opened);
        }
        let writer = open_writer(&state, config.role, clock.unix_ms(), random)?;
        let repository = Self {
            role: config.role,
            disk,
            attention: Attention::new(clock.clone()),
            clock,
            state,
            folders,
            deletion_cap: config.deletion_cap,
            log_limit: config.log_limit,
            want_limit: WantLimit::default(),
            swept_in_vain: AtomicU64::new(u64::MAX),
            writer: Mutex::new(writer),
            changed: watch::Sender::new(0),
            faults: Mutex::default(),
            frozen: Frozen::default(),
            pair: OnceLock::new(),
            changing_rules: Mutex::default(),
            waiting: Mutex::default(),
            keeps_lists: AtomicBool::new(true),
            troubles: Troubles::default(),
        };
        repository.bury()?;
        repository.sweep_staging()?;
        let now = repository.clock.unix_seconds();
        repository.state.ledger.interrupt_tasks(now).map_err(RepositoryError::from)?;
        if config.role == Role::Main {
            repository.begin_line()?;
            repository.recall_withheld()?;
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
        match self.fresh_writer() {
            Ok(writer) => writer.head.clone(),
            Err(_) => self.writer().head.clone(),
        }
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
        // In this order: a scan is running before it is asked for no more.
        let is_scanning = progress.asked.load(Ordering::Acquire) || progress.running.load(Ordering::Acquire);
        is_scanning.then(|| AdoptionProgress {
            done_files: progress.done_files.load(Relaxed),
            total_files: progress.total_files.load(Relaxed),
            done_bytes: progress.done_bytes.load(Relaxed),
            total_bytes: progress.total_bytes.load(Relaxed),
        })
    }

    /// Asks for a scan of every folder. Where one runs, another follows it: that one may have passed
    /// by what changed since it began. However often it is asked, only one waits.
    pub fn ask_for_scans(&self) {
        for folder in self.folders.values() {
            folder.progress.asked.store(true, Ordering::Release);
            folder.progress.wake.notify_one();
        }
    }

    pub(super) fn note_change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    /// The writer with a head that is certainly the stored one.
    pub(super) fn fresh_writer(&self) -> Result<MutexGuard<'_, Writer>, RepositoryError> {
        let mut writer = self.writer();
        if writer.unsure {
            let line = writer.author.as_ref().map(|author| author.signer.line());
            let line = line.or_else(|| writer.accepted.as_ref().map(|accepted| accepted.line));
            writer.head = stored_head(&self.state, line.as_ref())?;
            writer.unsure = false;
        }
        Ok(writer)
    }

    pub(super) fn folder(&self, name: &FolderName) -> Result<&Folder, RepositoryError> {
        self.folders.get(name).ok_or_else(|| RepositoryError::UnknownFolder(name.clone()))
    }

    fn sweep_staging(&self) -> Result<(), RepositoryError> {
        for folder in self.folders.values() {
            let swept = folder.staging.sweep_incoming().and_then(|()| folder.staging.sweep_kept());
            swept.map_err(RepositoryError::io("sweeping the staging of", &folder.name))?;
        }
        self.sweep_unwanted(&HashSet::new())
    }

    /// Removes partials of content that the index wants no longer, those that are `under_way` aside.
    pub fn sweep_unwanted(&self, under_way: &HashSet<Root>) -> Result<(), RepositoryError> {
        for folder in self.folders.values() {
            let mut stale = partial_roots(&folder.staging)
                .map_err(RepositoryError::io("looking at the partials of", &folder.name))?;
            stale.retain(|root| !under_way.contains(root));
            self.keep_wanted(&folder.name, &mut stale)?;
            if !stale.is_empty() {
                sweep_partials(&folder.staging, &|root| !stale.contains(&root))
                    .map_err(RepositoryError::io("sweeping the partials of", &folder.name))?;
            }
        }
        Ok(())
    }

    /// Takes out of `stale` what the folder still lacks.
    fn keep_wanted(&self, folder: &FolderName, stale: &mut BTreeSet<Root>) -> Result<(), RepositoryError> {
        let snapshot = self.state.index.read()?;
        let mut after: Option<FileName> = None;
        while !stale.is_empty() {
            let page = snapshot.missing_after(folder, after.as_ref(), PAGE)?;
            page.iter().for_each(|(_, wanted)| _ = stale.remove(&wanted.root));
            let Some((last, _)) = page.into_iter().next_back() else { break };
            after = Some(last);
        }
        Ok(())
    }
}

impl Folder {
    /// The ordinary file of that name, if there is one.
    pub(super) fn stat_file(&self, name: &FileName) -> Result<Option<Stat>, RepositoryError> {
        match self.staging.stat(name) {
            Ok(stat) => Ok((stat.kind == Kind::File).then_some(stat)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(RepositoryError::io("looking at", name)(error)),
        }
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
        asked_rows: AskedRows::default(),
        own: Arc::default(),
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
    let (author, line) = match role {
        Role::Main => {
            let signer = line_signer(state, random)?;
            let line = signer.line();
            (Some(signer), Some(line))
        }
        Role::Secondary => (None, accepted.as_ref().map(|accepted| accepted.line)),
    };
    let head = stored_head(state, line.as_ref())?;
    let author = match author {
        Some(signer) => Some(Author::begin(state, signer, head.as_ref(), accepted.as_ref(), now_ms, random)?),
        None => None,
    };
    // A cut between the commit and the small file leaves that one behind.
    let stored = head.as_ref().map(Accepted::from);
    let accepted = match (accepted, stored) {
        (Some(kept), Some(stored)) if is_ahead(&stored, &kept) => Some(stored),
        (kept, stored) => kept.or(stored),
    };
    Ok(Writer { author, head, accepted, unsure: false, deletions: BTreeMap::new() })
}

pub(super) fn is_ahead(one: &Accepted, other: &Accepted) -> bool {
    (one.epoch, one.seq) > (other.epoch, other.seq)
}

/// The head of the last commit; none before a line is known.
fn stored_head(state: &StateDir, line: Option<&LineKey>) -> Result<Option<SignedHead>, RepositoryError> {
    let (Some(bytes), Some(line)) = (state.index.read()?.head()?, line) else { return Ok(None) };
    Ok(Some(SignedHead::verify(&bytes, line)?))
}

/// Whose head is stored, before its signature is looked at.
fn stored_line(state: &StateDir) -> Result<Option<LineKey>, RepositoryError> {
    let Some(bytes) = state.index.read().map_err(RepositoryError::from)?.head()? else { return Ok(None) };
    Ok(SignedHead::line_in(&bytes))
}

/// The key, drawn where nothing was ever signed: otherwise the state would not have been opened.
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

#[cfg(test)]
mod tests;
