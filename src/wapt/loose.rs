//! JSON as agents of many versions write it: a flag may be 0 or "true", a list may be a text with commas, and
//! anything may be null. What makes no sense counts as not said.

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{fmt, marker::PhantomData};

/// A scalar, as a text; none where nothing was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text(pub Option<String>);

impl Text {
    /// Without blanks around it, if anything is left.
    pub(super) fn said(&self) -> Option<&str> {
        let text = self.0.as_deref()?.trim();
        let is_said = !text.is_empty() && !text.eq_ignore_ascii_case("none") && !text.eq_ignore_ascii_case("null");
        is_said.then_some(text)
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.said()?.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        let text = self.said()?;
        text.parse().ok().or_else(|| text.parse::<f64>().ok().filter(|n| *n >= 0.0 && *n < 1e18).map(|n| n as u64))
    }
}

/// A list of scalars; a text with commas is one too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Texts(pub Vec<String>);

/// A list of objects; null is an empty one. Tells whether there was one.
#[derive(Debug, Clone)]
pub(super) struct Objects<T>(pub Option<Vec<T>>);

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self(None)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
        Ok(Text(Some(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
        Ok(Text(Some(value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
        Ok(Text(Some(value.to_string())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
        Ok(Text(Some(value.to_string())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Text, E> {
        Ok(Text(Some(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_str<E>(self, value: &str) -> Result<Texts, E> {
        let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
        Ok(Texts(parts.map(str::to_owned).collect()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Texts, E> {
        Ok(Texts(vec![value.to_string()]))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Texts, E> {
        Ok(Texts(vec![value.to_string()]))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Texts, E> {
        Ok(Texts::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Texts, E> {
        Ok(Texts::default())
    }

    fn visit_unit<E>(self) -> Result<Texts, E> {
        Ok(Texts::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element::<Text>()? {
            texts.extend(text.said().map(str::to_owned));
        }
        Ok(Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Texts::default())
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextsVisitor)
    }
}

struct ObjectsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectsVisitor<T> {
    type Value = Objects<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_unit<E>(self) -> Result<Objects<T>, E> {
        Ok(Objects(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Objects<T>, A::Error> {
        let mut objects = Vec::new();
        while let Some(object) = seq.next_element()? {
            objects.push(object);
        }
        Ok(Objects(Some(objects)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Objects<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ObjectsVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_of_any_kind_are_read_and_what_makes_no_sense_was_not_said() {
        let text = |json: &str| serde_json::from_str::<Text>(json).unwrap();
        for (json, flag) in [
            ("true", Some(true)),
            ("0", Some(false)),
            ("\"True\"", Some(true)),
            ("null", None),
            ("[1]", None),
            ("{\"a\":{\"b\":1}}", None),
            ("\"maybe\"", None),
        ] {
            assert_eq!(text(json).flag(), flag, "{json}");
        }
        assert_eq!((text("12.7").number(), text("\"9\"").number(), text("-1").number()), (Some(12), Some(9), None));
        assert_eq!((text("\" None \"").said(), text("\" x \"").said()), (None, Some("x")));
    }

    #[test]
    fn lists_are_lists_or_texts_with_commas_and_null_is_none() {
        let texts = |json: &str| serde_json::from_str::<Texts>(json).unwrap().0;
        assert_eq!(texts("[\"a\", null, 5, \"\", [1]]"), ["a", "5"]);
        assert_eq!(texts("\"a, b,\""), ["a", "b"]);
        assert!(texts("null").is_empty() && texts("{}").is_empty() && texts("1.5").is_empty());
        assert!(serde_json::from_str::<Objects<Text>>("null").unwrap().0.is_none());
        assert_eq!(serde_json::from_str::<Objects<Text>>("[1,2]").unwrap().0.unwrap().len(), 2);
        assert!(serde_json::from_str::<Objects<Text>>("5").is_err());
    }
}
