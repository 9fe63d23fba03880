//! Members: the nodes that a main has admitted, as it signs them into the namespace `members`.
//! Parents, siblings and tiers that never met know each other by these records.

use super::{key::NodeKey, name::FolderName};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Most bytes in a node's name: one DNS label and one more.
pub const MAX_NODE_NAME_BYTES: usize = 64;
/// Most bytes in a site's name.
pub const MAX_SITE_NAME_BYTES: usize = 64;
/// Most bytes in a host's name: a DNS name has 253.
pub const MAX_HOST_NAME_BYTES: usize = 255;
/// Most bytes in an address: a DNS name of 253, a colon, five digits, and one to spare.
pub const MAX_ADDRESS_BYTES: usize = 260;
/// Most addresses of one node.
pub const MAX_ADDRESSES: usize = 8;
/// Most folders that one node mirrors.
pub const MAX_MEMBER_FOLDERS: usize = 64;
/// Most bytes in an encoded record: room for the limits above, with a margin.
pub const MAX_MEMBER_BYTES: usize = 8 * 1024;

const VERSION: u8 = 1;

/// A text that breaks the rule for what it should name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {expected}")]
pub struct MemberTextError {
    text: String,
    expected: &'static str,
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text`.
            pub fn new(text: &str) -> Result<Self, MemberTextError> {
                let error = || MemberTextError { text: text.chars().take(80).collect(), expected: $expected };
                $check(text).then(|| Self(text.into())).ok_or_else(error)
            }

            /// As it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = MemberTextError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = MemberTextError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.as_ref().to_owned()
            }
        }
    };
}

checked_text! {
    /// What a node calls itself, unique within a line. Cheap to clone.
    NodeName, is_node_name, "node name: 1 to 64 of A-Z, a-z, 0-9, dot, _ and -"
}
checked_text! {
    /// The site that a node stands at, for people. Cheap to clone.
    SiteName, is_site_name, "site name: 1 to 64 bytes without control characters or blanks at its ends"
}
checked_text! {
    /// What a Windows machine calls itself, for people. Cheap to clone.
    HostName, is_host_name, "host name: 1 to 255 bytes without control characters or blanks at its ends"
}
checked_text! {
    /// Where a node listens: `host:port`, an IPv6 address in brackets. Cheap to clone.
    NodeAddress, is_address, "address: host:port"
}

fn is_node_name(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    plain && (1..=MAX_NODE_NAME_BYTES).contains(&text.len())
}

fn is_site_name(text: &str) -> bool {
    is_plain(text, MAX_SITE_NAME_BYTES)
}

fn is_host_name(text: &str) -> bool {
    is_plain(text, MAX_HOST_NAME_BYTES)
}

fn is_plain(text: &str, most_bytes: usize) -> bool {
    (1..=most_bytes).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control)
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let port_is_real = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_real = match bracketed {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    text.len() <= MAX_ADDRESS_BYTES && port_is_real && host_is_real
}

/// What a node is in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Signs the state.
    Main,
    /// Mirrors it.
    Secondary,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main",
            Self::Secondary => "secondary",
        })
    }
}

/// One admitted node. A revoked node's entry is a tombstone, so no record says "revoked".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Its transport key; also the entry's key in the namespace.
    pub key: NodeKey,
    /// Its name.
    pub name: NodeName,
    /// Its site.
    pub site: SiteName,
    /// The folders that it may mirror.
    pub folders: Vec<FolderName>,
    /// Where it can be reached, best first; empty when nobody can connect to it.
    pub addresses: Vec<NodeAddress>,
    /// What it is in the line.
    pub role: Role,
    /// Seconds since 1970 UTC.
    pub joined_at: u64,
    /// Seconds since 1970 UTC, from when on it is refused; `None` is never.
    pub expires_at: Option<u64>,
}

/// Bytes that are no member record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeMemberError {
    /// Nothing at all.
    #[error("an empty member record")]
    Empty,
    /// Written by a program that knows more.
    #[error("a member record of version {0}, which this program does not know")]
    UnknownVersion(u8),
    /// More bytes, folders or addresses than a record may have.
    #[error("a member record above its limits")]
    TooLarge,
    /// The body does not decode, or does not end where the bytes do.
    #[error("a damaged member record")]
    Damaged,
}

/// A record that can't be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeMemberError {
    /// More bytes, folders or addresses than a record may have.
    #[error("a member record above its limits")]
    TooLarge,
}

impl MemberRecord {
    /// A version byte, then postcard.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeMemberError> {
        let bytes = postcard::to_extend(self, vec![VERSION]).map_err(|_| EncodeMemberError::TooLarge)?;
        let fits = self.is_within_limits() && bytes.len() <= MAX_MEMBER_BYTES;
        fits.then_some(bytes).ok_or(EncodeMemberError::TooLarge)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeMemberError> {
        let (version, body) = bytes.split_first().ok_or(DecodeMemberError::Empty)?;
        if *version != VERSION {
            return Err(DecodeMemberError::UnknownVersion(*version));
        }
        if bytes.len() > MAX_MEMBER_BYTES {
            return Err(DecodeMemberError::TooLarge);
        }
        let (record, rest) = postcard::take_from_bytes::<Self>(body).map_err(|_| DecodeMemberError::Damaged)?;
        if !rest.is_empty() {
            return Err(DecodeMemberError::Damaged);
        }
        record.is_within_limits().then_some(record).ok_or(DecodeMemberError::TooLarge)
    }

    /// Whether the main still vouches for this node at `now` (seconds since 1970 UTC).
    pub fn is_valid_at(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }

    fn is_within_limits(&self) -> bool {
        self.folders.len() <= MAX_MEMBER_FOLDERS && self.addresses.len() <= MAX_ADDRESSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> MemberRecord {
        MemberRecord {
            key: NodeKey([1; 32]),
            name: NodeName::new("lyon-1.example").unwrap(),
            site: SiteName::new("Saint-Étienne, 2nd floor").unwrap(),
            folders: vec![FolderName::new("waptwua").unwrap()],
            addresses: vec![NodeAddress::new("[2001:db8::1]:4433").unwrap()],
            role: Role::Secondary,
            joined_at: 1_700_000_000,
            expires_at: Some(1_800_000_000),
        }
    }

    #[test]
    fn a_record_reads_back_what_was_written() {
        let bytes = record().encode().unwrap();
        assert_eq!(bytes[0], 1);
        assert_eq!(MemberRecord::decode(&bytes), Ok(record()));
    }

    #[test]
    fn version_1_keeps_its_bytes() {
        let expected = concat!(
            "01",
            "0101010101010101010101010101010101010101010101010101010101010101",
            "0e6c796f6e2d312e6578616d706c65",
            "195361696e742dc3897469656e6e652c20326e6420666c6f6f72",
            "010777617074777561",
            "01125b323030313a6462383a3a315d3a34343333",
            "01",
            "80e2cfaa06",
            "0180a4a7da06",
        );
        assert_eq!(data_encoding::HEXLOWER.encode(&record().encode().unwrap()), expected);
    }

    #[test]
    fn an_unknown_version_a_cut_and_a_longer_record_are_each_refused_for_their_reason() {
        let bytes = record().encode().unwrap();
        assert_eq!(MemberRecord::decode(&[]), Err(DecodeMemberError::Empty));
        assert_eq!(MemberRecord::decode(&[&[2], &bytes[1..]].concat()), Err(DecodeMemberError::UnknownVersion(2)));
        assert_eq!(MemberRecord::decode(&bytes[..bytes.len() - 1]), Err(DecodeMemberError::Damaged));
        assert_eq!(MemberRecord::decode(&[&bytes[..], &[0]].concat()), Err(DecodeMemberError::Damaged));
        assert_eq!(MemberRecord::decode(&[1; MAX_MEMBER_BYTES + 1]), Err(DecodeMemberError::TooLarge));
    }

    #[test]
    fn too_many_addresses_are_neither_written_nor_read() {
        let mut crowded = record();
        crowded.addresses = vec![NodeAddress::new("a:1").unwrap(); MAX_ADDRESSES + 1];
        assert_eq!(crowded.encode(), Err(EncodeMemberError::TooLarge));
        let bytes = postcard::to_extend(&crowded, vec![VERSION]).unwrap();
        assert_eq!(MemberRecord::decode(&bytes), Err(DecodeMemberError::TooLarge));
    }

    #[test]
    fn the_largest_record_within_the_limits_is_written() {
        let mut largest = record();
        largest.addresses = vec![NodeAddress::new(&format!("{}:65535", "a".repeat(254))).unwrap(); MAX_ADDRESSES];
        largest.folders = vec![FolderName::new(&"f".repeat(64)).unwrap(); MAX_MEMBER_FOLDERS];
        assert_eq!(MemberRecord::decode(&largest.encode().unwrap()), Ok(largest));
    }

    #[test]
    fn a_record_holds_until_its_expiry() {
        assert!(record().is_valid_at(1_799_999_999));
        assert!(!record().is_valid_at(1_800_000_000));
    }

    #[test]
    fn node_names_are_plain_words_with_dots() {
        assert!(NodeName::new(&"x".repeat(64)).is_ok());
        for wrong in ["", "a b", "é", "a/b", "a\n", &"x".repeat(65)] {
            assert!(NodeName::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn site_names_are_any_text_that_a_terminal_can_show() {
        assert!(SiteName::new("Bâtiment 4 (nord)").is_ok());
        for wrong in ["", " x", "x ", "a\x1b[2Jb", "a\u{9b}b", &"x".repeat(65)] {
            assert!(SiteName::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn addresses_are_a_host_and_a_real_port() {
        for right in ["main.example:4433", "192.0.2.7:1", "[::1]:65535"] {
            assert!(NodeAddress::new(right).is_ok(), "{right}");
        }
        for wrong in ["", "main", ":1", "main:", "main:0", "main:65536", "main:+1", "::1:1", "[main]:1", "a b:1"] {
            assert!(NodeAddress::new(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = MemberRecord::decode(&bytes);
            let _ = MemberRecord::decode(&[&[VERSION], &bytes[..]].concat());
        }
    }
}
