//! Everything that says what counts for whom.

use super::{IniRules, Origin, RuleSet};
use crate::domain::host::{HostFacts, HostSettings, Maturity};

/// A line's rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleBook {
    /// The configuration file's.
    pub ini: IniRules,
    /// The sets, in any order.
    pub sets: Vec<RuleSet>,
}

impl RuleBook {
    /// The options of a host: its own, and where it tells nothing the file's.
    pub fn settings_for(&self, host: &HostFacts) -> HostSettings {
        host.settings.or(self.ini.settings)
    }

    /// Whether a set counts for a host: by maturity, and a package only where it is installed.
    pub fn counts_for(set: &RuleSet, maturity: Maturity, packages: Option<&[impl AsRef<str>]>) -> bool {
        let is_there = || match (&set.origin, packages) {
            (Origin::Own, _) | (Origin::Package { .. }, None) => true,
            (Origin::Package { .. }, Some(names)) => {
                names.iter().any(|name| name.as_ref().trim().eq_ignore_ascii_case(set.name.as_str()))
            }
        };
        set.maturity.counts_for(maturity) && is_there()
    }
}
