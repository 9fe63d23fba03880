//! Distinguished names for people. Comparisons use the bytes, never these texts.

use super::{asn1::Elements, error::Refusal};
use der::{Tag, asn1::ObjectIdentifier};

/// Longest text of a name; foreign certificates can hold any.
const MAX_CHARS: usize = 256;

const SHORT: [(&str, ObjectIdentifier); 7] = [
    ("CN", ObjectIdentifier::new_unwrap("2.5.4.3")),
    ("SERIALNUMBER", ObjectIdentifier::new_unwrap("2.5.4.5")),
    ("C", ObjectIdentifier::new_unwrap("2.5.4.6")),
    ("L", ObjectIdentifier::new_unwrap("2.5.4.7")),
    ("ST", ObjectIdentifier::new_unwrap("2.5.4.8")),
    ("O", ObjectIdentifier::new_unwrap("2.5.4.10")),
    ("OU", ObjectIdentifier::new_unwrap("2.5.4.11")),
];

/// The name whose parts are in `body`, most telling part first: `CN=..., O=..., C=...`. Control characters
/// are replaced.
pub(super) fn show(body: &[u8]) -> Result<String, Refusal> {
    let mut parts = Vec::new();
    for set in Elements::new(body, "a name")? {
        let set = set?;
        if set.tag != Tag::Set {
            return Err(Refusal::Malformed("a name"));
        }
        for part in set.elements()? {
            let mut part = part?.sequence()?;
            let kind = part.oid()?;
            let value = part.any()?;
            part.end()?;
            parts.push(format!("{}={}", short(kind), text(value.tag, value.body)));
        }
    }
    parts.reverse();
    Ok(parts.join(", ").chars().take(MAX_CHARS).collect())
}

fn short(kind: ObjectIdentifier) -> String {
    let known = SHORT.iter().find(|(_, oid)| *oid == kind);
    known.map_or_else(|| kind.to_string(), |(name, _)| (*name).to_owned())
}

fn text(tag: Tag, bytes: &[u8]) -> String {
    let text: String = match tag {
        Tag::BmpString => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        Tag::TeletexString => bytes.iter().map(|byte| char::from(*byte)).collect(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_with_its_most_telling_part_and_holds_no_control_characters() {
        let country = b"\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02US";
        let common = b"\x31\x0d\x30\x0b\x06\x03\x55\x04\x03\x1e\x04\0A\0\x0a";
        let other = b"\x31\x0b\x30\x09\x06\x03\x55\x04\x2a\x0c\x02\xc3\xa9";
        let name = [&country[..], common, other].concat();
        assert_eq!(show(&name).unwrap(), "2.5.4.42=é, CN=A\u{fffd}, C=US");
        assert_eq!(show(b"").unwrap(), "");
        assert!(show(&name[..name.len() - 1]).is_err());
    }
}
