//! What the published edition tells of updates.

use crate::domain::{edition::EditionUpdate, update::UpdateId};
use serde::{Deserialize, Serialize};

/// GET with [`UpdatesQuery`]: [`UpdatesReply`]. Below it, `/{id}`: [`UpdateStory`].
pub const UPDATES: &str = "/api/v1/updates";

/// Which updates are meant; what is told has to hold all together. Without anything, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdatesQuery {
    /// An article, `KB` and digits; an UpdateID, with or without its revision; or words of a title, case ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// An article, with or without `KB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kb: Option<String>,
    /// An UpdateID, with or without its revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Words of a title, case ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A product's name, or a part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// A classification, such as `SecurityUpdates`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classification: Option<String>,
    /// A severity: `Critical`, `Important`, `Moderate` or `Low`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Whether others took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded: Option<bool>,
    /// Whether all its files that have an address are here. Of updates that have none, neither is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
    /// Only those after this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<UpdateId>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Updates, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdatesReply {
    /// These.
    pub updates: Vec<EditionUpdate>,
    /// Whether there may be more.
    pub more: bool,
}

/// One update, with its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateStory {
    /// What the edition tells.
    pub update: EditionUpdate,
    /// Its files, and those of the updates in it.
    pub files: Vec<UpdateFile>,
}

/// One file of an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateFile {
    /// Its name; `None` where Microsoft gives no address.
    pub name: Option<String>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Whether it is here.
    pub is_held: bool,
    /// Where Microsoft has it.
    pub url: Option<String>,
}

/// One update's id, for paths.
pub fn path_of(id: UpdateId) -> String {
    format!("{UPDATES}/{id}")
}
