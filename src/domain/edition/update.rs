//! An update, as one edition describes it.

use super::{Category, CategoryKind, Classification, Kb, Language, Severity};
use crate::domain::{digest::Sha1, update::UpdateId};
use serde::{Deserialize, Serialize};

/// One update. Every list is in ascending order and without repetition, so that what two editions tell alike
/// is equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditionUpdate {
    /// Which one.
    pub id: UpdateId,
    /// `CreationDate`, seconds since 1970 UTC.
    pub created: i64,
    /// `UpdateType`, where the edition has it.
    pub kind: Option<UpdateKind>,
    /// It has other updates in it.
    pub is_bundle: bool,
    /// No other update needs it.
    pub is_leaf: bool,
    /// In the order in which the languages were asked for.
    pub titles: Vec<Title>,
    /// What `MsrcSeverity` says.
    pub severity: Option<Severity>,
    /// The articles about it.
    pub kbs: Vec<Kb>,
    /// The security bulletins about it, such as `MS17-010`.
    pub bulletins: Vec<String>,
    /// The vulnerabilities that it mends, such as `CVE-2026-20805`.
    pub cves: Vec<String>,
    /// Its products, their families and makers, and its classification. Updates in bundles have none.
    pub categories: Vec<Category>,
    /// The updates that take its place.
    pub superseded_by: Vec<UpdateId>,
    /// The bundles that it is in.
    pub bundled_by: Vec<UpdateId>,
    /// The updates that are in it.
    pub bundles: Vec<UpdateId>,
    /// Its files, and those of the updates in it.
    pub files: Vec<Sha1>,
}

impl EditionUpdate {
    /// The classification, if it is one of those that everybody knows.
    pub fn classification(&self) -> Option<Classification> {
        self.categories.iter().find_map(Category::classification)
    }

    /// Its products.
    pub fn products(&self) -> impl Iterator<Item = &Category> {
        self.categories.iter().filter(|category| category.kind == CategoryKind::Product)
    }
}

/// A title in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Title {
    /// The language.
    pub language: Language,
    /// The title.
    pub text: String,
}

/// `UpdateType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum UpdateKind {
    /// Something to install.
    Software,
    /// A company, a product, a classification.
    Category,
    /// A question about the machine, which others depend on.
    Detectoid,
    /// Anything else, such as a driver.
    Other,
}
