//! Names of rule sets.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Most bytes of a name.
const MAX_BYTES: usize = 100;

/// A text that names no rule set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no rule set's name: 1 to {MAX_BYTES} letters, digits and . _ - +")]
pub struct SetNameError {
    text: String,
}

/// The name of a rule set, or of the WAPT package that brought it. Case does not count; kept in lower case. Cheap
/// to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SetName(Arc<str>);

impl SetName {
    /// The set that is changed where none is named.
    pub const DEFAULT: &str = "default";

    /// Checks `text`, blanks around it ignored.
    pub fn new(text: &str) -> Result<Self, SetNameError> {
        let trimmed = text.trim();
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+".contains(&b);
        match (1..=MAX_BYTES).contains(&trimmed.len()) && trimmed.bytes().all(is_plain) {
            true => Ok(Self(trimmed.to_ascii_lowercase().into())),
            false => Err(SetNameError { text: text.chars().take(80).collect() }),
        }
    }

    /// In lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for SetName {
    type Err = SetNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for SetName {
    type Error = SetNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<SetName> for String {
    fn from(name: SetName) -> Self {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_one_name_in_any_case() {
        assert_eq!(SetName::new(" Tis-WaptWua ").unwrap().as_str(), "tis-waptwua");
        assert!(SetName::new(SetName::DEFAULT).is_ok());
        for wrong in ["", "a b", "[waptwua]", "a/b", "é", &"x".repeat(101)] {
            assert!(SetName::new(wrong).is_err(), "{wrong}");
        }
    }
}
