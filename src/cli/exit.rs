//! What a command leaves behind for scripts.

use std::process::{ExitCode, Termination};

/// How a command ended. The numbers are documented and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done = 0,
    /// A check found something, or the work failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// The daemon can't be reached.
    Unreachable = 3,
    /// Refused: rights, trust, a cap.
    Refused = 4,
    /// Somebody pressed Ctrl-C.
    Interrupted = 5,
}

impl Exit {
    /// As the process ends with it.
    pub fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.code()
    }
}
