//! Bringing a main back: on an empty state folder, from its backup, or from its keys and what a secondary
//! has of the signed state. No daemon runs meanwhile.
//!
//! Order of events: everything is read, opened and verified; only then the state folder is touched: what
//! was there moves aside, a marker says that a restore is under way, the ledger and the keys are written,
//! the repository opens and signs the first head of a new epoch, and the marker goes. A daemon does not
//! start beside the marker.

use super::{
    api::{ApiError, ErrorCode, RestoreReply},
    config::Config,
    lock::{LockError, StateLock},
    node::{StartError, repository_config},
    random,
};
use crate::{
    base::{
        chain::chain,
        clock::{Clock, SystemClock},
    },
    domain::{
        backup::{BackupFile, BackupHeader, BackupKind, Passphrase, ReadBackupError, Secrets, UnsealError},
        member::Role,
        state::{Accepted, Head, LineSigner, SignedState, VerifyStateError},
    },
    repository::{OpenStateError, Repository, RepositoryError, StateDir, members_of},
    store::{disk::real::RealDisk, layout},
};
use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a state folder is known by, and what moves aside. Hash trees stay: they are named by content.
const STATE_FILES: [&str; 8] = [
    layout::RESTORING,
    layout::VERSION,
    layout::INDEX,
    layout::LEDGER,
    layout::LEDGER_COPY,
    layout::ACCEPTED,
    layout::PARENT,
    layout::KEYS,
];

/// What is to come back.
#[derive(Debug)]
pub struct RestoreRequest {
    /// A main's backup or its keys.
    pub backup: Vec<u8>,
    /// A secondary's export.
    pub from_secondary: Option<Vec<u8>>,
    /// What the keys are sealed with.
    pub passphrase: Passphrase,
    /// A state that is there moves aside.
    pub replace: bool,
    /// A secondary's state that is older than the keys is good enough.
    pub accept_older: bool,
}

/// Why nothing was restored. The state folder is as it was, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A secondary needs no backup.
    #[error(
        "this node is a secondary: it needs no backup; join again with a new token, its files are not transferred again"
    )]
    NotMain,
    /// One of the files is none.
    #[error("{file}")]
    Read {
        /// Which file.
        file: &'static str,
        /// Why.
        source: ReadBackupError,
    },
    /// A file that holds something else.
    #[error("{0}")]
    Kind(String),
    /// The keys stay closed.
    #[error("opening the keys")]
    Unseal(#[from] UnsealError),
    /// The keys are not those of the line that the file names.
    #[error("the keys are of line {found}, and the file is of line {named}")]
    OtherKeys {
        /// Whose the keys are.
        found: String,
        /// Whose the file says it is.
        named: String,
    },
    /// Entries that nobody signed.
    #[error("{file} is refused")]
    Forged {
        /// Which file.
        file: &'static str,
        /// Why.
        source: VerifyStateError,
    },
    /// A state that others have gone beyond.
    #[error("{0}")]
    Older(String),
    /// A folder that is configured and not there.
    #[error("folder {folder}: {path} is not there; mount it or make it first")]
    NoFolder {
        /// Which one.
        folder: String,
        /// Where it is to be.
        path: PathBuf,
    },
    /// There is a state.
    #[error("{path} holds the state of a node already; with --replace it moves aside, into a folder of its own there")]
    StateThere {
        /// The state folder.
        path: PathBuf,
    },
    /// There is none.
    #[error("{path} holds no main's state")]
    NoState {
        /// The state folder.
        path: PathBuf,
    },
    /// The state folder can't be read or written.
    #[error("{doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A daemon has the state folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The state folder does not open.
    #[error(transparent)]
    State(#[from] OpenStateError),
    /// Rows or small files.
    #[error("writing the state")]
    Write(#[from] RepositoryError),
    /// The restored repository does not open.
    #[error("opening what was restored")]
    Open(#[source] StartError),
}

/// Everything that a restore needs, verified.
struct Plan {
    secrets: Secrets,
    ledger: Vec<u8>,
    state: Option<SignedState>,
    as_of: Option<u64>,
    known: Option<Accepted>,
}

/// Brings a main back. Blocks.
pub fn restore(config: &Config, request: &RestoreRequest) -> Result<RestoreReply, RestoreError> {
    if config.role != Role::Main {
        return Err(RestoreError::NotMain);
    }
    let plan = plan(request)?;
    if let Some(folder) = config.folders.iter().find(|folder| !folder.path.is_dir()) {
        return Err(RestoreError::NoFolder { folder: folder.name.to_string(), path: folder.path.clone() });
    }
    let path = &config.state_dir;
    let _lock = StateLock::take(path)?;
    let set_aside = match state_files(path).is_empty() {
        true => None,
        false if !request.replace => return Err(RestoreError::StateThere { path: path.clone() }),
        false => Some(set_aside(path)?),
    };
    let marker = path.join(layout::RESTORING);
    write_file(&marker, b"")?;
    let result = write_state(config, &plan)?;
    fs::remove_file(&marker).map_err(|source| RestoreError::Io { doing: "removing", path: marker, source })?;
    Ok(RestoreReply { set_aside: set_aside.map(|path| path.display().to_string()), ..result })
}

/// Lets the next start of a stopped main begin a new epoch: its state was put back from a copy.
pub fn new_epoch(config: &Config) -> Result<(), RestoreError> {
    if config.role != Role::Main {
        return Err(RestoreError::NotMain);
    }
    let no_state = || RestoreError::NoState { path: config.state_dir.clone() };
    if state_files(&config.state_dir).is_empty() {
        return Err(no_state());
    }
    let _lock = StateLock::take(&config.state_dir)?;
    let state = StateDir::open(Arc::new(RealDisk::new()), &config.state_dir, config.role, SystemClock.unix_seconds())?;
    if state.end_epoch()? { Ok(()) } else { Err(no_state()) }
}

/// Reads and verifies what was given. Touches nothing.
fn plan(request: &RestoreRequest) -> Result<Plan, RestoreError> {
    let backup = read("the backup", &request.backup)?;
    let named = backup.header.kind;
    if named == BackupKind::Secondary {
        let text = "the file is a secondary's signed state: give the main's backup or its keys as the file, and this \
                    one with --from-secondary";
        return Err(RestoreError::Kind(text.to_owned()));
    }
    let secrets = backup.unseal(&request.passphrase)?;
    let secrets = secrets.ok_or_else(|| RestoreError::Kind(format!("the file says {named} and holds no keys")))?;
    let line = LineSigner::from_secret(&secrets.line).line();
    let BackupFile { header: BackupHeader { line: named, accepted, signed, made_at, .. }, ledger } = backup;
    if named != line {
        return Err(RestoreError::OtherKeys { found: line.to_string(), named: named.to_string() });
    }
    let forged = |file| move |source| RestoreError::Forged { file, source };
    let own = signed.map(|state| state.verify(&line).map(|head| (state, head)).map_err(forged("the backup")));
    let mut newest = own.transpose()?.map(|(state, head)| (state, head, made_at));
    let mut known = accepted;
    if let Some(bytes) = &request.from_secondary {
        let export = read("the secondary's export", bytes)?;
        let Some(state) = export.header.signed else {
            let text = format!("{} is no secondary's signed state: run `wuasync backup` on one", export.header.kind);
            return Err(RestoreError::Kind(text));
        };
        let head = state.verify(&line).map_err(forged("the secondary's export"))?;
        check_age(&head, known.as_ref(), newest.is_some(), request.accept_older)?;
        newest = Some((state, head, export.header.made_at));
    }
    if let Some((_, head, _)) = &newest {
        known = Some(later(known, head));
    }
    let as_of = newest.as_ref().map(|(_, head, _)| head.signed_at);
    Ok(Plan { secrets, ledger, state: newest.map(|(state, ..)| state), as_of, known })
}

fn read(file: &'static str, bytes: &[u8]) -> Result<BackupFile, RestoreError> {
    BackupFile::decode(bytes).map_err(|source| RestoreError::Read { file, source })
}

/// A secondary that was behind when the main was backed up knows less than the backup.
fn check_age(
    head: &Head,
    known: Option<&Accepted>,
    backup_has_members: bool,
    accept_older: bool,
) -> Result<(), RestoreError> {
    let Some(known) = known.filter(|known| (head.epoch, head.seq) < (known.epoch, known.seq)) else { return Ok(()) };
    let ages = format!(
        "the secondary's state (epoch {}, change {}) is older than the main's was at the backup (epoch {}, change {})",
        head.epoch, head.seq, known.epoch, known.seq
    );
    match (backup_has_members, accept_older) {
        (true, _) => Err(RestoreError::Older(format!("{ages}; leave --from-secondary out, the backup knows more"))),
        (false, true) => Ok(()),
        (false, false) => Err(RestoreError::Older(format!(
            "{ages}: members that joined since would be missing, and revoked ones be back; take the export of another \
             secondary, or use --accept-older and look at `wuasync pair list` afterwards"
        ))),
    }
}

fn later(known: Option<Accepted>, head: &Head) -> Accepted {
    let shown = Accepted { line: head.line, epoch: head.epoch, epoch_nonce: head.epoch_nonce, seq: head.seq };
    known.filter(|known| (known.epoch, known.seq) > (shown.epoch, shown.seq)).unwrap_or(shown)
}

fn write_state(config: &Config, plan: &Plan) -> Result<RestoreReply, RestoreError> {
    let path = &config.state_dir;
    if !plan.ledger.is_empty() {
        write_file(&path.join(layout::LEDGER), &plan.ledger)?;
    }
    let members = plan.state.as_ref().map(members_of);
    let state = StateDir::open(Arc::new(RealDisk::new()), path, config.role, SystemClock.unix_seconds())?;
    state.restore(&plan.secrets, plan.known.as_ref(), members.as_deref())?;
    drop(state);
    let opened = Repository::open(
        Arc::new(RealDisk::new()),
        Arc::new(SystemClock),
        &repository_config(config),
        &mut random::fill,
    );
    let repository = opened.map_err(|error| RestoreError::Open(error.into()))?;
    if let Some(state) = &plan.state {
        repository.take_over(state)?;
    }
    let line = LineSigner::from_secret(&plan.secrets.line).line();
    Ok(RestoreReply {
        line: line.to_string(),
        epoch: repository.head().map_or(0, |head| head.head().epoch),
        members: repository.members()?.len() as u64,
        members_as_of: plan.as_of,
        set_aside: None,
    })
}

/// A new file for the owner alone; it and its name are durable when this returns.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), RestoreError> {
    let write = || {
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    };
    write().map_err(|source| RestoreError::Io { doing: "writing", path: path.to_owned(), source })
}

/// What lies in a state folder of a node's state.
fn state_files(state_dir: &Path) -> Vec<&'static str> {
    let is_there = |file: &&str| {
        let path = state_dir.join(file);
        fs::read_dir(&path).map_or_else(|_| path.exists(), |mut inside| inside.next().is_some())
    };
    STATE_FILES.into_iter().filter(is_there).collect()
}

/// Moves the state that is there into a folder of its own beside it.
fn set_aside(state_dir: &Path) -> Result<PathBuf, RestoreError> {
    let aside = state_dir.join(format!("replaced-{}", SystemClock.unix_ms()));
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Io { doing, path, source }
    };
    fs::create_dir(&aside).map_err(io("making", &aside))?;
    for file in state_files(state_dir) {
        let from = state_dir.join(file);
        fs::rename(&from, aside.join(file)).map_err(io("moving", &from))?;
    }
    Ok(aside)
}

/// How a restore that was refused or failed is told.
pub fn restore_error(error: &RestoreError) -> ApiError {
    let code = match error {
        RestoreError::NotMain
        | RestoreError::Unseal(_)
        | RestoreError::OtherKeys { .. }
        | RestoreError::Forged { .. }
        | RestoreError::Older(_)
        | RestoreError::StateThere { .. }
        | RestoreError::Lock(LockError::Taken(_)) => ErrorCode::Refused,
        RestoreError::Read { .. }
        | RestoreError::Kind(_)
        | RestoreError::NoFolder { .. }
        | RestoreError::NoState { .. } => ErrorCode::Invalid,
        RestoreError::Open(error) => error.code(),
        RestoreError::Lock(LockError::Io { .. } | LockError::Make { .. })
        | RestoreError::Io { .. }
        | RestoreError::State(_)
        | RestoreError::Write(_) => ErrorCode::Failed,
    };
    ApiError::new(code, chain(error))
}
