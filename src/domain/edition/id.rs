//! Which edition it is.

use crate::domain::guid::Guid;
use serde::{Deserialize, Serialize};

/// One edition: `PackageId` and `CreationDate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EditionId {
    /// `PackageId`.
    pub package_id: Guid,
    /// `CreationDate`, seconds since 1970 UTC.
    pub created: i64,
}
