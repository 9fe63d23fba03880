//! Files that come from an administrator's hands.

use crate::domain::{
    digest::{Root, Sha1, Sha256},
    name::FolderName,
};
use serde::{Deserialize, Serialize};

/// POST with [`ImportQuery`] and the file's bytes as body: [`ImportReply`].
pub const IMPORT: &str = super::FILES;

/// What is imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportQuery {
    /// The folder that it goes to.
    pub folder: FolderName,
    /// The name that it gets there.
    pub name: String,
    /// Its length in bytes; the body has exactly that.
    pub size: u64,
    /// Its time of change, in seconds since 1970 UTC.
    pub modified: i64,
}

/// A file that entered its folder, or was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReply {
    /// Its folder.
    pub folder: FolderName,
    /// Its name there.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// BLAKE3 of its bytes.
    pub root: Root,
    /// SHA-1 of its bytes.
    pub sha1: Sha1,
    /// SHA-256 of its bytes.
    pub sha256: Option<Sha256>,
    /// Whether it was here before, with the same bytes.
    pub was_here: bool,
}
