//! Updates, as Microsoft counts them: an update is its UpdateID and its RevisionNumber.

use super::guid::Guid;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A text that is no update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no update: write its UpdateID, a _ and its RevisionNumber")]
pub struct ParseUpdateIdError {
    text: String,
}

/// One revision of one update; written `<guid>_<revision>`, as agents report it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateId {
    guid: Guid,
    revision: u32,
}

impl UpdateId {
    /// The revision `revision` of the update with this UpdateID, its digits in the order of the text.
    pub fn new(guid: [u8; 16], revision: u32) -> Self {
        Self::of(Guid(guid), revision)
    }

    /// The revision `revision` of the update with this UpdateID.
    pub fn of(guid: Guid, revision: u32) -> Self {
        Self { guid, revision }
    }

    /// The UpdateID, which all revisions of the update share.
    pub fn guid(&self) -> Guid {
        self.guid
    }

    /// The RevisionNumber.
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// As the key of a row: UpdateID, then RevisionNumber, so that revisions stand side by side.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(&self.guid.0);
        bytes[16..].copy_from_slice(&self.revision.to_be_bytes());
        bytes
    }

    /// What [`UpdateId::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        let [guid @ .., a, b, c, d] = bytes;
        Self { guid: Guid(guid), revision: u32::from_be_bytes([a, b, c, d]) }
    }
}

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.guid, self.revision)
    }
}

impl fmt::Debug for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpdateId({self})")
    }
}

impl FromStr for UpdateId {
    type Err = ParseUpdateIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseUpdateIdError { text: text.chars().take(80).collect() })
    }
}

fn parse(text: &str) -> Option<UpdateId> {
    let (guid, revision) = text.split_once('_')?;
    let guid = guid.parse().ok()?;
    // One text for one update: no sign, no leading zero.
    let is_number = revision.bytes().all(|b| b.is_ascii_digit()) && (revision == "0" || !revision.starts_with('0'));
    let revision = is_number.then(|| revision.parse().ok()).flatten()?;
    Some(UpdateId { guid, revision })
}

impl Serialize for UpdateId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { (self.guid, self.revision).serialize(to) }
    }
}

impl<'de> Deserialize<'de> for UpdateId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
        } else {
            <(Guid, u32)>::deserialize(from).map(|(guid, revision)| Self { guid, revision })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    const TEXT: &str = "0fa1201d-4330-4fa8-8ae9-b877473b6441_204";

    #[test]
    fn an_update_reads_back_in_either_case_and_is_written_in_lower_case() {
        let update: UpdateId = TEXT.to_uppercase().parse().unwrap();
        assert_eq!(update.to_string(), TEXT);
        assert_eq!(UpdateId::from_bytes(update.to_bytes()), update);
        assert_eq!(serde_json::to_string(&update).unwrap(), format!("{TEXT:?}"));
        assert_eq!(serde_json::from_str::<UpdateId>(&format!("{TEXT:?}")).unwrap(), update);
        let most = format!("{}_{}", &TEXT[..36], u32::MAX);
        assert_eq!(most.parse::<UpdateId>().unwrap().to_string(), most);
    }

    #[test]
    fn stored_updates_keep_their_bytes() {
        let update: UpdateId = TEXT.parse().unwrap();
        let stored = postcard::to_stdvec(&update).unwrap();
        assert_eq!(HEXLOWER.encode(&stored), "0fa1201d43304fa88ae9b877473b6441cc01");
        assert_eq!(postcard::from_bytes::<UpdateId>(&stored).unwrap(), update);
    }

    #[test]
    fn whatever_else_is_written_is_no_update() {
        let guid = &TEXT[..36];
        for wrong in [
            "".to_owned(),
            guid.to_owned(),
            format!("{guid}_"),
            format!("{guid}_-1"),
            format!("{guid}_+1"),
            format!("{guid}_007"),
            format!("{guid}_4294967296"),
            format!("{guid}_1_1"),
            format!("{{{guid}}}_1"),
            format!("{}_1", guid.replace('-', "")),
            "0fa1201d4-330-4fa8-8ae9-b877473b6441_204".to_owned(),
            "zfa1201d-4330-4fa8-8ae9-b877473b6441_204".to_owned(),
            "éa1201d-4330-4fa8-8ae9-b877473b6441_204".to_owned(),
        ] {
            assert!(wrong.parse::<UpdateId>().is_err(), "{wrong}");
        }
    }
}
