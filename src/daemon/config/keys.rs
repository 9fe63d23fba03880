//! Reading one table: hands out values by key, remembers which keys were asked for, and reports the
//! rest as unknown. A wrong value is reported and its default used, so that one reading finds all errors.

use super::{
    error::{ConfigError, Place},
    node::{Node, Table, Value},
    read::Mistake,
};

/// What a reading found besides the values.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) errors: Vec<ConfigError>,
    /// Keys with a meaning that no part of this version acts upon, set to other than their default.
    pub(super) not_in_effect: Vec<String>,
}

/// One table while it is read.
pub(super) struct Keys<'a> {
    /// Dotted, empty at the top.
    section: String,
    place: &'a Place,
    table: &'a Table,
    asked: Vec<&'static str>,
    report: &'a mut Report,
}

/// Reads `table`, whose header stands at `place`, with `read`; keys it does not ask for are errors.
pub(super) fn read_table<T>(
    section: &str,
    place: &Place,
    table: &Table,
    report: &mut Report,
    read: impl FnOnce(&mut Keys<'_>) -> T,
) -> T {
    let mut keys = Keys { section: section.to_owned(), place, table, asked: Vec::new(), report };
    let value = read(&mut keys);
    keys.report_unknown();
    value
}

impl Keys<'_> {
    /// The value of `key`, or `default`.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Result<T, Mistake>,
        default: T,
    ) -> T {
        self.given(key, read).unwrap_or(default)
    }

    /// The same for a key that nothing acts upon, as the others are set.
    pub(super) fn inert<T: PartialEq>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Result<T, Mistake>,
        default: T,
    ) -> T {
        let Some(value) = self.given(key, read) else { return default };
        if value != default {
            self.report.not_in_effect.push(self.dotted(key));
        }
        value
    }

    /// The value of `key`, if it is there and right.
    pub(super) fn given<T>(&mut self, key: &'static str, read: impl FnOnce(&Node) -> Result<T, Mistake>) -> Option<T> {
        self.asked.push(key);
        match read(self.table.get(key)?) {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.report_value(key, mistake);
                None
            }
        }
    }

    /// The value of a `key` that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Result<T, Mistake>,
    ) -> Option<T> {
        if !self.has(key) {
            self.report.errors.push(ConfigError::MissingKey { place: self.place.clone(), key: self.dotted(key) });
        }
        self.given(key, read)
    }

    /// Whether `key` is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A table below this one; where there is none, `read` finds every key absent.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Keys<'_>) -> T) -> T {
        let empty = Table::new();
        let Some((place, table)) = self.table_of(key) else {
            return read_table(&self.dotted(key), &self.place.clone(), &empty, &mut Report::default(), read);
        };
        read_table(&self.dotted(key), place, table, self.report, read)
    }

    /// A table below this one that may be absent.
    pub(super) fn optional_section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Keys<'_>) -> Option<T>,
    ) -> Option<T> {
        let (place, table) = self.table_of(key)?;
        read_table(&self.dotted(key), place, table, self.report, read)
    }

    /// A list of tables (`[[folder]]`), at least one, each with its place; `None` when the key is absent.
    pub(super) fn sections<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Keys<'_>) -> Option<T>,
    ) -> Option<Vec<(Place, T)>> {
        self.asked.push(key);
        let node = self.table.get(key)?;
        let Value::List(list) = &node.value else {
            self.report_value(key, Mistake::of_type(node, "a list of tables"));
            return None;
        };
        if list.is_empty() {
            self.report_value(key, Mistake::at(node, format!("no {key} at all")));
        }
        let mut found = Vec::new();
        for item in list {
            let Value::Table(table) = &item.value else {
                self.report_value(key, Mistake::of_type(item, "a table"));
                continue;
            };
            let value = read_table(key, &item.place, table, self.report, &mut read);
            found.extend(value.map(|value| (item.place.clone(), value)));
        }
        Some(found)
    }

    /// A mistake that shows only when values are seen together.
    pub(super) fn report_value(&mut self, key: &str, mistake: Mistake) {
        let Mistake { place, text } = mistake;
        self.report.errors.push(ConfigError::Value { place, key: self.dotted(key), text });
    }

    /// Where `key` is set, else where the table is.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.table.get(key).map_or(self.place, |node| &node.place).clone()
    }

    fn dotted(&self, key: &str) -> String {
        if self.section.is_empty() { key.to_owned() } else { format!("{}.{key}", self.section) }
    }

    fn report_unknown(self) {
        let section =
            if self.section.is_empty() { "at the top level".to_owned() } else { format!("in [{}]", self.section) };
        let unknown = self.table.iter().filter(|(key, _)| !self.asked.contains(&key.as_str()));
        self.report.errors.extend(unknown.map(|(key, node)| ConfigError::UnknownKey {
            place: node.place.clone(),
            key: key.clone(),
            section: section.clone(),
            nearest: nearest(key, &self.asked),
        }));
    }
}

impl<'a> Keys<'a> {
    fn table_of(&mut self, key: &'static str) -> Option<(&'a Place, &'a Table)> {
        self.asked.push(key);
        let node = self.table.get(key)?;
        if let Value::Table(table) = &node.value {
            return Some((&node.place, table));
        }
        self.report_value(key, Mistake::of_type(node, "a table"));
        None
    }
}

/// The known key that `key` is a slip of: at most a third of it differs.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let distance = |known: &str| strsim::damerau_levenshtein(key, known);
    let best = known.iter().min_by_key(|known| distance(known))?;
    (distance(best) <= 1 + key.chars().count() / 3).then_some(*best)
}
