//! Whether an origin is too slow to be waited for. Pure.
//!
//! Only time spent waiting for it counts: a slow disk here is no fault of the origin's.

use super::limits::Limits;
use std::time::Duration;

/// The rate of one body.
#[derive(Debug)]
pub(super) struct Trickle {
    window: Duration,
    least: u64,
    waited: Duration,
    bytes: u64,
}

impl Trickle {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { window: limits.slow_after, least: limits.slow_bytes, waited: Duration::ZERO, bytes: 0 }
    }

    /// After `waited`, `bytes` came: whether that is enough.
    pub(super) fn on_bytes(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < self.window {
            return true;
        }
        let enough = self.bytes >= self.least;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_the_least_within_a_window_is_too_slow_and_each_window_counts_by_itself() {
        let limits = Limits { slow_after: Duration::from_secs(60), slow_bytes: 1_000, ..Limits::default() };
        let second = Duration::from_secs(1);
        let mut trickle = Trickle::new(&limits);
        assert!((0..59).all(|_| trickle.on_bytes(second, 1)));
        assert!(!trickle.on_bytes(second, 1), "60 bytes in 60 seconds");
        let mut trickle = Trickle::new(&limits);
        assert!((0..600).all(|_| trickle.on_bytes(second, 17)), "1020 bytes in 60 seconds");
        assert!(trickle.on_bytes(second * 30, 1_000_000) && trickle.on_bytes(second * 30, 0));
        assert!(!trickle.on_bytes(second * 60, 999), "what came before does not count");
    }
}
