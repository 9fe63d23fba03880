//! The answer to a host's request for one file.

use crate::{
    base::{future::BoxFuture, read_at::ReadAt},
    domain::{
        digest::Root,
        name::{FileName, FolderName},
    },
};
use std::{sync::Arc, time::Duration};

/// A file that is here, whole.
#[derive(Clone)]
pub struct HeldFile {
    /// Exact length in bytes.
    pub size: u64,
    /// Microsoft's Last-Modified, in seconds since 1970 UTC.
    pub modified: i64,
    /// The BLAKE3 root, once the bytes were hashed; it is the strong ETag.
    pub root: Option<Root>,
    /// The bytes, from one open file: a rename over the name does not change them.
    pub bytes: Arc<dyn ReadAt>,
}

/// What a source knows of a name.
pub enum Answer {
    /// Served at once.
    Held(HeldFile),
    /// Nobody knows this name.
    Unknown,
    /// It exists or will exist, but not here yet.
    NotYet {
        /// When asking again makes sense.
        retry_after: Duration,
    },
}

/// Somebody who can give files by name.
pub trait Source: Send + Sync {
    /// Looks for `name` in `folder`.
    fn find<'a>(&'a self, folder: &'a FolderName, name: &'a FileName) -> BoxFuture<'a, Answer>;
}
