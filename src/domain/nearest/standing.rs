//! What is known of one repository at one moment.

use super::RepositoryUrl;
use crate::domain::member::{NodeName, Role, SiteName};

/// Whether a repository has the file that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    /// It said so, or nothing of it is missing.
    Yes,
    /// It may have it: what it said is too old, or names nothing that precise.
    Unknown,
    /// It lacks it.
    No,
}

/// One repository as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: NodeName,
    /// Where it stands.
    pub site: SiteName,
    /// Its role.
    pub role: Role,
    /// Where hosts reach it; nobody is sent to one without.
    pub url: Option<RepositoryUrl>,
    /// Seconds since it was heard of; `None` for never. 0 for this node itself.
    pub silent_seconds: Option<u64>,
    /// Files that it lacks.
    pub lag_files: u64,
    /// Their bytes.
    pub lag_bytes: u64,
    /// Bytes that it sent to hosts in its last second.
    pub load_bytes: u64,
    /// From this node to it and back, in milliseconds, where it was measured.
    pub round_trip_ms: Option<u32>,
    /// Whether it can get what it lacks: its own parent, or Microsoft.
    pub can_fetch: bool,
}
