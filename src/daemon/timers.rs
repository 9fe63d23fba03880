//! Which jobs a timer of systemd begins.

use super::config::RunBy;
use crate::jobs::JobName;
use std::path::Path;

/// There where systemd runs this machine.
const BOOTED: &str = "/run/systemd/system";
/// Where enabled timers are linked from.
const ENABLED: [&str; 2] = ["/etc/systemd/system/timers.target.wants", "/run/systemd/system/timers.target.wants"];

/// Whether a timer begins the job, and the daemon only catches up.
pub(super) fn begins(by: RunBy, name: JobName) -> bool {
    let Some(timer) = name.timer() else { return false };
    match by {
        RunBy::Daemon => false,
        RunBy::Systemd => true,
        RunBy::Auto => {
            Path::new(BOOTED).is_dir()
                && ENABLED.iter().any(|wants| Path::new(wants).join(timer).symlink_metadata().is_ok())
        }
    }
}
