//! Reports for tests to change.

use super::{FolderReport, RatesReport, StateReport, StatusReport};
use crate::domain::{member::Role, name::FolderName};

impl StatusReport {
    /// A node of this name with one folder, of which nothing is to be told.
    pub(crate) fn quiet(role: Role, name: &str, folder: FolderReport) -> Self {
        Self {
            version: "0.1.0".to_owned(),
            role,
            name: name.to_owned(),
            site: name.to_owned(),
            line: None,
            state: StateReport::default(),
            folders: vec![folder],
            parent: None,
            mirror: None,
            children: Vec::new(),
            transfers: Vec::new(),
            rates: RatesReport::default(),
            attention: Vec::new(),
            scrub: None,
            repositories: Vec::new(),
            wants: None,
            edition: None,
            hosts: None,
        }
    }
}

impl FolderReport {
    /// So many files of one byte each, of which some are missing.
    pub(crate) fn of(files: u64, missing: u64) -> Self {
        Self {
            name: FolderName::new("waptwua").unwrap(),
            path: "/var/www/waptwua".to_owned(),
            files,
            bytes: files,
            held_files: files - missing,
            held_bytes: files - missing,
            missing_files: missing,
            missing_bytes: missing,
            adopting: None,
            unlisted: 0,
            refused: 0,
            incomplete: 0,
            last_scan: None,
        }
    }
}
