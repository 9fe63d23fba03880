//! The tree of what was written, each value with its place: parsing and merging. Pure.

use super::error::{ConfigError, Place};
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// Keys and values, by key.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and where it was written; for a key's value that is the line of the key.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What TOML can express. Dates have no use here and keep only their name.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i128),
    Float,
    Boolean(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

impl Node {
    /// The value's type, for "expected a text, found .."
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float => "a fraction",
            Value::Boolean(_) => "true or false",
            Value::Date => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The text under `key`, if this is a table that has one.
    fn text_of(&self, key: &str) -> Option<&str> {
        let Value::Table(table) = &self.value else { return None };
        let Value::Text(text) = &table.get(key)?.value else { return None };
        Some(text)
    }
}

/// Reads the text of a whole file.
pub(super) fn parse(text: &str, file: &Place) -> Result<Table, Vec<ConfigError>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let source = Source { text, file, has_lines: true };
    if errors.is_empty() {
        return Ok(source.table(table.get_ref()));
    }
    Err(errors.iter().map(|error| source.syntax_error(error)).collect())
}

/// Reads `key=value` of a `--set`.
pub(super) fn parse_set(text: &str) -> Result<Table, Vec<ConfigError>> {
    let key = text.split('=').next().unwrap_or(text).trim();
    let place = Place::whole(&format!("--set {key}"));
    let (table, errors) = DeTable::parse_recoverable(text);
    if text.starts_with('[') || !text.contains('=') || text.contains('\n') {
        return Err(vec![ConfigError::Syntax { place, text: "write it as key=value".to_owned() }]);
    }
    if let Some(error) = errors.first() {
        let text =
            format!("not a TOML value ({}); a text needs quotes of its own: --set '{key}=\"...\"'", error.message());
        return Err(vec![ConfigError::Syntax { place, text }]);
    }
    Ok(Source { text, file: &place, has_lines: false }.table(table.get_ref()))
}

struct Source<'a> {
    text: &'a str,
    file: &'a Place,
    has_lines: bool,
}

impl Source<'_> {
    fn table(&self, table: &DeTable<'_>) -> Table {
        table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), self.node(key.span().start, value.get_ref())))
            .collect()
    }

    fn node(&self, offset: usize, value: &DeValue<'_>) -> Node {
        let value = match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(digits) => {
                Value::Integer(i128::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(i128::MAX))
            }
            DeValue::Float(_) => Value::Float,
            DeValue::Boolean(is) => Value::Boolean(*is),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(list) => {
                Value::List(list.iter().map(|item| self.node(item.span().start, item.get_ref())).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { place: self.place(offset), value }
    }

    fn place(&self, offset: usize) -> Place {
        if !self.has_lines {
            return self.file.clone();
        }
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        self.file.line(1 + before.iter().filter(|byte| **byte == b'\n').count())
    }

    fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        let offset = error.span().map_or(0, |span| span.start);
        ConfigError::Syntax { place: self.place(offset), text: error.message().replace('\n', "; ") }
    }
}

/// Lays `over` on `base`: tables key by key, anything else as a whole.
pub(super) fn merge(base: &mut Table, over: Table) {
    for (key, node) in over {
        match (base.get_mut(&key).map(|below| &mut below.value), node.value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, Node { place: node.place, value });
            }
        }
    }
}

/// Lays a file on `base`: as [`merge`], but folders are told apart by name. One of a known name
/// changes that folder, any other is a further folder.
pub(super) fn merge_file(base: &mut Table, mut file: Table) {
    let folders = file.remove("folder");
    merge(base, file);
    match (base.get_mut("folder").map(|node| &mut node.value), folders) {
        (Some(Value::List(known)), Some(Node { value: Value::List(more), .. })) => merge_folders(known, more),
        (_, Some(folders)) => {
            base.insert("folder".to_owned(), folders);
        }
        (_, None) => {}
    }
}

/// Two of one name in `more` stay two, for the check for duplicates to find.
fn merge_folders(known: &mut Vec<Node>, more: Vec<Node>) {
    let mut unchanged: Vec<usize> = (0..known.len()).collect();
    for folder in more {
        let same = |at: &usize| known[*at].text_of("name").is_some_and(|name| Some(name) == folder.text_of("name"));
        let Some(found) = unchanged.iter().position(same) else {
            known.push(folder);
            continue;
        };
        let below = &mut known[unchanged.swap_remove(found)];
        if let (Value::Table(below), Value::Table(above)) = (&mut below.value, folder.value) {
            merge(below, above);
        }
    }
}
