//! What can go wrong between bytes and rows.

use super::state_dir::SmallFileError;
use crate::{
    catalog::CatalogError,
    domain::{
        member::{DecodeMemberError, EncodeMemberError},
        name::FolderName,
        state::{HeadError, VerifyHeadError},
        versioned::VersionedError,
    },
};
use std::io;

/// An operation that failed; what it had committed before stays.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Only a main signs.
    #[error("this node signs nothing: it is a secondary")]
    NotMain,
    /// A main's folder is what the index follows: it has no extras.
    #[error("this node is the main: its index follows its folders, so that they have no extras")]
    NotSecondary,
    /// No such folder is configured.
    #[error("no folder {0}")]
    UnknownFolder(FolderName),
    /// The rows.
    #[error("reading or writing rows")]
    Catalog(#[from] CatalogError),
    /// The bytes.
    #[error("{doing} {what}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Too little room is left on a folder's disk.
    #[error("{doing} {what}")]
    NoRoom {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        what: String,
        /// How much is missing; or the file system's own refusal.
        source: io::Error,
    },
    /// Bytes that could not be made durable. They may be lost though they can still be read: a system that
    /// could not write pages may call them clean, and a second sync of them proves nothing.
    #[error("syncing arrivals in {folder}")]
    Unsynced {
        /// Where they were to go.
        folder: FolderName,
        /// Why not.
        source: io::Error,
    },
    /// The small files of the state folder.
    #[error("the state folder")]
    State(#[from] SmallFileError),
    /// A value that can't be encoded or read.
    #[error("a value of the signed state")]
    Value(#[from] VersionedError),
    /// A member's row that can't be written.
    #[error("writing a member's row")]
    EncodeMember(#[from] EncodeMemberError),
    /// A member's row that can't be read.
    #[error("reading a member's row")]
    DecodeMember(#[from] DecodeMemberError),
    /// A head that can't be built.
    #[error("building a head")]
    Head(#[from] HeadError),
    /// The stored head is not of this line.
    #[error("the stored head")]
    StoredHead(#[from] VerifyHeadError),
}

impl RepositoryError {
    /// What became of the file `what` while `doing` something; lack of room is told apart.
    pub fn io(doing: &'static str, what: impl ToString) -> impl FnOnce(io::Error) -> Self {
        move |source| match (source.kind(), what.to_string()) {
            (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, what) => Self::NoRoom { doing, what, source },
            (_, what) => Self::Io { doing, what, source },
        }
    }
}
