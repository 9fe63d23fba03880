//! `[rules]`: which updates are let through, as far as files say.

use super::{keys::Keys, read};
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// Where WAPT's agent has its configuration.
const AGENT_INI: &str = "/opt/wapt/wapt-get.ini";

/// Where rules come from besides `wuasync rules`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rules {
    /// An agent's configuration, whose `[waptwua]` comes before every rule set; `None` is none.
    #[serde(serialize_with = "path_or_nothing")]
    pub ini: Option<PathBuf>,
    /// PEM files: who may sign rule packages, by itself or by whom it certifies.
    pub trusted_certificates: Vec<PathBuf>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { ini: Some(PathBuf::from(AGENT_INI)), trusted_certificates: Vec::new() }
    }
}

impl Rules {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let default = Self::default();
        Self {
            ini: keys.value("ini", read::optional(read::path), default.ini),
            trusted_certificates: keys.value(
                "trusted_certificates",
                read::list(read::path),
                default.trusted_certificates,
            ),
        }
    }
}

fn path_or_nothing<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    path.clone().unwrap_or_default().serialize(to)
}
