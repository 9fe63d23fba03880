//! Numbers of Knowledge Base articles.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A text that is no article's number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no KB number")]
pub struct ParseKbError {
    text: String,
}

/// One article, written `KB5087058`; read with or without `KB`, in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Kb(pub u32);

impl fmt::Display for Kb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KB{}", self.0)
    }
}

impl FromStr for Kb {
    type Err = ParseKbError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let digits = match trimmed.get(..2) {
            Some(prefix) if prefix.eq_ignore_ascii_case("kb") => &trimmed[2..],
            _ => trimmed,
        };
        // `parse` would take a sign.
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        number.map(Self).ok_or_else(|| ParseKbError { text: text.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_with_or_without_its_prefix_and_nothing_else_does() {
        for text in ["5087058", "KB5087058", " kb5087058 "] {
            assert_eq!(text.parse::<Kb>().unwrap().to_string(), "KB5087058");
        }
        for wrong in ["", "KB", "KB 1", "+1", "kb-1", "12a", "4294967296", "éé"] {
            assert!(wrong.parse::<Kb>().is_err(), "{wrong}");
        }
    }
}
