//! Logs: one line of text for each event on stderr; `WUASYNC_LOG` or `RUST_LOG` choose the level.

use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

/// Starts logging; a second call does nothing. A wish that makes no sense is told, and `info` taken.
pub(super) fn start() {
    let wish = ["WUASYNC_LOG", "RUST_LOG"].into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let (filter, wrong) = match wish.map(|(name, text)| (name, filter(&text), text)) {
        None => (None, None),
        Some((_, Some(filter), _)) => (Some(filter), None),
        Some((name, None, text)) => (None, Some((name, text))),
    };
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).with_target(false).try_init().ok();
    if let Some((name, text)) = wrong {
        tracing::warn!("{name}={text:?} is no log level; write error, warn, info, debug or trace");
    }
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
}
