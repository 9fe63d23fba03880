//! Backups: made by the running daemon, or without it from the same state folder.

use super::{
    api::{ApiError, BackupReply, BackupRequest, BackupSummary, ErrorCode},
    config::Config,
    lock::{LockError, StateLock},
    random,
};
use crate::{
    base::{
        chain::chain,
        clock::{Clock, SystemClock},
    },
    domain::{
        backup::{BackupFile, BackupHeader, UnsealError},
        member::Role,
        versioned::VersionedError,
    },
    repository::{ExportError, OpenStateError, StateDir, members_of},
    store::disk::real::RealDisk,
};
use std::sync::Arc;

/// Why no backup was made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A main's keys are sealed, always.
    #[error(
        "a main's backup holds its keys: give a passphrase with --passphrase-file FILE, or with - on standard input"
    )]
    NoPassphrase,
    /// What the node has.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The seal.
    #[error(transparent)]
    Seal(#[from] UnsealError),
    /// The file's form.
    #[error("writing the backup")]
    Encode(#[from] VersionedError),
    /// Another process has the state folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The state folder.
    #[error(transparent)]
    State(#[from] OpenStateError),
}

/// Makes a backup while no daemon runs.
pub fn backup_offline(config: &Config, request: &BackupRequest) -> Result<BackupReply, BackupError> {
    if !config.state_dir.exists() {
        return Err(ExportError::NoState.into());
    }
    let _lock = StateLock::take(&config.state_dir)?;
    let state = StateDir::open(Arc::new(RealDisk::new()), &config.state_dir, config.role, SystemClock.unix_seconds())?;
    make_backup(config, &state, request)
}

/// Makes a backup of an open state folder. Blocks.
pub(super) fn make_backup(
    config: &Config,
    state: &StateDir,
    request: &BackupRequest,
) -> Result<BackupReply, BackupError> {
    if config.role == Role::Main && request.passphrase.is_none() {
        return Err(BackupError::NoPassphrase);
    }
    let made_at = SystemClock.unix_seconds();
    let (mut file, secrets) = state.export(config.role, request.keys_only, config.name.as_str(), made_at)?;
    if let (Some(secrets), Some(passphrase)) = (secrets, &request.passphrase) {
        let mut drawn = [0; 28];
        random::fill(&mut drawn);
        file.seal(&secrets, passphrase, drawn)?;
    }
    let summary = summary(&file);
    Ok(BackupReply { file: data_encoding::BASE64.encode(&file.encode()?), summary })
}

fn summary(file: &BackupFile) -> BackupSummary {
    let BackupHeader { kind, line, node, made_at, accepted, signed, .. } = &file.header;
    BackupSummary {
        kind: *kind,
        line: line.to_string(),
        node: node.clone(),
        made_at: *made_at,
        epoch: accepted.as_ref().map_or(0, |accepted| accepted.epoch),
        seq: accepted.as_ref().map_or(0, |accepted| accepted.seq),
        members: signed.as_ref().map_or(0, |signed| members_of(signed).len() as u64),
    }
}

/// How a backup that was not made is told.
pub fn backup_error(error: &BackupError) -> ApiError {
    let code = match error {
        BackupError::NoPassphrase => ErrorCode::Invalid,
        BackupError::Export(ExportError::NoState | ExportError::NotMain)
        | BackupError::Lock(LockError::Taken(_))
        | BackupError::State(OpenStateError::Newer { .. } | OpenStateError::InUse { .. }) => ErrorCode::Refused,
        BackupError::Export(ExportError::State(_) | ExportError::Catalog(_) | ExportError::Ledger(_))
        | BackupError::Seal(_)
        | BackupError::Encode(_)
        | BackupError::Lock(LockError::Io { .. } | LockError::Make { .. })
        | BackupError::State(_) => ErrorCode::Failed,
    };
    ApiError::new(code, chain(error))
}
