//! How long to wait before trying again: doubling, capped, with jitter. Pure.

use std::time::Duration;

/// Doubles from `first` to `most`; each wait is drawn from the upper half of its step, so that
/// a thousand secondaries that lost one main do not come back in one second.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// A back-off that has seen no failure.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// The wait after one more failure; `random` is uniform in 0..=u64::MAX.
    pub fn on_failure(&mut self, random: u64) -> Duration {
        let step = self.first.saturating_mul(1 << self.failures.min(30)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        let half = step / 2;
        half + half.mul_f64(random as f64 / u64::MAX as f64)
    }

    /// The next failure waits as little as the first.
    pub fn on_success(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_cap_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let waits: Vec<_> = (0..4).map(|_| backoff.on_failure(u64::MAX).as_secs_f64().round()).collect();
        assert_eq!(waits, [1.0, 2.0, 4.0, 5.0]);
        backoff.on_success();
        assert_eq!(backoff.on_failure(0), Duration::from_millis(500));
    }

    #[test]
    fn jitter_stays_in_the_upper_half_of_the_step() {
        for random in [0, 1, u64::MAX / 3, u64::MAX] {
            let wait = Backoff::new(Duration::from_secs(4), Duration::from_secs(60)).on_failure(random);
            assert!((Duration::from_secs(2)..=Duration::from_secs(4)).contains(&wait), "{wait:?}");
        }
    }
}
