//! A file as the main signed it.

use super::{
    digest::Root,
    versioned::{self, VersionedError},
};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// Most bytes in a mirrored file. The largest feature updates are near 10 GiB.
pub const MAX_FILE_BYTES: u64 = 1 << 40;

/// The value of a `folder/<name>` entry; the key is the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// BLAKE3 root of the content.
    pub root: Root,
    /// Length in bytes.
    pub size: u64,
    /// Last modification, seconds since 1970 UTC; the same on every mirror.
    pub modified: i64,
}

impl FileRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Vec<u8>, VersionedError> {
        versioned::encode(VERSION, self)
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, VersionedError> {
        versioned::decode(VERSION, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_one_keeps_its_bytes() {
        let record = FileRecord { root: Root([0xab; 32]), size: 300, modified: -2 };
        let bytes = record.encode().unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&bytes), format!("01{}ac0203", "ab".repeat(32)));
        assert_eq!(FileRecord::decode(&bytes).unwrap(), record);
    }
}
