//! How grave the Microsoft Security Response Center calls what an update mends.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A text that is no severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of Critical, Important, Moderate and Low")]
pub struct ParseSeverityError {
    text: String,
}

/// `MsrcSeverity`; the graver is the greater. Most updates have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Low.
    Low,
    /// Moderate.
    Moderate,
    /// Important.
    Important,
    /// Critical.
    Critical,
}

impl Severity {
    /// All, the gravest last.
    pub const ALL: [Self; 4] = [Self::Low, Self::Moderate, Self::Important, Self::Critical];

    /// As Microsoft writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "Low",
            Self::Moderate => "Moderate",
            Self::Important => "Important",
            Self::Critical => "Critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = ParseSeverityError;

    /// In any case, blanks around it ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|severity| severity.as_str().eq_ignore_ascii_case(text.trim()));
        known.ok_or_else(|| ParseSeverityError { text: text.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_read_back_in_any_case_and_the_graver_is_greater() {
        for (n, severity) in Severity::ALL.into_iter().enumerate() {
            assert_eq!(format!(" {severity} ").to_uppercase().parse(), Ok(severity));
            assert_eq!(postcard::to_stdvec(&severity).unwrap(), [n as u8]);
        }
        assert!(Severity::Critical > Severity::Important && Severity::Moderate > Severity::Low);
        assert!("Unspecified".parse::<Severity>().is_err());
    }
}
