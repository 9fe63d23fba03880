//! The answer to a host's request for one file.

use super::{
    flight::{Client, Flight},
    reader::Reader,
    sight::Sight,
};
use crate::{
    base::{future::BoxFuture, read_at::ReadAt},
    domain::{
        digest::Root,
        name::{FileName, FolderName},
    },
};
use std::{ops::Range, sync::Arc, time::Duration};

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

/// A file on its way, of which length and date are known.
pub struct GrowingFile {
    /// Exact length in bytes.
    pub size: u64,
    /// Microsoft's Last-Modified, in seconds since 1970 UTC, where it told one.
    pub modified: Option<i64>,
    /// The BLAKE3 root, where a signed head names it.
    pub root: Option<Root>,
    /// Whoever brings it, and what was there; none where only length and date were asked for.
    pub(super) flight: Option<(Arc<Flight>, Sight)>,
}

impl GrowingFile {
    /// A reader of `range`; none where only length and date were asked for.
    pub fn reader(self, range: Range<u64>) -> Option<Reader> {
        self.flight.map(|(flight, sight)| Reader::new(flight, &sight, range))
    }
}

/// What a source knows of a name.
pub enum Answer {
    /// Served at once.
    Held(HeldFile),
    /// Served while it arrives.
    Growing(GrowingFile),
    /// Nobody knows this name.
    Unknown,
    /// It exists or will exist, but not here yet.
    NotYet {
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// Whoever asks has made enough be fetched for a day.
    OverQuota {
        /// When asking again makes sense.
        retry_after: Duration,
    },
}

/// What is asked for, and by whom.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The folder.
    pub folder: FolderName,
    /// The file's name there.
    pub name: FileName,
    /// Who asks.
    pub client: Client,
    /// Whether length and date are enough.
    pub describe: bool,
}

/// Somebody who can give files by name.
pub trait Source: Send + Sync {
    /// Looks for a file.
    fn find<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Answer>;
}
