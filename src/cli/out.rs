//! The one way to the terminal: answers to standard output, everything else to standard error.

use super::{error::CliError, exit::Exit};
use serde::Serialize;
use std::{
    error::Error,
    io::{self, IsTerminal, Write},
};

/// Where a command's words go.
#[derive(Debug, Clone)]
pub struct Out {
    json: bool,
    style: Style,
}

impl Out {
    /// For people, or with `json` for programs.
    pub fn new(json: bool) -> Self {
        Self { json, style: Style::of_terminal() }
    }

    /// Whether answers are wanted as JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// How to emphasise on standard output.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Whether a person looks at standard output.
    pub fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Writes an answer as it is; a missing newline at its end is added.
    pub fn text(&self, text: &str) -> Result<(), CliError> {
        write_line(io::stdout().lock(), text).map_err(CliError::Output)
    }

    /// Writes an answer as one line of JSON.
    pub fn json<T: Serialize>(&self, answer: &T) -> Result<(), CliError> {
        self.text(&serde_json::to_string(answer).map_err(|error| CliError::Format(error.to_string()))?)
    }

    /// An answer, as JSON or as what `for_people` makes of it.
    pub fn answer<T: Serialize>(&self, answer: &T, for_people: impl FnOnce(Style) -> String) -> Result<(), CliError> {
        if self.json { self.json(answer) } else { self.text(&for_people(self.style)) }
    }

    /// Tells people something that is not the answer; lost where standard error is closed.
    pub fn note(&self, text: &str) {
        let _ = write_line(io::stderr().lock(), text);
    }

    /// Tells programs why there is no answer.
    pub(super) fn json_error(&self, text: &str, exit: Exit) {
        self.note(&serde_json::json!({ "error": text, "exit": exit as u8 }).to_string());
    }

    /// Tells why there is no answer, with all causes.
    pub fn error(&self, error: &CliError) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        if self.json {
            return self.json_error(&text, error.exit());
        }
        match error {
            // Each line begins with its file and line, as editors know it.
            CliError::Config(_) => self.note(&text),
            _ => self.note(&format!("wuasync: {text}")),
        }
    }
}

fn write_line(mut to: impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Emphasis, for terminals that want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// None.
    Plain,
    /// With ANSI colours.
    Coloured,
}

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` is set (see no-color.org).
    fn of_terminal() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !unwanted { Self::Coloured } else { Self::Plain }
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Something to look at.
    pub fn alarm(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    /// Something of lesser weight.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// A name that comes from elsewhere, without what could steer a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_bidi_control(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Embeddings, overrides and isolates: they show a name in another order than it has.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_style_adds_nothing() {
        assert_eq!(Style::Plain.alarm("x"), "x");
        assert_eq!(Style::Coloured.bold("x"), "\x1b[1mx\x1b[0m");
    }

    #[test]
    fn foreign_names_can_not_steer_the_terminal() {
        assert_eq!(printable("a\u{202e}b\u{2066}c\u{202f}"), "a\u{fffd}b\u{fffd}c\u{202f}");
        assert_eq!(printable("a\x1b[2Jb\u{9b}c\né"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}é");
    }

    #[test]
    fn a_line_ends_once() {
        let mut written = Vec::new();
        write_line(&mut written, "a").unwrap();
        write_line(&mut written, "b\n").unwrap();
        assert_eq!(written, b"a\nb\n");
    }
}
