//! Public keys, as people compare them and as rows and frames carry them. The secret halves live
//! where they sign, never here.

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// Characters in a key's text: 256 bits at 5 bits each.
pub const KEY_TEXT_CHARACTERS: usize = 52;

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key: 52 characters of base32 (a-z, 2-7)")]
pub struct ParseKeyError(String);

macro_rules! public_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The key's bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseKeyError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self).ok_or_else(|| ParseKeyError(text.chars().take(80).collect()))
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
                    <[u8; 32]>::deserialize(from).map(Self)
                }
            }
        }
    };
}

public_key! {
    /// A Windows machine's Ed25519 key: who signed a report.
    HostKey
}

public_key! {
    /// A node's Ed25519 transport key: who somebody is on a connection.
    NodeKey
}
public_key! {
    /// The Ed25519 key that signs the heads of one line: whose states are followed.
    LineKey
}

fn parse(text: &str) -> Option<[u8; 32]> {
    if text.len() != KEY_TEXT_CHARACTERS {
        return None;
    }
    BASE32_NOPAD_NOCASE.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_52_lower_case_characters_and_reads_back_in_either_case() {
        let key = NodeKey([0xa5; 32]);
        let text = key.to_string();
        assert_eq!(text, "uws2ljnfuws2ljnfuws2ljnfuws2ljnfuws2ljnfuws2ljnfuwsq");
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_uppercase().parse(), Ok(key));
        assert_eq!(format!("{key:?}"), format!("NodeKey({text})"));
    }

    #[test]
    fn a_text_of_another_length_alphabet_or_with_stray_bits_is_refused() {
        let text = LineKey([7; 32]).to_string();
        let stray = format!("{}r", &text[..51]);
        for wrong in ["", &text[..51], &format!("{text}a"), &text.replace('a', "1"), &stray, &"é".repeat(26)] {
            assert!(wrong.parse::<LineKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_carries_text_and_postcard_carries_bytes() {
        let key = LineKey([9; 32]);
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, format!("\"{key}\""));
        assert_eq!(serde_json::from_str::<LineKey>(&json).unwrap(), key);
        assert_eq!(postcard::to_stdvec(&key).unwrap(), key.0);
    }
}
