//! How a host's agent is set up, as far as decisions look at it.

use serde::{Deserialize, Serialize};

/// Options of `[waptwua]` in a host's own `wapt-get.ini`; `None` where the host told nothing of one. Options that
/// are missing here are taken from the node's configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostSettings {
    /// The agent looks after Windows updates.
    pub enabled: Option<bool>,
    /// Files come from Microsoft and not from a repository.
    pub direct_download: Option<bool>,
    /// What no rule names is allowed.
    pub default_allow: Option<bool>,
    /// Updates that another one supersedes are not hidden.
    pub include_potentially_superseded_updates: Option<bool>,
    /// An update is held back for so many seconds after its last change.
    pub install_delay: Option<u64>,
}

impl HostSettings {
    /// These, and where they say nothing `others`.
    pub fn or(self, others: Self) -> Self {
        Self {
            enabled: self.enabled.or(others.enabled),
            direct_download: self.direct_download.or(others.direct_download),
            default_allow: self.default_allow.or(others.default_allow),
            include_potentially_superseded_updates: self
                .include_potentially_superseded_updates
                .or(others.include_potentially_superseded_updates),
            install_delay: self.install_delay.or(others.install_delay),
        }
    }

    /// Whether the host asks repositories for files at all. Where nothing was said of `enabled`, a host that
    /// reports updates has it on.
    pub fn asks_repositories(&self) -> bool {
        self.enabled != Some(false) && self.direct_download != Some(true)
    }
}
