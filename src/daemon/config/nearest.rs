//! `[nearest]`: where hosts are sent.

use super::{keys::Keys, read, show};
use serde::Serialize;
use std::{path::PathBuf, time::Duration};

/// Who is passed over when a host looks for a repository, and whose rules count.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Nearest {
    /// Files that a repository may lack; 0 is any number.
    pub max_lag_files: u32,
    /// Bytes that it may lack; `None` is any number.
    #[serde(serialize_with = "show::optional_size")]
    pub max_lag: Option<u64>,
    /// A main raises an alarm for a site that will not hold everything within this time; zero is never.
    #[serde(serialize_with = "show::period")]
    pub complete_within: Duration,
    /// Whether a main sends hosts that ask it for an immutable file to the nearest repository that has it.
    pub redirect: bool,
    /// PEM files: authorities, besides the machine's, of repositories that hosts are sent to.
    pub ca: Vec<PathBuf>,
    /// WAPT's `rules.json`, looked at after the rules of the line; empty is none.
    #[serde(serialize_with = "show::optional_path")]
    pub rules_json: Option<PathBuf>,
    /// PEM files: whose signatures on rules of that file count.
    pub rules_signers: Vec<PathBuf>,
}

impl Default for Nearest {
    fn default() -> Self {
        Self {
            max_lag_files: 0,
            max_lag: Some(20 << 30),
            complete_within: Duration::from_secs(86_400),
            redirect: false,
            ca: Vec::new(),
            rules_json: None,
            rules_signers: Vec::new(),
        }
    }
}

impl Nearest {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let default = Self::default();
        Self {
            max_lag_files: keys.value("max_lag_files", read::count(0..=u32::MAX), default.max_lag_files),
            max_lag: keys.value("max_lag", read::optional(read::size), default.max_lag),
            complete_within: keys.value("complete_within", read::period, default.complete_within),
            redirect: keys.value("redirect", read::boolean, default.redirect),
            ca: keys.value("ca", read::list(read::path), default.ca),
            rules_json: keys.value("rules_json", read::optional(read::path), default.rules_json),
            rules_signers: keys.value("rules_signers", read::list(read::path), default.rules_signers),
        }
    }
}
