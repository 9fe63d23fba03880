//! Bars and spinners on standard error; where that is no terminal, nothing is drawn.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// Between two questions about how far things are.
pub(super) const POLL: Duration = Duration::from_secs(1);

const BYTES: &str = "{prefix} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {msg}";

/// A bar over bytes.
pub(super) fn bytes_bar(prefix: String) -> ProgressBar {
    let style = ProgressStyle::with_template(BYTES).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style).with_prefix(prefix)
}

/// Something that turns while the daemon works.
pub(super) fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
