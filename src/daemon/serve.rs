//! `wuasync serve`: the daemon from start to stop.

use super::config::Config;

/// Why the daemon ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something is refused: rights, trust, another daemon on the same state.
    #[error("{0}")]
    Refused(String),
    /// It could not be set up, or broke down.
    #[error("{0}")]
    Failed(String),
}

/// Runs the daemon until SIGTERM or SIGINT, on a runtime of its own.
pub fn serve(config: Config) -> Result<(), ServeError> {
    Err(ServeError::Failed(format!("the daemon of {:?} can't be started by this build", config.name)))
}
