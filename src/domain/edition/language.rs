//! Languages, as the index names them.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// A text that names no language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no language: write it as en, fr or pt-br")]
pub struct LanguageError {
    text: String,
}

/// Most bytes in a language: `zh-hans-cn` and its like, with room.
const MAX_BYTES: usize = 16;

/// A language, such as `en`, `pt-br` or `zh-tw`; in lower case. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Language(Arc<str>);

impl Language {
    /// Checks `text`: letters, digits and hyphens, in either case.
    pub fn new(text: &str) -> Result<Self, LanguageError> {
        let is_language = (2..=MAX_BYTES).contains(&text.len())
            && text.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()));
        match is_language {
            true => Ok(Self(text.to_ascii_lowercase().into())),
            false => Err(LanguageError { text: text.chars().take(80).collect() }),
        }
    }

    /// In lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for Language {
    type Err = LanguageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for Language {
    type Error = LanguageError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_kept_in_lower_case_and_paths_are_none() {
        assert_eq!(Language::new("zh-TW").unwrap().as_str(), "zh-tw");
        for wrong in ["", "e", "en-", "-en", "en us", "..\\en", "en/1", "français", "aaaaaaaaaaaaaaaaa"] {
            assert!(Language::new(wrong).is_err(), "{wrong}");
        }
    }
}
