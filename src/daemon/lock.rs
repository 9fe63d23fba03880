//! One daemon for each state folder.

use super::owner::{own_uid, user_name};
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
    /// The state folder is not there and can't be made.
    #[error("can't make {path}; as root: `install -d -o {user} -m 700 {path}`", path = .path.display())]
    Make {
        /// The state folder.
        path: PathBuf,
        /// Who wanted it.
        user: String,
        /// Why.
        source: io::Error,
    },
    /// The file that is locked can't be opened or locked.
    #[error(
        "can't take {file}; if an earlier command ran as another user, give all of the state back, as root: \
         `chown -R {user} {folder}`",
        file = .path.join(layout::LOCK).display(), folder = .path.display()
    )]
    Io {
        /// The state folder.
        path: PathBuf,
        /// Who wanted it.
        user: String,
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
        let user = || user_name(own_uid());
        let io = |source| LockError::Io { path: path.to_owned(), user: user(), source };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| LockError::Make { path: path.to_owned(), user: user(), source })?;
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

    #[test]
    fn the_file_that_can_not_be_taken_is_named_with_the_cure() {
        let place = tempfile::tempdir().unwrap();
        let (lock, user) = (place.path().join(layout::LOCK), user_name(own_uid()));
        std::fs::create_dir(&lock).unwrap();
        let refused = StateLock::take(place.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("can't take {}", lock.display())), "{refused}");
        assert!(refused.contains(&format!("`chown -R {user} {}`", place.path().display())), "{refused}");
        let refused = StateLock::take(Path::new("/proc/none")).unwrap_err().to_string();
        assert!(refused.contains(&format!("`install -d -o {user} -m 700 /proc/none`")), "{refused}");
    }
}
