//! Files on disk that Microsoft's index contradicts: it names a file of that base name with another size, SHA-1 or
//! SHA-256. Windows refuses such a file, whatever was verified of it here.

use super::{error::RepositoryError, open::Repository};
use crate::{
    base::read_at::ReadAt,
    catalog::HoldingRecord,
    domain::{edition::EditionFile, name::FileName},
    store::hash::sha_digests,
};

impl Repository {
    /// What the edition tells otherwise of a verified file; reads it where its name does not say enough.
    pub(super) fn contradiction(
        &self,
        name: &FileName,
        holding: &HoldingRecord,
        file: &dyn ReadAt,
    ) -> Result<Option<String>, RepositoryError> {
        let base = name.as_str().rsplit('/').next().and_then(|base| FileName::new(base).ok());
        let Some(base) = base else { return Ok(None) };
        let Some(told) = self.state.editions.file_of_name(&base)? else { return Ok(None) };
        let EditionFile { sha1, size, sha256, .. } = told;
        if let Some(size) = size.filter(|size| *size != holding.size) {
            return Ok(Some(format!("it has {} bytes, and Microsoft's index says {size}", holding.size)));
        }
        let promised = name.promised_sha1();
        let found = sha_digests(file, holding.size, promised.is_none(), sha256.is_some());
        let (found_sha1, found_sha256) = found.map_err(RepositoryError::io("reading", name))?;
        if let Some(found) = promised.or(found_sha1).filter(|found| *found != sha1) {
            return Ok(Some(format!("its SHA-1 is {found}, and Microsoft's index says {sha1}")));
        }
        Ok(match (found_sha256, sha256) {
            (Some(found), Some(told)) if found != told => {
                Some(format!("its SHA-256 is {found}, and Microsoft's index says {told}: Windows refuses it"))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, immutable, rescan};
    use super::*;
    use crate::{
        catalog::EditionRecord,
        domain::{
            digest::{Root, Sha1, Sha256},
            edition::EditionId,
            guid::Guid,
            origin::OriginUrl,
        },
    };
    use sha1::Digest;

    fn told(name: &str, size: Option<u64>, sha1_of: &[u8], sha256_of: Option<&[u8]>) -> EditionFile {
        EditionFile {
            sha1: Sha1(sha1::Sha1::digest(sha1_of).into()),
            size,
            sha256: sha256_of.map(|bytes| Sha256(sha2::Sha256::digest(bytes).into())),
            url: Some(OriginUrl::new(&format!("http://h/c/{name}")).unwrap()),
        }
    }

    #[test]
    fn files_that_the_index_contradicts_by_size_or_digest_are_found_and_no_others() {
        let place = Place::new();
        let main = place.main();
        let kb = immutable("kb", b"bytes1");
        let right = immutable("right", b"bytes2");
        // One content is one row: each file has its own.
        let files = [
            (kb.as_str(), "bytes1", told(&kb, None, b"bytes1", Some(b"other"))),
            (right.as_str(), "bytes2", told(&right, Some(6), b"bytes2", Some(b"bytes2"))),
            ("size.cab", "bytes3", told("size.cab", Some(7), b"bytes3", None)),
            ("sub/sha1.cab", "bytes4", told("sha1.cab", Some(6), b"another", None)),
            ("bare.cab", "bytes5", told("bare.cab", None, b"bytes5", None)),
        ];
        files.iter().for_each(|(name, bytes, _)| place.write(name, bytes.as_bytes()));
        place.write("unknown.cab", b"bytes");
        rescan(&main);
        assert_eq!(main.check(&mut |_| {}).unwrap().findings, [], "without an edition nothing is contradicted");
        let edition = EditionRecord {
            id: EditionId { package_id: Guid([1; 16]), created: 1 },
            root: Root([1; 32]),
            origin_size: 1,
            origin_modified: None,
            updates: 0,
            files: 5,
            indexed_at: 1,
        };
        main.put_edition(&edition, std::iter::empty(), files.iter().map(|(.., file)| file.clone())).unwrap();
        let found = main.check(&mut |_| {}).unwrap().findings;
        let what = |name: &str| found.iter().find(|found| found.name == name).map(|found| found.what.as_str());
        assert!(what(&kb).unwrap().contains("SHA-256") && what(&kb).unwrap().contains("Windows refuses it"));
        assert_eq!(what("size.cab"), Some("it has 6 bytes, and Microsoft's index says 7"));
        assert!(what("sub/sha1.cab").unwrap().starts_with("its SHA-1 is "));
        assert_eq!(found.len(), 3);
    }
}
