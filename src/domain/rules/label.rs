//! Names of products and classifications, as people write them.

use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

/// Most bytes of one: Microsoft's longest product names, with room.
const MAX_BYTES: usize = 200;

/// A text that is no name of a product or classification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no name of a product or classification: 1 to {MAX_BYTES} bytes without control characters")]
pub struct LabelError {
    text: String,
}

/// The name of a product or a classification. Case and blanks do not count, so that `Security Updates` is
/// `SecurityUpdates`; kept as it was written. Cheap to clone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Arc<str>);

impl Label {
    /// Checks `text`, blanks around it ignored.
    pub fn new(text: &str) -> Result<Self, LabelError> {
        let trimmed = text.trim();
        match (1..=MAX_BYTES).contains(&trimmed.len()) && !trimmed.chars().any(char::is_control) {
            true => Ok(Self(trimmed.into())),
            false => Err(LabelError { text: text.chars().take(80).collect() }),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` names the same.
    pub fn names(&self, text: &str) -> bool {
        folded(&self.0).eq(folded(text))
    }
}

/// What counts of a name.
fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|char| !char.is_whitespace()).flat_map(char::to_lowercase)
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.names(&other.0)
    }
}

impl Eq for Label {}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        folded(&self.0).cmp(folded(&other.0))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_blanks_do_not_count_in_any_script() {
        let label = |text| Label::new(text).unwrap();
        assert_eq!(label(" Security Updates"), label("SECURITYUPDATES"));
        assert!(label("Mises à jour de la SÉCURITÉ").names("mises à jour de la sécurité"));
        assert_ne!(label("Windows 10"), label("Windows 11"));
        assert!(label("Windows 10") < label("WINDOWS 11"));
        assert_eq!(label(" Windows 10 ").as_str(), "Windows 10");
        for wrong in ["", "  ", "a\nb", &"x".repeat(201)] {
            assert!(Label::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
