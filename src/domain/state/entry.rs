//! One fact of the signed state.

use crate::domain::name::FolderName;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Most bytes in a namespace's name: `folder/` and the longest folder name fit.
const MAX_NAMESPACE_BYTES: usize = 80;

/// A text that names no namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no namespace")]
pub struct NamespaceError(String);

/// A part of the state with a Merkle root of its own: `folder/waptwua`, `members`. One that this
/// program does not know is stored and hashed, and not interpreted. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks `name`: 1 to 80 of a-z, 0-9, `-`, `_` and `/`.
    pub fn new(name: &str) -> Result<Self, NamespaceError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'/');
        if name.bytes().all(plain) && (1..=MAX_NAMESPACE_BYTES).contains(&name.len()) {
            Ok(Self(name.into()))
        } else {
            Err(NamespaceError(name.chars().take(100).collect()))
        }
    }

    /// Who may connect: node key to member.
    pub fn members() -> Self {
        Self("members".into())
    }

    /// Which updates are let through.
    pub fn rules() -> Self {
        Self("rules".into())
    }

    /// Rules, addresses and distances of repositories.
    pub fn nearest() -> Self {
        Self("nearest".into())
    }

    /// What every node keeps, whichever folders it mirrors.
    pub fn tables() -> [Self; 3] {
        [Self::members(), Self::rules(), Self::nearest()]
    }

    /// The files of one folder: name to file.
    pub fn folder(name: &FolderName) -> Self {
        Self(format!("folder/{name}").into())
    }

    /// The folder whose files these are.
    pub fn as_folder(&self) -> Option<FolderName> {
        FolderName::new(self.0.strip_prefix("folder/")?).ok()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for Namespace {
    type Error = NamespaceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0.as_ref().to_owned()
    }
}

/// One key of one namespace, with its body as it is stored, hashed and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it belongs.
    pub namespace: Namespace,
    /// The key, in the owner's form (a file name, a node key).
    pub key: Vec<u8>,
    /// [`Body`], encoded.
    pub body: Vec<u8>,
}

/// Bytes that are no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed entry body")]
pub struct BodyError;

/// What an entry says: a value, or that there was one and it was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Removed, on purpose, by the main.
    Tombstone {
        /// When, in seconds since 1970 UTC.
        removed_at: u64,
    },
    /// The owner's bytes.
    Value(Vec<u8>),
}

const TOMBSTONE: u8 = 0;
const VALUE: u8 = 1;

impl Body {
    /// The stored bytes: a kind byte, then the rest.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Tombstone { removed_at } => [&[TOMBSTONE][..], &removed_at.to_be_bytes()].concat(),
            Self::Value(bytes) => [&[VALUE][..], bytes].concat(),
        }
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        match bytes.split_first() {
            Some((&TOMBSTONE, at)) => {
                Ok(Self::Tombstone { removed_at: u64::from_be_bytes(at.try_into().map_err(|_| BodyError)?) })
            }
            Some((&VALUE, value)) => Ok(Self::Value(value.to_vec())),
            _ => Err(BodyError),
        }
    }

    /// The owner's bytes inside an encoded body, without a copy; `None` for a tombstone.
    pub fn value_of(body: &[u8]) -> Option<&[u8]> {
        match body.split_first() {
            Some((&VALUE, value)) => Some(value),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_keep_their_bytes() {
        assert_eq!(Body::Tombstone { removed_at: 258 }.encode(), [0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(Body::Value(vec![9, 8]).encode(), [1, 9, 8]);
        for body in [Body::Tombstone { removed_at: u64::MAX }, Body::Value(vec![])] {
            assert_eq!(Body::decode(&body.encode()), Ok(body));
        }
    }

    #[test]
    fn a_body_of_an_unknown_kind_or_length_is_refused() {
        for wrong in [&b""[..], &[2, 1], &[0], &[0, 1, 2, 3]] {
            assert_eq!(Body::decode(wrong), Err(BodyError));
        }
    }

    #[test]
    fn a_folder_reads_back_from_its_namespace_and_only_from_such() {
        let folder = FolderName::new("waptwua").unwrap();
        assert_eq!(Namespace::folder(&folder).as_folder(), Some(folder));
        assert_eq!(Namespace::members().as_folder(), None);
        assert_eq!(Namespace::new("folder/a/b").unwrap().as_folder(), None);
        assert!(Namespace::new("Members").is_err());
        assert!(Namespace::new(&"x".repeat(81)).is_err());
    }
}
