//! Settings that a reload changes while the daemon runs: what is mirrored, and when.
//!
//! Order of events: the files are read again as a whole; a mistake in any of them leaves everything as it is; what
//! can change changes at once, and whatever else differs is named in the log.

use super::{
    config::{Bandwidth, Config, ConfigErrors, Mirror, differences},
    node::Node,
};
use crate::repository::Alarm;

/// Reads the configuration again, from where it came at the start.
pub type ReadConfig = Box<dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync>;

/// What a reload changes at once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Live {
    /// `[mirror]`.
    pub(super) mirror: Mirror,
    /// `[bandwidth]`.
    pub(super) bandwidth: Bandwidth,
}

impl Live {
    pub(super) fn of(config: &Config) -> Self {
        Self { mirror: config.mirror.clone(), bandwidth: config.bandwidth.clone() }
    }
}

impl Node {
    /// Reads the settings again. Blocks for a few small files.
    pub(super) fn read_settings_again(&self, read: &ReadConfig) {
        let attention = &self.repository.attention;
        let config = match read() {
            Ok(config) => config,
            Err(errors) => {
                let what = format!("the settings stay as they were: {errors}");
                return attention.raise(Alarm::ConfigurationRefused, what, "correct the file and reload again");
            }
        };
        attention.clear(&Alarm::ConfigurationRefused);
        let live = Live::of(&config);
        let Live { mirror, bandwidth } = live.clone();
        let mirror = Mirror { max_size: self.config.mirror.max_size, ..mirror };
        let later = differences(&Config { mirror, bandwidth, ..self.config.clone() }, &config);
        if !later.is_empty() {
            tracing::warn!(keys = later.join(", "), "these settings take effect at the next start");
        }
        self.shared.limit(live.bandwidth.limit.map(|limit| limit.bytes_per_second()));
        self.live.send_if_modified(|known| {
            let changes = *known != live;
            *known = live;
            changes
        });
        tracing::info!("the configuration was read again");
    }
}
