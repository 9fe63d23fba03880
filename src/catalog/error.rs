//! What can go wrong with rows.

use crate::domain::{
    member::{DecodeMemberError, EncodeMemberError},
    versioned::VersionedError,
};
use std::io;

/// A database that can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenCatalogError {
    /// Written by a newer program; it was not touched.
    #[error("the database is of version {found}, this program knows {known}")]
    Newer {
        /// The version inside.
        found: u64,
        /// The newest that this program reads.
        known: u64,
    },
    /// The file is no database, or a damaged one.
    #[error("opening the database")]
    Database(#[source] Box<redb::Error>),
    /// It opened, and its rows can't be read.
    #[error("reading the database")]
    Rows(#[from] CatalogError),
}

impl OpenCatalogError {
    /// Whether another file in its place would help: neither a disk that fails nor a newer program's
    /// database is damage.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Newer { .. } => false,
            Self::Database(error) => !is_io(error),
            Self::Rows(CatalogError::Database(error)) => !is_io(error),
            Self::Rows(_) => true,
        }
    }
}

/// What redb says of a file that is no database is an I/O error as well, of these kinds.
fn is_io(error: &redb::Error) -> bool {
    let not_a_database = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
    match error {
        redb::Error::Io(error) => !not_a_database.contains(&error.kind()),
        redb::Error::PreviousIo => true,
        _ => false,
    }
}

/// A read or a commit that failed; nothing of a failed commit stays.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The database or the disk below it.
    #[error("database")]
    Database(#[source] Box<redb::Error>),
    /// A row that can't be read or written.
    #[error("row of {table}")]
    Row {
        /// Which table.
        table: &'static str,
        /// What is wrong with it.
        source: VersionedError,
    },
    /// A member's row that can't be written.
    #[error("writing a row of members")]
    EncodeMember(#[from] EncodeMemberError),
    /// A member's row that can't be read.
    #[error("reading a row of members")]
    DecodeMember(#[from] DecodeMemberError),
    /// A copy of the database that can't be written.
    #[error("copying the database")]
    Copy(#[source] io::Error),
    /// It could not be opened anew after its disk had failed.
    #[error("the database is closed")]
    Closed,
    /// A row whose key or fixed-size value has another shape.
    #[error("damaged row in {0}")]
    Damaged(&'static str),
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for CatalogError {
            fn from(error: redb::$error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(StorageError, TableError, TransactionError, CommitError, SetDurabilityError);
