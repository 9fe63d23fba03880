//! How values are stored: one version byte, then postcard. A version's body never changes; every
//! version keeps a fixture.

use serde::{Serialize, de::DeserializeOwned};

/// What most values fit in: a digest, and some numbers.
const USUAL_BYTES: usize = 64;

/// A stored value that can't be read, or one that can't be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionedError {
    /// Not even a version byte.
    #[error("empty value")]
    Empty,
    /// Written by a newer program.
    #[error("value of version {found}, newest known is {known}")]
    Newer {
        /// The version byte.
        found: u8,
        /// The newest that this program reads.
        known: u8,
    },
    /// The bytes are no such value.
    #[error("malformed value")]
    Malformed(#[source] postcard::Error),
    /// Bytes left over behind the value.
    #[error("trailing bytes after a value")]
    Trailing,
}

/// `version`, then `value`.
pub fn encode<T: Serialize>(version: u8, value: &T) -> Result<Vec<u8>, VersionedError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(version);
    postcard::to_extend(value, bytes).map_err(VersionedError::Malformed)
}

/// Reads what [`encode`] wrote with `known`, to the last byte.
pub fn decode<T: DeserializeOwned>(known: u8, bytes: &[u8]) -> Result<T, VersionedError> {
    let (found, body) = bytes.split_first().ok_or(VersionedError::Empty)?;
    if *found != known {
        return Err(VersionedError::Newer { found: *found, known });
    }
    let (value, rest) = postcard::take_from_bytes(body).map_err(VersionedError::Malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(VersionedError::Trailing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back_and_nothing_else_does() {
        let bytes = encode(1, &(7u32, "x".to_owned())).unwrap();
        assert_eq!(decode::<(u32, String)>(1, &bytes).unwrap(), (7, "x".into()));
        assert_eq!(decode::<(u32, String)>(1, b""), Err(VersionedError::Empty));
        assert_eq!(decode::<(u32, String)>(2, &bytes), Err(VersionedError::Newer { found: 1, known: 2 }));
        assert_eq!(decode::<(u32, String)>(1, &[&bytes[..], b"z"].concat()), Err(VersionedError::Trailing));
        assert!(matches!(decode::<(u32, String)>(1, &bytes[..2]), Err(VersionedError::Malformed(_))));
    }
}
