//! Why a command did not do its work, and which exit code says so.

use super::{client::ClientError, exit::Exit};
use crate::daemon::{
    BackupError, CabinetError, JoinLineError, RestoreError, ServeError, TrustError, api::ErrorCode, backup_error,
    config::ConfigErrors, join_error, restore_error,
};
use std::{io, path::PathBuf};

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The daemon could not be asked, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Arguments that are right one by one and wrong together.
    #[error("{0}")]
    Usage(String),
    /// Standard output does not take the answer.
    #[error("can't write the answer")]
    Output(#[source] io::Error),
    /// Standard input does not give what was to be read.
    #[error("can't read standard input")]
    Input(#[source] io::Error),
    /// A value that can't be written as JSON or TOML.
    #[error("can't write the answer: {0}")]
    Format(String),
    /// The system gives no threads, timers or signals.
    #[error("can't start")]
    Runtime(#[source] io::Error),
    /// The daemon ended.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Joining without a daemon went wrong.
    #[error(transparent)]
    OfflineJoin(#[from] JoinLineError),
    /// Backing up without a daemon went wrong.
    #[error(transparent)]
    OfflineBackup(#[from] BackupError),
    /// A cabinet's signature was refused, or its issuers were not pinned.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Restoring went wrong, or was refused.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A file that can't be read or written.
    #[error("{}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A cabinet that is damaged, or of a kind that can't be read.
    #[error("{}", path.display())]
    Cabinet {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: CabinetError,
    },
    /// The work was tried and went wrong.
    #[error("{0}")]
    Failed(String),
    /// Rights or somebody's word stand against it.
    #[error("{0}")]
    Refused(String),
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl CliError {
    /// Its exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Client(error) => client_exit(error),
            Self::Config(_) | Self::Usage(_) => Exit::Usage,
            Self::Output(_) if self.is_reader_gone() => Exit::Done,
            Self::Serve(ServeError::Refused(_)) | Self::Refused(_) => Exit::Refused,
            Self::Serve(ServeError::Configuration(_)) => Exit::Usage,
            Self::OfflineJoin(error) => code_exit(join_error(error).code),
            Self::OfflineBackup(error) => code_exit(backup_error(error).code),
            Self::Restore(error) => code_exit(restore_error(error).code),
            Self::Trust(error) => trust_exit(error),
            Self::Serve(ServeError::Failed(_))
            | Self::Output(_)
            | Self::Input(_)
            | Self::Format(_)
            | Self::Runtime(_)
            | Self::File { .. }
            | Self::Cabinet { .. }
            | Self::Failed(_) => Exit::Failed,
            Self::Interrupted | Self::Serve(ServeError::Interrupted) => Exit::Interrupted,
        }
    }

    /// Whether whoever read our output has seen enough (`wuasync files list | head`).
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn client_exit(error: &ClientError) -> Exit {
    match error {
        ClientError::NotRunning { .. } | ClientError::Connect { .. } | ClientError::Lost { .. } | ClientError::Slow => {
            Exit::Unreachable
        }
        ClientError::Denied { .. } => Exit::Refused,
        ClientError::Request(_) | ClientError::NotUnderstood { .. } => Exit::Failed,
        ClientError::Api(error) => code_exit(error.code),
    }
}

/// A cabinet that lacks nothing but trust is refused; one that is wrong has failed its check.
fn trust_exit(error: &TrustError) -> Exit {
    match error {
        TrustError::Refused { source, .. } if source.is_untrusted() => Exit::Refused,
        TrustError::OtherUser { .. } => Exit::Refused,
        TrustError::Roots { .. } => Exit::Usage,
        TrustError::Refused { .. } | TrustError::File { .. } => Exit::Failed,
    }
}

fn code_exit(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::Invalid => Exit::Usage,
        ErrorCode::Refused => Exit::Refused,
        ErrorCode::Unknown | ErrorCode::Failed => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::api::ApiError;

    #[test]
    fn each_answer_of_the_daemon_has_its_exit_code() {
        for (code, exit) in [
            (ErrorCode::Invalid, Exit::Usage),
            (ErrorCode::Refused, Exit::Refused),
            (ErrorCode::Unknown, Exit::Failed),
            (ErrorCode::Failed, Exit::Failed),
        ] {
            assert_eq!(CliError::from(ClientError::Api(ApiError::new(code, "x"))).exit(), exit);
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        assert_eq!(CliError::Output(io::ErrorKind::BrokenPipe.into()).exit(), Exit::Done);
        assert_eq!(CliError::Output(io::ErrorKind::StorageFull.into()).exit(), Exit::Failed);
    }
}
