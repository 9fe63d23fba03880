//! JSON as agents of many versions write it: a flag may be 0 or "true", a list may be a text with commas, and
//! anything may be null. What makes no sense counts as not said.
//!
//! Lists are read as far as anybody looks at them: what follows is read over, so that no text takes many times its own room.

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt, marker::PhantomData};

/// A scalar, as a text; none where nothing was said. A report has thousands: what stands there as it is read is not copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text<'a>(pub Option<Cow<'a, str>>);

impl Text<'_> {
    /// Without blanks around it, if anything is left.
    pub(super) fn said(&self) -> Option<&str> {
        let text = self.0.as_deref()?.trim();
        let is_said = !text.is_empty() && !text.eq_ignore_ascii_case("none") && !text.eq_ignore_ascii_case("null");
        is_said.then_some(text)
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let text = self.said()?;
        let is_one_of = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        match (is_one_of(["true", "1", "yes"]), is_one_of(["false", "0", "no"])) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            (false, false) => None,
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        let text = self.said()?;
        text.parse().ok().or_else(|| text.parse::<f64>().ok().filter(|n| *n >= 0.0 && *n < 1e18).map(|n| n as u64))
    }
}

/// Most elements of a list of scalars that anybody looks at.
pub(super) const MOST_TEXTS: usize = 1_000;

/// A list of scalars, the first [`MOST_TEXTS`]; a text with commas is one too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Texts<'a>(pub Vec<Cow<'a, str>>);

/// A list of objects, the first `MOST` and whether there are more; null is none. Tells whether there was one.
#[derive(Debug, Clone)]
pub(super) struct Objects<T, const MOST: usize> {
    pub list: Option<Vec<T>>,
    pub is_more: bool,
}

impl<T, const MOST: usize> Default for Objects<T, MOST> {
    fn default() -> Self {
        Self { list: None, is_more: false }
    }
}

/// Names, or objects with a `package`, the first [`MOST_TEXTS`]; none where there is no list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packages<'a>(pub Option<Vec<Cow<'a, str>>>);

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Text<'de>, E> {
        Ok(Text(Some(if value { "true" } else { "false" }.into())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Text<'de>, E> {
        Ok(Text(Some(value.to_string().into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Text<'de>, E> {
        Ok(Text(Some(value.to_string().into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Text<'de>, E> {
        Ok(Text(Some(value.to_string().into())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Text<'de>, E> {
        Ok(Text(Some(value.to_owned().into())))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Some(value.into())))
    }

    fn visit_unit<E>(self) -> Result<Text<'de>, E> {
        Ok(Text(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_str<E>(self, value: &str) -> Result<Texts<'de>, E> {
        Ok(Texts(parts(value).map(|part| part.to_owned().into()).collect()))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Texts<'de>, E> {
        Ok(Texts(parts(value).map(Cow::from).collect()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Texts<'de>, E> {
        Ok(Texts(vec![value.to_string().into()]))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Texts<'de>, E> {
        Ok(Texts(vec![value.to_string().into()]))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Texts<'de>, E> {
        Ok(Texts::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Texts<'de>, E> {
        Ok(Texts::default())
    }

    fn visit_unit<E>(self) -> Result<Texts<'de>, E> {
        Ok(Texts::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts<'de>, A::Error> {
        let mut texts = Vec::new();
        while texts.len() < MOST_TEXTS {
            let Some(text) = seq.next_element::<Text<'de>>()? else { return Ok(Texts(texts)) };
            texts.extend(said(text));
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Texts::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Texts<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextsVisitor)
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).take(MOST_TEXTS)
}

/// What [`Text::said`] tells, as long as it lives.
fn said(text: Text<'_>) -> Option<Cow<'_, str>> {
    text.said()?;
    Some(match text.0? {
        Cow::Borrowed(text) => text.trim().into(),
        Cow::Owned(text) => text.trim().to_owned().into(),
    })
}

struct ObjectsVisitor<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for ObjectsVisitor<T, MOST> {
    type Value = Objects<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Objects::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut objects = Vec::new();
        let mut is_more = false;
        while objects.len() < MOST {
            let Some(object) = seq.next_element()? else { return Ok(Objects { list: Some(objects), is_more }) };
            objects.push(object);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            is_more = true;
        }
        Ok(Objects { list: Some(objects), is_more })
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Objects<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ObjectsVisitor(PhantomData))
    }
}

/// The name of one package, where it has one.
struct Package<'a>(Option<Cow<'a, str>>);

struct PackageVisitor;

impl<'de> Visitor<'de> for PackageVisitor {
    type Value = Package<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a package")
    }

    fn visit_str<E>(self, value: &str) -> Result<Package<'de>, E> {
        Ok(Package(Some(value.to_owned().into())))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Package<'de>, E> {
        Ok(Package(Some(value.into())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Package<'de>, E> {
        Ok(Package(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Package<'de>, E> {
        Ok(Package(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Package<'de>, E> {
        Ok(Package(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Package<'de>, E> {
        Ok(Package(None))
    }

    fn visit_unit<E>(self) -> Result<Package<'de>, E> {
        Ok(Package(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Package<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Package(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Package<'de>, A::Error> {
        let mut name = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "package" {
                name = map.next_value::<Text<'de>>()?.0;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Package(name))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Package<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PackageVisitor)
    }
}

struct PackagesVisitor;

impl<'de> Visitor<'de> for PackagesVisitor {
    type Value = Packages<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of packages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Packages<'de>, A::Error> {
        let mut names = Vec::new();
        while let Some(Package(name)) = seq.next_element()? {
            names.extend(name.filter(|_| names.len() < MOST_TEXTS));
        }
        Ok(Packages(Some(names)))
    }

    fn visit_str<E>(self, _: &str) -> Result<Packages<'de>, E> {
        Ok(Packages(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Packages<'de>, E> {
        Ok(Packages(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Packages<'de>, E> {
        Ok(Packages(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Packages<'de>, E> {
        Ok(Packages(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Packages<'de>, E> {
        Ok(Packages(None))
    }

    fn visit_unit<E>(self) -> Result<Packages<'de>, E> {
        Ok(Packages(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Packages<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Packages(None))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Packages<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PackagesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_of_any_kind_are_read_and_what_makes_no_sense_was_not_said() {
        let text = |json: &'static str| serde_json::from_str::<Text<'_>>(json).unwrap();
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
        let texts = |json: &'static str| serde_json::from_str::<Texts<'_>>(json).unwrap().0;
        assert_eq!(texts("[\"a\", null, 5, \"\", [1]]"), ["a", "5"]);
        assert_eq!(texts("\"a, b,\""), ["a", "b"]);
        assert!(texts("null").is_empty() && texts("{}").is_empty() && texts("1.5").is_empty());
        let objects = |json: &'static str| serde_json::from_str::<Objects<Text<'_>, 2>>(json);
        assert!(objects("null").unwrap().list.is_none() && objects("5").is_err());
        for (json, most) in [("[1]", (1, false)), ("[1,2]", (2, false)), ("[1,2,[3],{}]", (2, true))] {
            let read = objects(json).unwrap();
            assert_eq!((read.list.unwrap().len(), read.is_more), most, "{json}");
        }
        let many = format!("[{}1]", "1,".repeat(2 * MOST_TEXTS));
        assert_eq!(serde_json::from_str::<Texts<'_>>(&many).unwrap().0.len(), MOST_TEXTS);
    }

    #[test]
    fn packages_are_names_or_objects_and_anything_but_a_list_is_none() {
        let packages = |json: &'static str| serde_json::from_str::<Packages<'_>>(json).unwrap().0;
        let expected: Vec<Cow<'_, str>> = vec!["a".into(), "b".into()];
        assert_eq!(packages(r#"["a", 5, {"package": "b", "x": [1]}, {}, null, ["c"]]"#), Some(expected));
        assert_eq!(packages("[]"), Some(vec![]));
        for json in ["null", "5", "\"a\"", "{\"package\": \"a\"}", "true", "1.5", "-1"] {
            assert_eq!(packages(json), None, "{json}");
        }
    }
}
