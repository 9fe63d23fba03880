//! `parent.toml` in the state folder: what joining taught.

use crate::{repository::SmallFileError, repository::StateDir, store::layout, sync::pull::ParentAddress};

/// What a secondary learned from its token.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct ParentFile {
    /// The name that the main knows this node by.
    pub name: String,
    /// Where the parent is and who it must be.
    pub parent: ParentAddress,
}

/// A parent file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ParentFileError {
    /// The disk.
    #[error(transparent)]
    File(#[from] SmallFileError),
    /// Its text.
    #[error("parent.toml in the state folder is damaged; join again with a new token")]
    Damaged(#[source] toml::de::Error),
    /// It can't be written as text.
    #[error("writing parent.toml")]
    Encode(#[from] toml::ser::Error),
}

impl ParentFile {
    /// Reads it; `None` before the node has joined.
    pub(super) fn read(state: &StateDir) -> Result<Option<Self>, ParentFileError> {
        let Some(bytes) = state.read_small(layout::PARENT)? else { return Ok(None) };
        toml::from_str(&String::from_utf8_lossy(&bytes)).map(Some).map_err(ParentFileError::Damaged)
    }

    /// Writes it; durable when it returns.
    pub(super) fn write(&self, state: &StateDir) -> Result<(), ParentFileError> {
        Ok(state.write_small(layout::PARENT, toml::to_string(self)?.as_bytes())?)
    }
}
