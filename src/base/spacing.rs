//! Keeps costly steps apart, so that what happens in between is done together. Pure.

use std::time::{Duration, Instant};

/// The first step is taken at once; each later one at the earliest an interval after the last.
#[derive(Debug, Clone)]
pub struct Spacing {
    interval: Duration,
    next: Option<Instant>,
}

impl Spacing {
    /// Steps at least `interval` apart.
    pub fn new(interval: Duration) -> Self {
        Self { interval, next: None }
    }

    /// How long the next step has to wait.
    pub fn wait(&self, now: Instant) -> Duration {
        self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// A step was taken.
    pub fn on_step(&mut self, now: Instant) {
        self.next = Some(now + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_taken_at_once_and_the_next_after_the_interval() {
        let (mut spacing, now) = (Spacing::new(Duration::from_millis(100)), Instant::now());
        assert_eq!(spacing.wait(now), Duration::ZERO);
        spacing.on_step(now);
        assert_eq!(spacing.wait(now + Duration::from_millis(30)), Duration::from_millis(70));
        assert_eq!(spacing.wait(now + Duration::from_millis(100)), Duration::ZERO);
        assert_eq!(spacing.wait(now + Duration::from_secs(9)), Duration::ZERO);
    }
}
