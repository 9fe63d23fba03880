//! Where flights get their bytes: Microsoft on a main, the parent on a secondary.

use super::{
    flight::{Client, Flight},
    sight::Ending,
};
use crate::{
    base::future::BoxFuture,
    domain::name::{FileName, FolderName},
};
use std::{sync::Arc, time::Duration};

/// Whether a flight for a file makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// It may be had.
    Good,
    /// Nobody knows such a file.
    Unknown,
    /// It is known, and can't be had before this time is over.
    Later(Duration),
}

/// What the source says of a file before any byte of it is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Exact length in bytes.
    pub size: u64,
    /// Its Last-Modified in seconds since 1970 UTC.
    pub modified: Option<i64>,
}

/// A source of files that are not here.
pub trait Spring: Send + Sync {
    /// Whether a flight for this file makes sense for `client`. Asks nobody outside.
    fn outlook<'a>(&'a self, folder: &'a FolderName, name: &'a FileName, client: &'a Client) -> BoxFuture<'a, Outlook>;

    /// Brings the file: tells `flight` of what arrives, and ends when it is held here under its name, or can't
    /// be had. What has arrived stays for the next flight.
    fn fly<'a>(&'a self, flight: &'a Arc<Flight>) -> BoxFuture<'a, Ending>;

    /// Length and date of a file whose flight has not begun; none where the source does not tell.
    fn describe<'a>(&'a self, folder: &'a FolderName, name: &'a FileName) -> BoxFuture<'a, Option<Description>>;
}
