//! What somebody tells of one file, checked in itself.

use crate::domain::{
    digest::{Sha1, Sha256},
    file::MAX_FILE_BYTES,
    name::{FileName, FolderName},
    origin::OriginUrl,
    update::UpdateId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most updates in one claim; whoever has more to tell makes more claims.
pub const MAX_CLAIM_UPDATES: usize = 64;

/// Why a claim makes no sense in itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The name promises another digest.
    #[error("{name} carries the SHA-1 {promised} in its name, and {claimed} is claimed")]
    OtherSha1 {
        /// The file.
        name: FileName,
        /// In its name.
        promised: Sha1,
        /// Beside it.
        claimed: Sha1,
    },
    /// Above [`MAX_FILE_BYTES`].
    #[error("a size of {0} bytes is more than any mirrored file has")]
    TooLarge(u64),
    /// More than [`MAX_CLAIM_UPDATES`].
    #[error("more than {MAX_CLAIM_UPDATES} updates for one file in one claim")]
    TooManyUpdates,
}

/// One file as somebody tells of it: where it is and, as far as they know, what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct FileClaim {
    /// Where it can be fetched; its last part is the file's name.
    pub url: OriginUrl,
    /// The folder that it belongs to; `None` leaves that to the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderName>,
    /// The updates that it is a part of.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub updates: BTreeSet<UpdateId>,
    /// Its length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its SHA-1: the one in its name, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha1: Option<Sha1>,
    /// Its SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
}

/// The same before it is checked. A key that nobody knows is a slip.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    url: OriginUrl,
    folder: Option<FolderName>,
    #[serde(default)]
    updates: BTreeSet<UpdateId>,
    size: Option<u64>,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
}

impl FileClaim {
    /// A claim that tells an address alone, and what the name at its end promises.
    pub fn of_url(url: OriginUrl) -> Self {
        let sha1 = url.file_name().promised_sha1();
        Self { url, folder: None, updates: BTreeSet::new(), size: None, sha1, sha256: None }
    }

    /// Holds the claim against the name and the limits, and takes the SHA-1 of the name.
    pub fn checked(self) -> Result<Self, ClaimError> {
        if let Some(size) = self.size.filter(|size| *size > MAX_FILE_BYTES) {
            return Err(ClaimError::TooLarge(size));
        }
        if self.updates.len() > MAX_CLAIM_UPDATES {
            return Err(ClaimError::TooManyUpdates);
        }
        let promised = self.url.file_name().promised_sha1();
        match (promised, self.sha1) {
            (Some(promised), Some(claimed)) if promised != claimed => {
                Err(ClaimError::OtherSha1 { name: self.name().clone(), promised, claimed })
            }
            (promised, claimed) => Ok(Self { sha1: promised.or(claimed), ..self }),
        }
    }

    /// The file's name in its folder.
    pub fn name(&self) -> &FileName {
        self.url.file_name()
    }
}

impl TryFrom<Unchecked> for FileClaim {
    type Error = ClaimError;

    fn try_from(Unchecked { url, folder, updates, size, sha1, sha256 }: Unchecked) -> Result<Self, ClaimError> {
        Self { url, folder, updates, size, sha1, sha256 }.checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    fn of(url: &str) -> FileClaim {
        FileClaim::of_url(OriginUrl::new(url).unwrap())
    }

    #[test]
    fn the_sha1_of_the_name_is_the_files_and_another_is_refused() {
        let claim = of(&format!("http://h/kb_{SHA1}.cab"));
        assert_eq!(claim.sha1, Some(SHA1.parse().unwrap()));
        assert_eq!(FileClaim { sha1: None, ..claim.clone() }.checked(), Ok(claim.clone()));
        let other = FileClaim { sha1: Some(Sha1([1; 20])), ..claim.clone() }.checked();
        assert!(matches!(other, Err(ClaimError::OtherSha1 { claimed, .. }) if claimed == Sha1([1; 20])));
        let mutable = FileClaim { sha1: Some(Sha1([1; 20])), ..of("http://h/wsusscn2.cab") };
        assert_eq!(mutable.clone().checked(), Ok(mutable));
    }

    #[test]
    fn sizes_and_updates_are_bounded() {
        let claim = of("http://h/x.cab");
        let sized = |size| FileClaim { size: Some(size), ..claim.clone() }.checked();
        assert!(sized(MAX_FILE_BYTES).is_ok());
        assert_eq!(sized(MAX_FILE_BYTES + 1), Err(ClaimError::TooLarge(MAX_FILE_BYTES + 1)));
        let of_updates = |count: usize| {
            let updates = (0..count).map(|n| UpdateId::new([1; 16], n as u32)).collect();
            FileClaim { updates, ..claim.clone() }.checked()
        };
        assert!(of_updates(MAX_CLAIM_UPDATES).is_ok());
        assert_eq!(of_updates(MAX_CLAIM_UPDATES + 1), Err(ClaimError::TooManyUpdates));
    }

    #[test]
    fn json_is_checked_as_it_is_read_and_a_slip_in_a_key_is_told() {
        let text = format!(
            r#"{{"url":"http://h/x.cab","folder":"wapt","updates":["0fa1201d-4330-4fa8-8ae9-b877473b6441_2"],"size":7,"sha1":"{SHA1}"}}"#
        );
        let claim: FileClaim = serde_json::from_str(&text).unwrap();
        assert_eq!((claim.size, claim.updates.len(), claim.name().as_str()), (Some(7), 1, "x.cab"));
        assert_eq!(serde_json::to_string(&claim).unwrap(), text);
        for wrong in [
            format!(r#"{{"url":"http://h/kb_{SHA1}.cab","sha1":"{}"}}"#, "0".repeat(40)),
            r#"{"url":"http://h/x.cab","sha265":"00"}"#.to_owned(),
            r#"{"url":"http://u:p@h/x.cab"}"#.to_owned(),
            r#"{"size":1}"#.to_owned(),
        ] {
            assert!(serde_json::from_str::<FileClaim>(&wrong).is_err(), "{wrong}");
        }
    }
}
