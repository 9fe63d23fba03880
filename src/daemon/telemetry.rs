//! Logs: to systemd's journal, with fields, where it is what stderr leads to; else one line of text for each event on
//! stderr. `WUASYNC_LOG` or `RUST_LOG` choose the level, `WUASYNC_LOG_FORMAT` the form: `journal`, `text` or `json`.

mod journal;

use journal::Journal;
use std::{io, path::Path};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// What the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Journal,
    Text,
    Json,
}

/// Starts logging; a second call does nothing. A wish that makes no sense is told, and `info` taken.
pub(super) fn start() {
    let wish = ["WUASYNC_LOG", "RUST_LOG"].into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let (filter, wrong) = match wish.map(|(name, text)| (name, filter(&text), text)) {
        None => (None, None),
        Some((_, Some(filter), _)) => (Some(filter), None),
        Some((name, None, text)) => (None, Some((name, text))),
    };
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
    let variable = |name| std::env::var(name).ok();
    let wished = variable("WUASYNC_LOG_FORMAT");
    let form = form(wished.as_deref(), variable("JOURNAL_STREAM").as_deref(), stderr_stream().as_deref());
    tracing_subscriber::registry().with(writer(form.unwrap_or(Form::Text)).with_filter(filter)).try_init().ok();
    if let Some((name, text)) = wrong {
        tracing::warn!("{name}={text:?} is no log level; write error, warn, info, debug or trace");
    }
    if let (None, Some(text)) = (form, wished) {
        tracing::warn!("WUASYNC_LOG_FORMAT={text:?} is none; write journal, text or json");
    }
}

fn writer(form: Form) -> Box<dyn Layer<Registry> + Send + Sync> {
    let terminal = io::IsTerminal::is_terminal(&io::stderr());
    let text = || fmt::layer().with_writer(io::stderr).with_ansi(terminal).with_target(false).boxed();
    match form {
        Form::Text => text(),
        Form::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).with_target(false).boxed(),
        // A journal that is not there is no reason to say nothing.
        Form::Journal => Journal::connect(Path::new(journal::SOCKET)).map_or_else(|_| text(), Layer::boxed),
    }
}

/// What was wished, else the journal where stderr leads to it; `None` is a wish that makes no sense.
fn form(wish: Option<&str>, journal: Option<&str>, stderr: Option<&str>) -> Option<Form> {
    match wish {
        Some("journal") => Some(Form::Journal),
        Some("text") => Some(Form::Text),
        Some("json") => Some(Form::Json),
        Some(_) => None,
        None if journal.is_some() && journal == stderr => Some(Form::Journal),
        None => Some(Form::Text),
    }
}

/// Device and inode of stderr, as `JOURNAL_STREAM` has those of the journal (systemd.exec(5)).
fn stderr_stream() -> Option<String> {
    let stat = rustix::fs::fstat(io::stderr()).ok()?;
    Some(format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Levels, and levels of targets: a lone word that is no level would silence everything else.
fn filter(text: &str) -> Option<EnvFilter> {
    let makes_sense = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    if !text.split(',').filter(|part| !part.trim().is_empty()).all(makes_sense) || text.trim().is_empty() {
        return None;
    }
    EnvFilter::try_new(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_levels_and_levels_of_targets_make_sense() {
        for right in ["debug", "WARN", "info,wuasync=trace", "off"] {
            assert!(filter(right).is_some(), "{right}");
        }
        for wrong in ["", "verbose", "info,loud", "wuasync=loud"] {
            assert!(filter(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_journal_is_taken_where_stderr_leads_to_it() {
        for (wish, journal, stderr, expected) in [
            (None, Some("8:1"), Some("8:1"), Some(Form::Journal)),
            (None, Some("8:1"), Some("8:2"), Some(Form::Text)),
            (None, None, None, Some(Form::Text)),
            (Some("json"), Some("8:1"), Some("8:1"), Some(Form::Json)),
            (Some("text"), Some("8:1"), Some("8:1"), Some(Form::Text)),
            (Some("journal"), None, None, Some(Form::Journal)),
            (Some("xml"), None, None, None),
        ] {
            assert_eq!(form(wish, journal, stderr), expected);
        }
    }
}
