//! `[bandwidth]`: how much of the line may be taken.

use super::{keys::Keys, read, show, values::rate::Rate};
use serde::Serialize;

/// A ceiling for all transfers together.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Bandwidth {
    /// `None` is without bound.
    #[serde(serialize_with = "show::optional")]
    pub limit: Option<Rate>,
}

impl Bandwidth {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        Self { limit: keys.value("limit", read::optional(read::parsed), None) }
    }
}
