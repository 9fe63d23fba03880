//! What `[waptwua]` of a `wapt-get.ini` says of rules.

use super::Criterion;
use crate::domain::{
    host::HostSettings,
    versioned::{self, VersionedError},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const VERSION: u8 = 1;

/// The rules of a configuration file: they come before every rule set's, and alone say what is done with updates
/// that no rule names. A stored value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IniRules {
    /// Options that count for hosts that told nothing of their own.
    pub settings: HostSettings,
    /// What is let through.
    pub allowed: BTreeSet<Criterion>,
    /// What is not, whatever else is.
    pub forbidden: BTreeSet<Criterion>,
}

impl IniRules {
    /// As it is stored.
    pub fn encode(&self) -> Result<Vec<u8>, VersionedError> {
        versioned::encode(VERSION, self)
    }

    /// What [`IniRules::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, VersionedError> {
        versioned::decode(VERSION, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    #[test]
    fn version_one_keeps_its_bytes() {
        let settings = HostSettings { enabled: Some(true), install_delay: Some(300), ..HostSettings::default() };
        let rules = IniRules {
            settings,
            allowed: BTreeSet::from([Criterion::severity("critical").unwrap()]),
            forbidden: BTreeSet::from([Criterion::kb("KB300").unwrap()]),
        };
        let stored = rules.encode().unwrap();
        assert_eq!(HEXLOWER.encode(&stored), "01010100000001ac020103030101ac02");
        assert_eq!(IniRules::decode(&stored), Ok(rules));
    }
}
