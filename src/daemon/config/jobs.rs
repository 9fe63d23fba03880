//! `[jobs]`: what runs when.

use super::{keys::Keys, read, show};
use serde::Serialize;
use std::time::Duration;

/// Who starts jobs, and how often.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Jobs {
    /// Who starts them.
    pub by: RunBy,
    /// Between two looks for a newer edition.
    #[serde(serialize_with = "show::period")]
    pub refresh_cab: Duration,
    /// Between two searches for what hosts want.
    #[serde(serialize_with = "show::period")]
    pub scan_wants: Duration,
    /// Between two questions to the parent, which tells by itself when something changes.
    #[serde(serialize_with = "show::period")]
    pub pull: Duration,
    /// Within which every blob is read and verified once; zero leaves it to `wuasync scrub --now`.
    #[serde(serialize_with = "show::period")]
    pub scrub_every: Duration,
}

/// Who starts jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunBy {
    /// The daemon's own timer.
    Daemon,
    /// systemd's timers; the daemon catches up what they left undone.
    Systemd,
    /// systemd where its timers are there, else the daemon.
    Auto,
}

const RUN_BY: &[(&str, RunBy)] = &[("daemon", RunBy::Daemon), ("systemd", RunBy::Systemd), ("auto", RunBy::Auto)];

impl Default for Jobs {
    fn default() -> Self {
        Self {
            by: RunBy::Auto,
            refresh_cab: Duration::from_secs(86_400),
            scan_wants: Duration::from_secs(30 * 60),
            pull: Duration::from_secs(15 * 60),
            scrub_every: Duration::from_secs(30 * 86_400),
        }
    }
}

impl Jobs {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let default = Self::default();
        Self {
            by: keys.value("by", read::choice(RUN_BY), default.by),
            refresh_cab: keys.value("refresh_cab", read::period, default.refresh_cab),
            scan_wants: keys.value("scan_wants", read::period, default.scan_wants),
            pull: keys.value("pull", read::period, default.pull),
            scrub_every: keys.value("scrub_every", read::period, default.scrub_every),
        }
    }
}
