//! What is wrong with a configuration, and where. Several errors are told at once.

use std::{fmt, io, sync::Arc};

/// Where something was written: a line of a file, or a `--set`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    source: Arc<str>,
    line: Option<usize>,
}

impl Place {
    /// A source as a whole.
    pub(super) fn whole(source: &str) -> Self {
        Self { source: source.into(), line: None }
    }

    /// A line of the same source, counted from 1.
    pub(super) fn line(&self, line: usize) -> Self {
        Self { source: self.source.clone(), line: Some(line) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.source),
            None => f.write_str(&self.source),
        }
    }
}

/// One thing that keeps a configuration from being used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or `conf.d` is not there or not readable.
    #[error("{place}: can't be read")]
    Unreadable {
        /// The file.
        place: Place,
        /// What the system said.
        source: io::Error,
    },
    /// Not TOML.
    #[error("{place}: {text}")]
    Syntax {
        /// Where the reader stumbled.
        place: Place,
        /// Over what.
        text: String,
    },
    /// A key that no section knows.
    #[error("{place}: unknown key {key:?} {section}{}", hint(.nearest))]
    UnknownKey {
        /// The key's line.
        place: Place,
        /// As it was written.
        key: String,
        /// `in [http]`, `at the top level`.
        section: String,
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A key without which a table means nothing.
    #[error("{place}: {key} is missing")]
    MissingKey {
        /// The table's line.
        place: Place,
        /// With its section: `folder.path`.
        key: String,
    },
    /// A value of the wrong type, or out of range, or at odds with another.
    #[error("{place}: {key}: {text}")]
    Value {
        /// The value's line.
        place: Place,
        /// With its section: `http.listen`.
        key: String,
        /// What is wrong with it, and what would be right.
        text: String,
    },
}

impl ConfigError {
    /// Where it is.
    pub fn place(&self) -> &Place {
        match self {
            Self::Unreadable { place, .. }
            | Self::Syntax { place, .. }
            | Self::UnknownKey { place, .. }
            | Self::MissingKey { place, .. }
            | Self::Value { place, .. } => place,
        }
    }
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map(|nearest| format!("; did you mean {nearest:?}?")).unwrap_or_default()
}

/// Everything that is wrong with a configuration, by place.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|a, b| a.place().cmp(b.place()));
        Self(errors)
    }

    /// The errors, by place.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    /// One line each, causes included.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
            if let Some(cause) = std::error::Error::source(error) {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
