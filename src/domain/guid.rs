//! GUIDs, as Microsoft names updates, categories and editions.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// Digits between the hyphens.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
/// All digits and hyphens.
const TEXT_BYTES: usize = 36;

/// A text that is no GUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no GUID")]
pub struct ParseGuidError {
    text: String,
}

/// A GUID, its digits in the order of the text; written in lower case, without braces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = HEXLOWER.encode(&self.0);
        let mut rest = digits.as_str();
        for (n, digits) in GROUPS.into_iter().enumerate() {
            let (group, after) = rest.split_at(digits);
            f.write_str(if n == 0 { "" } else { "-" })?;
            f.write_str(group)?;
            rest = after;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

impl FromStr for Guid {
    type Err = ParseGuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseGuidError { text: text.chars().take(80).collect() })
    }
}

fn parse(text: &str) -> Option<Guid> {
    let bytes: &[u8; TEXT_BYTES] = text.as_bytes().try_into().ok()?;
    let mut digits = [0; 32];
    let (mut from, mut to) = (0, 0);
    for group in GROUPS {
        digits[to..to + group].copy_from_slice(&bytes[from..from + group]);
        (from, to) = (from + group + 1, to + group);
        if bytes.get(from - 1).is_some_and(|hyphen| *hyphen != b'-') {
            return None;
        }
    }
    let mut guid = [0; 16];
    HEXLOWER_PERMISSIVE.decode_mut(&digits, &mut guid).ok()?;
    Some(Guid(guid))
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 16]>::deserialize(from).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0fa1201d-4330-4fa8-8ae9-b877473b6441";

    #[test]
    fn a_guid_reads_back_in_either_case_and_keeps_its_bytes() {
        let guid: Guid = TEXT.to_uppercase().parse().unwrap();
        assert_eq!(guid.to_string(), TEXT);
        assert_eq!(serde_json::from_str::<Guid>(&serde_json::to_string(&guid).unwrap()).unwrap(), guid);
        let stored = postcard::to_stdvec(&guid).unwrap();
        assert_eq!(HEXLOWER.encode(&stored), TEXT.replace('-', ""));
        assert_eq!(postcard::from_bytes::<Guid>(&stored).unwrap(), guid);
    }

    #[test]
    fn whatever_else_is_written_is_no_guid() {
        for wrong in [
            "",
            "0fa1201d43304fa88ae9b877473b6441",
            "{0fa1201d-4330-4fa8-8ae9-b877473b6441}",
            "0fa1201d4-330-4fa8-8ae9-b877473b6441",
            "0fa1201d-4330-4fa8-8ae9-b877473b644",
            "0fa1201d-4330-4fa8-8ae9-b877473b64411",
            "zfa1201d-4330-4fa8-8ae9-b877473b6441",
            "0fa1201d-4330-4fa8-8ae9-b877473b644é",
        ] {
            assert!(wrong.parse::<Guid>().is_err(), "{wrong}");
        }
    }
}
