//! Rule sets: an administrator's own, and those that came as WAPT packages.

use super::{Criterion, SetName};
use crate::domain::{
    host::Maturity,
    versioned::{self, VersionedError},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

const VERSION: u8 = 1;
/// Most bytes of a stored set: a fourth of what one frame between nodes carries, and over 10,000 updates.
pub const MAX_SET_BYTES: usize = 256 << 10;

/// A set that can't be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleSetError {
    /// It has too many rules.
    #[error("rule set {name} takes {bytes} bytes, more than {MAX_SET_BYTES}: divide it")]
    TooLarge {
        /// Which one.
        name: SetName,
        /// As it would be stored.
        bytes: usize,
    },
    /// Its bytes.
    #[error(transparent)]
    Value(#[from] VersionedError),
}

/// One rule set. A stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSet {
    /// Its name.
    pub name: SetName,
    /// Where it came from.
    pub origin: Origin,
    /// Which hosts it counts for.
    pub maturity: Maturity,
    /// What it lets through.
    pub allowed: BTreeSet<Criterion>,
    /// What it does not, whatever else does.
    pub forbidden: BTreeSet<Criterion>,
}

/// Where a set came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// An administrator wrote it here. It counts for every host of its maturity.
    Own,
    /// A WAPT package. It counts for hosts that have it installed, and for those that do not tell.
    Package {
        /// The package's version.
        version: String,
        /// Whether somebody vouches for it.
        signature: PackageSignature,
    },
}

/// Who vouches for a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageSignature {
    /// Nobody: the administrator took it as it was.
    Unsigned,
    /// The holder of this certificate, whom the configured authority knows.
    Signed {
        /// The certificate's subject.
        by: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("written here"),
            Self::Package { version, signature: PackageSignature::Unsigned } => {
                write!(f, "package {version}, unsigned")
            }
            Self::Package { version, signature: PackageSignature::Signed { by } } => {
                write!(f, "package {version}, signed by {by}")
            }
        }
    }
}

impl RuleSet {
    /// An administrator's, without rules.
    pub fn own(name: SetName) -> Self {
        Self {
            name,
            origin: Origin::Own,
            maturity: Maturity::default(),
            allowed: BTreeSet::new(),
            forbidden: BTreeSet::new(),
        }
    }

    /// As it is stored.
    pub fn encode(&self) -> Result<Vec<u8>, RuleSetError> {
        let stored = versioned::encode(VERSION, self)?;
        match stored.len() {
            bytes if bytes > MAX_SET_BYTES => Err(RuleSetError::TooLarge { name: self.name.clone(), bytes }),
            _ => Ok(stored),
        }
    }

    /// What [`RuleSet::encode`] wrote.
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
        let guid = "0fa1201d-4330-4fa8-8ae9-b877473b6441";
        let set = RuleSet {
            origin: Origin::Package {
                version: "1-2".to_owned(),
                signature: PackageSignature::Signed { by: "x".into() },
            },
            maturity: Maturity::Preprod,
            allowed: BTreeSet::from([
                Criterion::update(&format!("{guid}_3")).unwrap(),
                Criterion::update(guid).unwrap(),
                Criterion::product("W 1").unwrap(),
                Criterion::classification("U").unwrap(),
            ]),
            forbidden: BTreeSet::from([Criterion::kb("300").unwrap(), Criterion::severity("Low").unwrap()]),
            ..RuleSet::own(SetName::new("a").unwrap())
        };
        let stored = set.encode().unwrap();
        let id = guid.replace('-', "");
        let text = format!("010161010331_2d32_0101_78_01_04_00{id}00_00{id}0103_0203572031_040155_02_01ac02_0300");
        assert_eq!(HEXLOWER.encode(&stored), text.replace('_', ""));
        assert_eq!(RuleSet::decode(&stored), Ok(set));
    }

    #[test]
    fn a_set_that_does_not_fit_is_refused_by_name() {
        let mut set = RuleSet::own(SetName::new("all").unwrap());
        set.forbidden = (0..80_000).map(|n| Criterion::Kb(crate::domain::edition::Kb(n))).collect();
        assert!(matches!(set.encode(), Err(RuleSetError::TooLarge { bytes, .. }) if bytes > MAX_SET_BYTES));
    }
}
