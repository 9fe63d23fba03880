//! The one file that reads the clock. Everybody else takes `now` as an argument or asks a [`Clock`].

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Where time comes from; tests hand in one that stands still.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01 UTC. May jump.
    fn unix_ms(&self) -> u64;
    /// Never goes backwards.
    fn monotonic(&self) -> Instant;

    /// Seconds since 1970-01-01 UTC. May jump.
    fn unix_seconds(&self) -> u64 {
        self.unix_ms() / 1000
    }
}

/// A clock that is handed around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// The time of a test's runtime, which jumps to the next timer while every task waits.
#[cfg(test)]
pub(crate) struct RuntimeClock;

#[cfg(test)]
impl Clock for RuntimeClock {
    fn unix_ms(&self) -> u64 {
        0
    }

    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clock_is_past_the_day_this_was_written_and_in_step_with_itself() {
        let clock = SystemClock;
        assert!(clock.unix_seconds() > 1_700_000_000);
        let (ms, seconds) = (clock.unix_ms(), clock.unix_seconds());
        assert!(seconds.abs_diff(ms / 1_000) <= 60, "milliseconds and seconds are of one time");
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before);
    }
}
