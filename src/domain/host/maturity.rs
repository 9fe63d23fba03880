//! How far a rule set has come, and how early a host takes one.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A text that is no maturity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of DEV, PREPROD and PROD")]
pub struct ParseMaturityError {
    text: String,
}

/// WAPT's maturities, the earliest first. A rule set counts for the hosts of its maturity and of earlier ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Maturity {
    /// Being written.
    Dev,
    /// Being tried on a few hosts.
    Preprod,
    /// For everybody; also what nothing is said of.
    #[default]
    Prod,
}

impl Maturity {
    /// All, the earliest first.
    pub const ALL: [Self; 3] = [Self::Dev, Self::Preprod, Self::Prod];

    /// As WAPT writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "DEV",
            Self::Preprod => "PREPROD",
            Self::Prod => "PROD",
        }
    }

    /// Whether a rule set of this maturity counts for a host of that one.
    pub fn counts_for(self, host: Self) -> bool {
        host <= self
    }
}

impl fmt::Display for Maturity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Maturity {
    type Err = ParseMaturityError;

    /// In any case, blanks around it ignored; nothing is PROD.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "" => Ok(Self::Prod),
            word => {
                let known = Self::ALL.into_iter().find(|maturity| maturity.as_str().eq_ignore_ascii_case(word));
                known.ok_or_else(|| ParseMaturityError { text: text.chars().take(80).collect() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_in_trial_count_for_early_hosts_and_released_ones_for_all() {
        use Maturity::{Dev, Preprod, Prod};
        let counts = [(Prod, Prod), (Prod, Preprod), (Prod, Dev), (Preprod, Preprod), (Preprod, Dev), (Dev, Dev)];
        for set in Maturity::ALL {
            for host in Maturity::ALL {
                assert_eq!(set.counts_for(host), counts.contains(&(set, host)), "{set} {host}");
            }
            assert_eq!(set.as_str().to_lowercase().parse(), Ok(set));
        }
        assert_eq!(" ".parse(), Ok(Prod));
        assert!("TEST".parse::<Maturity>().is_err());
    }
}
