//! A file that updates are made of.

use crate::domain::{
    digest::{Sha1, Sha256},
    origin::OriginUrl,
};
use serde::{Deserialize, Serialize};

/// What an edition tells of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditionFile {
    /// Which file it is.
    pub sha1: Sha1,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Windows rejects a file with another one.
    pub sha256: Option<Sha256>,
    /// Where Microsoft has it. Host and path vary from edition to edition.
    pub url: Option<OriginUrl>,
}
