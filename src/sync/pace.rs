//! How often something is told: at once after a pause, else not before its time. Pure.

use std::time::{Duration, Instant};

/// One thing that is told at most once in a while, and never forgotten.
pub(super) struct Pace {
    every: Duration,
    free_at: Instant,
    waiting: bool,
}

impl Pace {
    /// Nothing was told yet, and nothing waits.
    pub(super) fn new(every: Duration, now: Instant) -> Self {
        Self { every, free_at: now, waiting: false }
    }

    /// There is something to tell.
    pub(super) fn on_event(&mut self) {
        self.waiting = true;
    }

    /// When it may be told; `None` where nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.then_some(self.free_at)
    }

    /// It was told.
    pub(super) fn on_told(&mut self, now: Instant) {
        self.waiting = false;
        self.free_at = now + self.every;
    }
}

/// Sleeps until then; for ever where there is no such moment.
pub(super) async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_told_at_once_and_the_next_ones_together_later() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_millis(100), start);
        assert_eq!(pace.due(), None);
        pace.on_event();
        assert_eq!(pace.due(), Some(start));
        pace.on_told(start);
        assert_eq!(pace.due(), None);
        pace.on_event();
        pace.on_event();
        assert_eq!(pace.due(), Some(start + Duration::from_millis(100)));
    }
}
