//! WAPT's ini files, as Python's `configparser` reads them.
//!
//! Lenient, as WAPT is: what is not understood is passed over, and of a key that stands twice the last one counts.
//! Comments are whole lines; a line that is indented further than its key goes on with that key's value. Every
//! entry knows its lines, so that whoever writes a file can leave the others as they are.

use std::ops::Range;

/// What one file says, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ini {
    entries: Vec<Entry>,
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Without brackets; case counts.
    pub section: String,
    /// In small letters: case does not count.
    pub key: String,
    /// Trimmed; the lines of a value of several lines are parted by newlines.
    pub value: String,
    /// The lines that it stands on, the first of the file being 0.
    pub lines: Range<usize>,
}

impl Ini {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Self {
        let mut reading = Reading::default();
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            reading.on_line(at, line);
        }
        Self { entries: reading.entries }
    }

    /// Every entry, in the file's order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What counts for `key` (in small letters) in `section`; empty and `None` are unset.
    pub fn value(&self, section: &str, key: &str) -> Option<&str> {
        let found = self.entries.iter().rfind(|entry| entry.section == section && entry.key == key)?;
        let is_set = !found.value.is_empty() && !found.value.eq_ignore_ascii_case("none");
        is_set.then_some(&found.value)
    }

    /// A value that says yes or no, in one of Python's words for it.
    pub fn flag(&self, section: &str, key: &str) -> Option<bool> {
        match self.value(section, key)?.to_ascii_lowercase().as_str() {
            "1" | "yes" | "true" | "on" => Some(true),
            "0" | "no" | "false" | "off" => Some(false),
            _ => None,
        }
    }

    /// The parts of a value between commas, without blanks around them and without empty ones.
    pub fn list(&self, section: &str, key: &str) -> Option<Vec<&str>> {
        let parts = self.value(section, key)?.split([',', '\n']).map(str::trim);
        Some(parts.filter(|part| !part.is_empty()).collect())
    }
}

/// Where reading stands.
#[derive(Default)]
struct Reading {
    entries: Vec<Entry>,
    /// `None` before the first section.
    section: Option<String>,
    /// How far the key of the last entry is indented, while its value may go on.
    open: Option<usize>,
}

impl Reading {
    fn on_line(&mut self, at: usize, line: &str) {
        let text = line.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            return;
        }
        let indent = line.len() - line.trim_start().len();
        if self.open.is_some_and(|of_key| indent > of_key) {
            return self.go_on(at, text);
        }
        if let Some(section) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            (self.section, self.open) = (Some(section.0.trim().to_owned()), None);
            return;
        }
        let (Some(section), Some((key, value))) = (&self.section, text.split_once(['=', ':'])) else { return };
        let key = key.trim().to_ascii_lowercase();
        if !key.is_empty() {
            self.open = Some(indent);
            let (section, value) = (section.clone(), value.trim().to_owned());
            self.entries.push(Entry { section, key, value, lines: at..at + 1 });
        }
    }

    fn go_on(&mut self, at: usize, text: &str) {
        let Some(entry) = self.entries.last_mut() else { return };
        if !entry.value.is_empty() {
            entry.value.push('\n');
        }
        entry.value.push_str(text);
        entry.lines.end = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_and_values_are_read_as_python_reads_them() {
        let text = "\u{feff}early = 1\n[ a ] ; x\nKey = v = w\n key2:\n# no\n ;no\n[b]\nkey=other\n[a]\nkey : last\r\n[bad\nx\n= y\n";
        let ini = Ini::parse(text);
        assert_eq!(ini.value("a", "key"), Some("last"));
        assert_eq!(ini.value("b", "key"), Some("other"));
        assert_eq!((ini.value("A", "key"), ini.value("a", "early"), ini.value("", "early")), (None, None, None));
        let places: Vec<_> = ini.entries().iter().map(|entry| (entry.key.as_str(), entry.lines.clone())).collect();
        assert_eq!(places, [("key", 2..4), ("key", 7..8), ("key", 9..10)]);
        assert_eq!(ini.entries()[0].value, "v = w\nkey2:", "a line that is indented goes on with the value");
    }

    #[test]
    fn a_value_may_take_several_lines_and_none_is_unset() {
        let ini =
            Ini::parse("[a]\nkbs = KB1, KB2,\n    KB3\n\n    # not this\n    KB4\nempty =\nnone = none\nlist = , ,\n");
        assert_eq!(ini.list("a", "kbs").unwrap(), ["KB1", "KB2", "KB3", "KB4"]);
        assert_eq!(ini.entries()[0].lines, 1..6);
        assert_eq!((ini.value("a", "empty"), ini.value("a", "none"), ini.list("a", "no")), (None, None, None));
        assert_eq!(ini.list("a", "list").unwrap(), Vec::<&str>::new());
    }

    #[test]
    fn yes_and_no_have_pythons_words() {
        let ini = Ini::parse("[a]\na=True\nb=ON\nc=0\nd=no\ne=maybe\n");
        let flags: Vec<_> = ["a", "b", "c", "d", "e", "f"].iter().map(|key| ini.flag("a", key)).collect();
        assert_eq!(flags, [Some(true), Some(true), Some(false), Some(false), None, None]);
    }
}
