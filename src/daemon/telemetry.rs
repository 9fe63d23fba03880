//! Logs: one line of text for each event on stderr; `WUASYNC_LOG` or `RUST_LOG` choose the level.

use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging; a second call does nothing.
pub(super) fn start() {
    let filter = ["WUASYNC_LOG", "RUST_LOG"].iter().find_map(|name| EnvFilter::try_from_env(name).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).with_target(false).try_init().ok();
}
