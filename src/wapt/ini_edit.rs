//! Changes in WAPT's ini files: one value, and every other byte of the file stays.

use super::ini::{Entry, Ini};

/// A change that was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// No line of such a file can hold it.
    #[error("{0:?} can't stand on one line of an ini file")]
    Line(String),
    /// A line that belongs nowhere would become part of a value.
    #[error("a line of section [{0}] is indented and belongs to no key: put it right first")]
    Stray(String),
}

/// The file with `key` (in small letters) of `section` set to `value`; `None` takes it out. Comments, other keys,
/// their order and the ends of lines stay. Of a key that stands there several times the one that counts is changed,
/// and all are taken out.
pub fn with_value(text: &str, section: &str, key: &str, value: Option<&str>) -> Result<String, EditError> {
    for part in [section, key, value.unwrap_or_default()] {
        if part.contains(char::is_control) || part.trim() != part {
            return Err(EditError::Line(part.chars().take(80).collect()));
        }
    }
    let ini = Ini::parse(text);
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let places: Vec<_> = ini.entries().iter().filter(|entry| entry.section == section && entry.key == key).collect();
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    match (value, places.last()) {
        (None, _) => places.iter().for_each(|entry| take_out(&mut lines[entry.lines.clone()])),
        (Some(value), Some(entry)) => {
            let first = &lines[entry.lines.start];
            let head = first.find(['=', ':']).map_or("", |at| &first[..=at]);
            let line = format!("{head} {value}{end}");
            take_out(&mut lines[entry.lines.clone()]);
            lines[entry.lines.start] = line;
        }
        (Some(value), None) => add(&mut lines, &ini, section, &format!("{key} = {value}{end}"), end),
    }
    let changed = lines.concat();
    let after = Ini::parse(&changed);
    let is_other = |entry: &&Entry| (entry.section.as_str(), entry.key.as_str()) != (section, key);
    let others = |ini: &'_ Ini| -> Vec<_> {
        let others = ini.entries().iter().filter(is_other);
        others.map(|entry| (entry.section.clone(), entry.key.clone(), entry.value.clone())).collect()
    };
    let counts = after.entries().iter().rfind(|entry| !is_other(entry)).map(|entry| entry.value.as_str());
    match counts == value && others(&after) == others(&ini) {
        true => Ok(changed),
        false => Err(EditError::Stray(section.to_owned())),
    }
}

/// A value may take several lines, with comments between them, which stay.
fn take_out(lines: &mut [String]) {
    let is_comment = |line: &String| line.trim_start().starts_with(['#', ';']);
    lines.iter_mut().filter(|line| !is_comment(line)).for_each(String::clear);
}

/// At the end of its section, after the last thing that the section says.
fn add(lines: &mut Vec<String>, ini: &Ini, section: &str, line: &str, end: &str) {
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
        last.push_str(end);
    }
    let last_entry = ini.entries().iter().rfind(|entry| entry.section == section).map(|entry| entry.lines.end);
    match last_entry.or_else(|| header(lines, section)) {
        Some(at) => lines.insert(at, line.to_owned()),
        None => {
            let gap = if lines.is_empty() { "" } else { end };
            lines.push(format!("{gap}[{section}]{end}{line}"));
        }
    }
}

/// The line after the header of a section that says nothing: one that is not indented can't be part of a value.
fn header(lines: &[String], section: &str) -> Option<usize> {
    let name = |line: &str| Some(line.strip_prefix('[')?.split_once(']')?.0.trim().to_owned());
    lines
        .iter()
        .rposition(|line| name(line.trim_start_matches('\u{feff}')).as_deref() == Some(section))
        .map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "; agent\n[global]\nrepo_url=https://srv/wapt\n\n[waptwua]\n# keep\nEnabled : False\n\
        forbidden_kbs = KB1,\n    # why\n    KB2\nother=1\n\n[repo-sync]\n";

    fn set(key: &str, value: Option<&str>) -> String {
        with_value(FILE, "waptwua", key, value).unwrap()
    }

    #[test]
    fn one_value_changes_and_every_other_byte_stays() {
        assert_eq!(set("enabled", Some("True")), FILE.replace("Enabled : False", "Enabled : True"));
        assert_eq!(set("forbidden_kbs", Some("KB3")), FILE.replace("KB1,\n    # why\n    KB2\n", "KB3\n    # why\n"));
        assert_eq!(
            set("forbidden_kbs", None),
            FILE.replace("forbidden_kbs = KB1,\n    # why\n    KB2\n", "    # why\n")
        );
        assert_eq!(set("no_such", None), FILE);
    }

    #[test]
    fn a_new_key_stands_at_the_end_of_its_section_and_a_new_section_at_the_end_of_the_file() {
        assert_eq!(set("install_delay", Some("3d")), FILE.replace("other=1\n", "other=1\ninstall_delay = 3d\n"));
        let empty = with_value(FILE, "repo-sync", "a", Some("b")).unwrap();
        assert_eq!(empty, format!("{FILE}a = b\n"));
        assert_eq!(with_value("", "waptwua", "a", Some("b")).unwrap(), "[waptwua]\na = b\n");
        assert_eq!(with_value("[x]\r\ny=1", "z", "a", Some("b")).unwrap(), "[x]\r\ny=1\r\n\r\n[z]\r\na = b\r\n");
    }

    #[test]
    fn of_a_key_that_stands_there_twice_the_one_that_counts_is_changed_and_all_are_taken_out() {
        let twice = "[a]\nk = 1\nj = 2\nk = 3\n";
        assert_eq!(with_value(twice, "a", "k", Some("4")).unwrap(), "[a]\nk = 1\nj = 2\nk = 4\n");
        assert_eq!(with_value(twice, "a", "k", None).unwrap(), "[a]\nj = 2\n");
    }

    #[test]
    fn a_value_of_several_lines_is_refused() {
        for wrong in ["a\nb", "a\r", "\0", " a"] {
            assert!(with_value(FILE, "waptwua", "enabled", Some(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_line_that_belongs_nowhere_becomes_no_part_of_a_value() {
        let stray = Err(EditError::Stray("a".to_owned()));
        assert_eq!(with_value("[a]\n  more\n", "a", "k", Some("1")), stray);
        assert_eq!(with_value("[a]\nj=1\n  k=2\n", "a", "k", None).unwrap(), "[a]\nj=1\n  k=2\n");
        assert_eq!(
            with_value("[a]\nj=1\n[a]\n  k=2\n more\n", "a", "k", Some("3")).unwrap(),
            "[a]\nj=1\n[a]\n  k= 3\n more\n"
        );
    }

    proptest! {
        #[test]
        fn whatever_the_file_is_a_change_changes_nothing_else_or_is_refused(
            text in "([a-c#;\\[\\]=: \\n]|\\[a\\]\\n|k=1\\n|  more\\n){0,40}", value in "[a-z]{1,5}",
        ) {
            let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
            if let Ok(changed) = with_value(&text, "a", "k", Some(&value)) {
                let set = Ini::parse(&changed);
                prop_assert_eq!(set.value("a", "k"), Some(value.as_str()).filter(|value| *value != "none"));
                // What is new is a header, the line itself, and an empty line between sections.
                prop_assert!(lines(&changed).difference(&lines(&text)).count() <= 3);
            }
            if let Ok(without) = with_value(&text, "a", "k", None) {
                prop_assert!(Ini::parse(&without).value("a", "k").is_none());
                prop_assert!(lines(&without).is_subset(&lines(&text)));
            }
        }
    }
}
