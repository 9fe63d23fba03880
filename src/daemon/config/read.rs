//! Readers of single values, to be combined: `list(address)`, `optional(parsed)`.

use super::{
    error::Place,
    node::{Node, Value},
};
use crate::base::units;
use std::{
    collections::BTreeMap, fmt::Display, net::SocketAddr, ops::RangeInclusive, path::PathBuf, str::FromStr,
    time::Duration,
};

/// Longest period that may be configured: a hundred years, so that adding it to a time of today
/// overflows nowhere.
const LONGEST_PERIOD: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A value that is not what its key needs.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Mistake {
    pub(super) fn at(node: &Node, text: impl Into<String>) -> Self {
        Self { place: node.place.clone(), text: text.into() }
    }

    pub(super) fn of_type(node: &Node, expected: &str) -> Self {
        Self::at(node, format!("expected {expected}, found {}", node.kind()))
    }
}

/// Any text.
pub(super) fn text(node: &Node) -> Result<String, Mistake> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(Mistake::of_type(node, "a text")),
    }
}

/// A text that a type reads; the type's error says what would be right.
pub(super) fn parsed<T: FromStr<Err: Display>>(node: &Node) -> Result<T, Mistake> {
    text(node)?.parse().map_err(|error: T::Err| Mistake::at(node, error.to_string()))
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Result<bool, Mistake> {
    match node.value {
        Value::Boolean(is) => Ok(is),
        _ => Err(Mistake::of_type(node, "true or false")),
    }
}

/// A whole number within `range`.
pub(super) fn count<T>(range: RangeInclusive<T>) -> impl Fn(&Node) -> Result<T, Mistake>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    move |node| {
        let Value::Integer(number) = node.value else { return Err(Mistake::of_type(node, "a whole number")) };
        let within = T::try_from(number).ok().filter(|number| range.contains(number));
        within.ok_or_else(|| Mistake::at(node, format!("{number} is not within {} and {}", range.start(), range.end())))
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy + 'static>(choices: &'static [(&'static str, T)]) -> impl Fn(&Node) -> Result<T, Mistake> {
    move |node| {
        let given = text(node)?;
        let found = choices.iter().find(|(word, _)| *word == given).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
            Mistake::at(node, format!("{given:?} is none of {}", words.join(", ")))
        })
    }
}

/// A size in bytes: `5 GiB`; a bare number is bytes.
pub(super) fn size(node: &Node) -> Result<u64, Mistake> {
    let given = text_or_number(node, "a size such as \"5 GiB\"")?;
    units::parse_bytes(&given).ok_or_else(|| Mistake::at(node, format!("{given:?} is no size; write it as \"5 GiB\"")))
}

/// A duration: `30m`; a bare number is days.
pub(super) fn period(node: &Node) -> Result<Duration, Mistake> {
    let given = text_or_number(node, "a duration such as \"30m\"")?;
    let wrong =
        || Mistake::at(node, format!("{given:?} is no duration; write a number and one of s, m, h, d, w: \"30m\""));
    let period = units::parse_duration(&given).ok_or_else(wrong)?;
    let too_long = || Mistake::at(node, format!("{given:?} is more than a hundred years"));
    (period <= LONGEST_PERIOD).then_some(period).ok_or_else(too_long)
}

fn text_or_number(node: &Node, expected: &str) -> Result<String, Mistake> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        _ => Err(Mistake::of_type(node, expected)),
    }
}

/// Address and port to listen on; port 0 is any free one.
pub(super) fn address(node: &Node) -> Result<SocketAddr, Mistake> {
    let given = text(node)?;
    let wrong = |_| Mistake::at(node, format!("{given:?} is no address; write it as \"0.0.0.0:80\" or \"[::]:80\""));
    given.parse().map_err(wrong)
}

/// A path from the root, without `..`.
pub(super) fn path(node: &Node) -> Result<PathBuf, Mistake> {
    let given = text(node)?;
    if !given.starts_with('/') {
        return Err(Mistake::at(node, format!("{given:?} is not an absolute path")));
    }
    if given.split('/').any(|part| part == "..") || given.contains('\0') {
        return Err(Mistake::at(node, format!("{given:?} goes through \"..\" or holds a NUL")));
    }
    Ok(PathBuf::from_iter(PathBuf::from(given).components()))
}

/// An empty text is none.
pub(super) fn optional<T>(read: impl Fn(&Node) -> Result<T, Mistake>) -> impl Fn(&Node) -> Result<Option<T>, Mistake> {
    move |node| match &node.value {
        Value::Text(text) if text.trim().is_empty() => Ok(None),
        _ => read(node).map(Some),
    }
}

/// A list of them; a mistake has its item's line.
pub(super) fn list<T>(read: impl Fn(&Node) -> Result<T, Mistake>) -> impl Fn(&Node) -> Result<Vec<T>, Mistake> {
    move |node| match &node.value {
        Value::List(items) => items.iter().map(&read).collect(),
        _ => Err(Mistake::of_type(node, "a list in [ ]")),
    }
}

/// A table with keys of the administrator's own choice.
pub(super) fn map<T>(
    read: impl Fn(&Node) -> Result<T, Mistake>,
) -> impl Fn(&Node) -> Result<BTreeMap<String, T>, Mistake> {
    move |node| match &node.value {
        Value::Table(table) => table.iter().map(|(key, node)| Ok((key.clone(), read(node)?))).collect(),
        _ => Err(Mistake::of_type(node, "a table")),
    }
}
