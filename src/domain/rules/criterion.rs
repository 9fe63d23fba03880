//! What a rule goes by.

use super::{Label, LabelError, ParsePatternError, UpdatePattern};
use crate::domain::edition::{Kb, ParseKbError, ParseSeverityError, Severity};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that a rule goes by; the finest first, which is the order in which rules are looked at. A stored
/// value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Criterion {
    /// One update.
    Update(UpdatePattern),
    /// Every update of an article.
    Kb(Kb),
    /// Every update of a product.
    Product(Label),
    /// Every update of a severity.
    Severity(Severity),
    /// Every update of a classification.
    Classification(Label),
}

/// A text that is no criterion of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCriterionError {
    /// No update.
    #[error(transparent)]
    Update(#[from] ParsePatternError),
    /// No article.
    #[error(transparent)]
    Kb(#[from] ParseKbError),
    /// No severity.
    #[error(transparent)]
    Severity(#[from] ParseSeverityError),
    /// No name.
    #[error(transparent)]
    Label(#[from] LabelError),
}

impl Criterion {
    /// An update.
    pub fn update(text: &str) -> Result<Self, ParseCriterionError> {
        Ok(Self::Update(text.parse()?))
    }

    /// An article.
    pub fn kb(text: &str) -> Result<Self, ParseCriterionError> {
        Ok(Self::Kb(text.parse()?))
    }

    /// A product.
    pub fn product(text: &str) -> Result<Self, ParseCriterionError> {
        Ok(Self::Product(text.parse()?))
    }

    /// A severity.
    pub fn severity(text: &str) -> Result<Self, ParseCriterionError> {
        Ok(Self::Severity(text.parse()?))
    }

    /// A classification.
    pub fn classification(text: &str) -> Result<Self, ParseCriterionError> {
        Ok(Self::Classification(text.parse()?))
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Update(pattern) => write!(f, "update {pattern}"),
            Self::Kb(kb) => kb.fmt(f),
            Self::Product(label) => write!(f, "product {label}"),
            Self::Severity(severity) => write!(f, "severity {severity}"),
            Self::Classification(label) => write!(f, "classification {label}"),
        }
    }
}
