//! Which machine it is.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Most bytes in one: a UUID in any of its spellings, with a prefix.
const MAX_BYTES: usize = 64;

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no host's UUID: 1 to {MAX_BYTES} letters, digits and - _ . {{ }}")]
pub struct HostUuidError {
    text: String,
}

/// What WAPT knows a host by: the UUID of its firmware, or one that the agent drew, with a prefix. Case does not
/// count; kept in lower case. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostUuid(Arc<str>);

impl HostUuid {
    /// Checks `text`, blanks around it ignored.
    pub fn new(text: &str) -> Result<Self, HostUuidError> {
        let trimmed = text.trim();
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.{}".contains(&b);
        match (1..=MAX_BYTES).contains(&trimmed.len()) && trimmed.bytes().all(is_plain) {
            true => Ok(Self(trimmed.to_ascii_lowercase().into())),
            false => Err(HostUuidError { text: text.chars().take(80).collect() }),
        }
    }

    /// In lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for HostUuid {
    type Err = HostUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for HostUuid {
    type Error = HostUuidError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<HostUuid> for String {
    fn from(uuid: HostUuid) -> Self {
        uuid.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_one_in_either_case_and_paths_are_none() {
        let text = "4C4C4544-0042-3510-8057-C7C04F4A4D32";
        assert_eq!(HostUuid::new(text).unwrap(), HostUuid::new(&text.to_lowercase()).unwrap());
        assert_eq!(HostUuid::new(" rnd-1 ").unwrap().as_str(), "rnd-1");
        for wrong in ["", " ", "a/b", "a b", "é", &"a".repeat(65)] {
            assert!(HostUuid::new(wrong).is_err(), "{wrong}");
        }
    }
}
