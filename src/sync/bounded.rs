//! Serde helpers for lists, bytes and texts with a greatest length, checked while they are read
//! (before memory is spent on them) and while they are written (so that a mistake here is found
//! here, not by the peer).
//!
//! Each is used as `#[serde(with = "AtMost::<64>")]` and leaves the encoding as serde has it.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, SeqAccess, Visitor},
    ser::Error as _,
};
use std::{fmt, marker::PhantomData};

/// Room that is reserved on a list's own word; longer ones grow as their items arrive.
const RESERVED_ITEMS: usize = 64;

/// A list of at most `MAX` items.
#[derive(Debug)]
pub struct AtMost<const MAX: usize>;

impl<const MAX: usize> AtMost<MAX> {
    /// Writes the list, or fails when it is too long.
    pub fn serialize<T: Serialize, S: Serializer>(list: &[T], to: S) -> Result<S::Ok, S::Error> {
        if list.len() > MAX {
            return Err(S::Error::custom(format_args!("a list of more than {MAX} items")));
        }
        list.serialize(to)
    }

    /// Reads the list; stops at the first item too many.
    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
        from.deserialize_seq(ListVisitor::<T, MAX>(PhantomData))
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::with_capacity(items.size_hint().unwrap_or(0).min(RESERVED_ITEMS).min(MAX));
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::custom(format_args!("a list of more than {MAX} items")));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// At most `MAX` bytes, opaque here.
#[derive(Debug)]
pub struct Opaque<const MAX: usize>;

impl<const MAX: usize> Opaque<MAX> {
    /// Writes the bytes, or fails when there are too many.
    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        if bytes.len() > MAX {
            return Err(S::Error::custom(format_args!("more than {MAX} bytes")));
        }
        to.serialize_bytes(bytes)
    }

    /// Reads the bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        from.deserialize_bytes(OpaqueVisitor::<MAX>)
    }
}

struct OpaqueVisitor<const MAX: usize>;

impl<const MAX: usize> Visitor<'_> for OpaqueVisitor<MAX> {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        if bytes.len() > MAX {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        Ok(bytes.to_vec())
    }
}

/// A text of at most `MAX` bytes, without control characters: it may be shown on a terminal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// `None` for a text that is too long or carries control characters.
    pub fn new(text: &str) -> Option<Self> {
        let fits = text.len() <= MAX && !text.chars().any(char::is_control);
        fits.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> Serialize for Text<MAX> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(TextVisitor)
    }
}

struct TextVisitor<const MAX: usize>;

impl<const MAX: usize> Visitor<'_> for TextVisitor<MAX> {
    type Value = Text<MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of at most {MAX} bytes without control characters")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Text::new(text).ok_or_else(|| E::custom("a text that is too long or has control characters"))
    }
}

/// At most `MAX` byte ranges `(start, end)`, `end` exclusive: none empty, ascending, apart or touching.
#[derive(Debug)]
pub struct Ranges<const MAX: usize>;

impl<const MAX: usize> Ranges<MAX> {
    /// Writes the ranges, or fails when they break the rule.
    pub fn serialize<S: Serializer>(ranges: &[(u64, u64)], to: S) -> Result<S::Ok, S::Error> {
        if !are_ordered(ranges) {
            return Err(S::Error::custom("ranges that are empty or out of order"));
        }
        AtMost::<MAX>::serialize(ranges, to)
    }

    /// Reads the ranges and checks the rule.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(u64, u64)>, D::Error> {
        let ranges = AtMost::<MAX>::deserialize(from)?;
        are_ordered(&ranges).then_some(ranges).ok_or_else(|| D::Error::custom("ranges that are empty or out of order"))
    }
}

fn are_ordered(ranges: &[(u64, u64)]) -> bool {
    ranges.iter().all(|(start, end)| start < end) && ranges.is_sorted_by(|before, after| before.1 <= after.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Lists {
        #[serde(with = "AtMost::<3>")]
        numbers: Vec<u64>,
        #[serde(with = "Opaque::<4>")]
        bytes: Vec<u8>,
        #[serde(with = "Ranges::<2>")]
        ranges: Vec<(u64, u64)>,
    }

    #[derive(Serialize, Deserialize)]
    struct Unbounded(Vec<u64>, Vec<u8>, Vec<(u64, u64)>);

    fn read(plain: &Unbounded) -> Result<Lists, postcard::Error> {
        postcard::from_bytes(&postcard::to_stdvec(plain).unwrap())
    }

    #[test]
    fn lists_at_the_limit_pass_and_keep_the_plain_encoding() {
        let lists = Lists { numbers: vec![1, 2, 3], bytes: vec![0; 4], ranges: vec![(0, 1), (1, 9)] };
        let bytes = postcard::to_stdvec(&lists).unwrap();
        assert_eq!(postcard::from_bytes::<Lists>(&bytes).unwrap(), lists);
        assert_eq!(bytes, postcard::to_stdvec(&Unbounded(lists.numbers, lists.bytes, lists.ranges)).unwrap());
    }

    #[test]
    fn one_too_many_is_refused_in_both_directions() {
        for (numbers, bytes, ranges) in
            [(vec![1; 4], vec![], vec![]), (vec![], vec![0; 5], vec![]), (vec![], vec![], vec![(0, 1), (2, 3), (4, 5)])]
        {
            let lists = Lists { numbers, bytes, ranges };
            assert!(postcard::to_stdvec(&lists).is_err(), "{lists:?}");
            assert!(read(&Unbounded(lists.numbers, lists.bytes, lists.ranges)).is_err());
        }
    }

    #[test]
    fn ranges_that_are_empty_overlap_or_go_backwards_are_refused() {
        for ranges in [vec![(5, 5)], vec![(5, 4)], vec![(0, 5), (4, 9)], vec![(5, 9), (0, 5)]] {
            assert!(read(&Unbounded(vec![], vec![], ranges.clone())).is_err(), "{ranges:?}");
        }
    }

    #[test]
    fn a_list_that_claims_more_than_it_has_reserves_little_and_fails() {
        let claims_a_huge_list = [0xff, 0xff, 0xff, 0xff, 0x7f, 1];
        assert!(postcard::from_bytes::<Lists>(&claims_a_huge_list).is_err());
    }

    #[test]
    fn texts_with_control_characters_are_refused() {
        assert!(Text::<4>::new("abcd").is_some());
        for wrong in ["abcde", "a\x1b", "a\n"] {
            assert!(postcard::from_bytes::<Text<4>>(&postcard::to_stdvec(wrong).unwrap()).is_err(), "{wrong:?}");
        }
    }
}
