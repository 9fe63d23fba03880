//! `[limits]`: what is never exceeded.

use super::{keys::Keys, read, show};
use serde::Serialize;

/// Bounds on what the daemon takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limits {
    /// Bytes that stay free on every disk: what would go below is refused early.
    #[serde(serialize_with = "show::size")]
    pub disk_reserve: u64,
    /// Fetches in progress at one time.
    pub max_flights: u32,
    /// Bytes that one client may cause to be fetched within 24 hours.
    #[serde(serialize_with = "show::size")]
    pub miss_per_client_per_day: u64,
    /// Bytes that all clients together may cause to be fetched within 24 hours.
    #[serde(serialize_with = "show::size")]
    pub misses_per_day: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { disk_reserve: 5 << 30, max_flights: 64, miss_per_client_per_day: 50 << 30, misses_per_day: 500 << 30 }
    }
}

impl Limits {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let default = Self::default();
        let per_client = default.miss_per_client_per_day;
        Self {
            disk_reserve: keys.value("disk_reserve", read::size, default.disk_reserve),
            max_flights: keys.value("max_flights", read::count(1..=65_536), default.max_flights),
            miss_per_client_per_day: keys.value("miss_per_client_per_day", read::size, per_client),
            misses_per_day: keys.value("misses_per_day", read::size, default.misses_per_day),
        }
    }
}
