//! One daemon for each state folder.

use crate::store::layout;
use std::{
    fs::{DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// Why a state folder can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("{0} is in use by another wuasync; stop that one first")]
    Taken(PathBuf),
    /// The system refused.
    #[error("can't take {path}; make it and give it to the user that the daemon runs as")]
    Io {
        /// The state folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Holds the state folder as long as it lives.
#[derive(Debug)]
pub(super) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the folder at `path`, making it (0700) if absent.
    pub(super) fn take(path: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let file =
            File::options().create(true).truncate(false).write(true).open(path.join(layout::LOCK)).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Taken(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_on_one_state_is_refused_until_the_first_ends() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        let first = StateLock::take(&state).unwrap();
        assert!(matches!(StateLock::take(&state), Err(LockError::Taken(_))));
        drop(first);
        StateLock::take(&state).unwrap();
    }
}
