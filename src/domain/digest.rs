//! Content digests. Parsed at the door, trusted inside.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// The unit of verification, in bytes. Smaller groups cost outboard, larger ones delay the first byte.
pub const GROUP_BYTES: u64 = 64 << 10;

/// A text that is not the digest it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected} hexadecimal digits")]
pub struct ParseDigestError {
    text: String,
    expected: usize,
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The digest's bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
                bytes
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or_else(|| ParseDigestError { text: text.chars().take(80).collect(), expected: $len * 2 })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; $len]>::deserialize(from).map(Self)
                }
            }
        }
    };
}

digest! {
    /// A BLAKE3 root: what names a blob everywhere here; `b3sum` of the file prints the same.
    Root, 32
}
digest! {
    /// A SHA-1, as Microsoft writes it into file names.
    Sha1, 20
}
digest! {
    /// A SHA-256, as Microsoft writes it into the metadata of updates.
    Sha256, 32
}

impl From<blake3::Hash> for Root {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl From<Root> for blake3::Hash {
    fn from(root: Root) -> Self {
        Self::from_bytes(root.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_in_either_case_and_is_written_in_lower_case() {
        let text = "DA39a3ee5e6b4b0d3255bfef95601890afd80709";
        let digest: Sha1 = text.parse().unwrap();
        assert_eq!(digest.to_string(), text.to_lowercase());
    }

    #[test]
    fn a_digest_of_another_length_is_refused() {
        assert!("da39a3ee5e6b4b0d3255bfef95601890afd80709".parse::<Sha256>().is_err());
        for wrong in
            ["", "da39", "zz39a3ee5e6b4b0d3255bfef95601890afd80709", "da39a3ee5e6b4b0d3255bfef95601890afd8070911"]
        {
            assert!(wrong.parse::<Sha1>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_carries_hexadecimal_and_postcard_carries_bytes() {
        let root = Root::from(blake3::hash(b"x"));
        assert_eq!(serde_json::to_string(&root).unwrap(), format!("\"{root}\""));
        assert_eq!(postcard::to_stdvec(&root).unwrap(), root.0);
        let sha256 = Sha256([0xab; 32]);
        assert_eq!(serde_json::to_string(&sha256).unwrap(), format!("\"{}\"", "ab".repeat(32)));
        assert_eq!(postcard::from_bytes::<Sha256>(&postcard::to_stdvec(&sha256).unwrap()).unwrap(), sha256);
    }
}
