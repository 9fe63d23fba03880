//! When to try again, and when no more. Pure.

use super::limits::Limits;
use crate::base::backoff::Backoff;
use std::time::Duration;

/// How one file's attempts have gone so far.
#[derive(Debug)]
pub(super) struct Attempts {
    backoff: Backoff,
    longest_wait: Duration,
    made: u32,
    most: u32,
    in_vain: u32,
    most_in_vain: u32,
    starts_over: u32,
    most_starts_over: u32,
}

impl Attempts {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            backoff: Backoff::new(limits.first_wait, limits.longest_wait),
            longest_wait: limits.longest_wait,
            made: 0,
            most: limits.all_tries,
            in_vain: 0,
            most_in_vain: limits.tries,
            starts_over: 0,
            most_starts_over: limits.starts_over,
        }
    }

    /// How many were made.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// The file has to be begun again from its first byte; whether that may be.
    pub(super) fn on_start_over(&mut self) -> bool {
        self.starts_over += 1;
        self.starts_over <= self.most_starts_over
    }

    /// An attempt failed that may be repeated. `is_further` if it brought bytes that count. Answers with the
    /// wait before the next one; none if there is to be none. `random` is uniform in 0..=u64::MAX.
    pub(super) fn on_failure(
        &mut self,
        is_further: bool,
        retry_after: Option<Duration>,
        random: u64,
    ) -> Option<Duration> {
        self.made += 1;
        if is_further {
            self.backoff.on_success();
            self.in_vain = 0;
        }
        self.in_vain += 1;
        let wait = self.backoff.on_failure(random).max(retry_after.unwrap_or_default());
        let goes_on = self.made < self.most && self.in_vain < self.most_in_vain && wait <= self.longest_wait;
        goes_on.then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn attempts() -> Attempts {
        Attempts::new(&Limits { tries: 3, all_tries: 10, starts_over: 2, ..Limits::default() })
    }

    #[test]
    fn attempts_in_vain_are_few_and_further_apart_each_time() {
        let mut attempts = attempts();
        assert_eq!(attempts.on_failure(false, None, u64::MAX), Some(SECOND));
        assert_eq!(attempts.on_failure(false, None, u64::MAX), Some(2 * SECOND));
        assert_eq!(attempts.on_failure(false, None, u64::MAX), None);
        assert_eq!(attempts.made(), 3);
    }

    #[test]
    fn attempts_that_bring_bytes_go_on_but_not_for_ever() {
        let mut attempts = attempts();
        assert!((0..9).all(|_| attempts.on_failure(true, None, u64::MAX) == Some(SECOND)));
        assert_eq!(attempts.on_failure(true, None, u64::MAX), None);
    }

    #[test]
    fn an_origin_that_says_when_is_asked_then_and_not_before_unless_that_is_too_long() {
        assert_eq!(attempts().on_failure(false, Some(7 * SECOND), 0), Some(7 * SECOND));
        assert_eq!(attempts().on_failure(false, Some(Duration::ZERO), 0), Some(SECOND / 2));
        assert_eq!(attempts().on_failure(false, Some(61 * SECOND), 0), None);
    }

    #[test]
    fn a_file_is_begun_again_a_few_times_only() {
        let mut attempts = attempts();
        assert_eq!([(); 3].map(|()| attempts.on_start_over()), [true, true, false]);
    }
}
