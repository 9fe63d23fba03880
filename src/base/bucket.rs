//! A budget of bytes a second that never runs ahead by more than a moment, and remembers what it is owed. Pure.
//!
//! Whoever is about to cause traffic pays for it and learns how long to wait. Whoever sees traffic takes it from
//! what was paid for that way, and the rest from the budget, without waiting: what was caused by nobody who could
//! wait (heads of packets, acknowledgements, repetitions) makes those wait who can.

use std::time::{Duration, Instant};

/// What may be made up for after a rest: timers are late by as much on a busy machine, and it is a fiftieth of the ten
/// seconds within which the budget is to be kept.
const BURST: Duration = Duration::from_millis(200);
/// What was paid for is expected within this time; afterwards it does not come any more.
const EXPECTED: Duration = Duration::from_secs(1);
/// Most of the budget that may be paid for and not seen.
const MOST_PAID: Duration = Duration::from_millis(500);

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They come here.
    In,
    /// They leave.
    Out,
}

/// The budget.
#[derive(Debug, Clone)]
pub struct Bucket {
    bytes_per_second: f64,
    /// When all that was taken so far is through.
    free_at: Instant,
    came: Paid,
    left: Paid,
}

/// What was paid for and not seen.
#[derive(Debug, Clone, Copy)]
struct Paid {
    bytes: f64,
    until: Instant,
}

impl Bucket {
    /// Nothing is owed. At least a byte a second.
    pub fn new(bytes_per_second: u64, now: Instant) -> Self {
        let nothing = Paid { bytes: 0.0, until: now };
        Self { bytes_per_second: bytes_per_second.max(1) as f64, free_at: now, came: nothing, left: nothing }
    }

    /// From `now` on it is another budget; what is owed stays owed.
    pub fn change(&mut self, bytes_per_second: u64, now: Instant) {
        let owed = self.free_at.saturating_duration_since(now).as_secs_f64() * self.bytes_per_second;
        self.bytes_per_second = bytes_per_second.max(1) as f64;
        self.free_at = now + self.time_of(owed);
    }

    /// `bytes` are about to go, and will be seen; they may after this wait.
    pub fn pay(&mut self, way: Way, bytes: u64, now: Instant) -> Duration {
        let most = self.bytes_per_second * MOST_PAID.as_secs_f64();
        let paid = self.paid(way, now);
        *paid = Paid { bytes: (paid.bytes + bytes as f64).min(most), until: now + EXPECTED };
        self.take(bytes as f64, now)
    }

    /// `bytes` have gone that nobody sees elsewhere; more may after this wait.
    pub fn spend(&mut self, bytes: u64, now: Instant) -> Duration {
        self.take(bytes as f64, now)
    }

    /// `bytes` were seen on the wire.
    pub fn see(&mut self, way: Way, bytes: u64, now: Instant) {
        let paid = self.paid(way, now);
        let covered = paid.bytes.min(bytes as f64);
        paid.bytes -= covered;
        if covered > 0.0 {
            paid.until = now + EXPECTED;
        }
        self.take(bytes as f64 - covered, now);
    }

    /// Whether everything that was taken is through.
    pub fn is_free(&self, now: Instant) -> bool {
        self.free_at <= now
    }

    fn take(&mut self, bytes: f64, now: Instant) -> Duration {
        let begin = now.checked_sub(BURST).map_or(self.free_at, |earliest| self.free_at.max(earliest));
        self.free_at = begin + self.time_of(bytes);
        begin.saturating_duration_since(now)
    }

    fn paid(&mut self, way: Way, now: Instant) -> &mut Paid {
        let paid = match way {
            Way::In => &mut self.came,
            Way::Out => &mut self.left,
        };
        if paid.until < now {
            paid.bytes = 0.0;
        }
        paid
    }

    /// At most a day: nobody owes more.
    fn time_of(&self, bytes: f64) -> Duration {
        Duration::from_secs_f64((bytes / self.bytes_per_second).clamp(0.0, 86_400.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1_000_000;

    fn bucket() -> (Bucket, Instant) {
        let now = Instant::now() + Duration::from_secs(1_000);
        (Bucket::new(RATE, now), now)
    }

    /// Who pays for pieces of `bytes` and waits as he is told; what he moves within `time`.
    fn moved(
        bucket: &mut Bucket,
        bytes: u64,
        begin: Instant,
        time: Duration,
        mut on_piece: impl FnMut(&mut Bucket, Instant),
    ) -> u64 {
        let (mut now, mut moved) = (begin, 0);
        loop {
            now += bucket.pay(Way::Out, bytes, now);
            if now >= begin + time {
                return moved;
            }
            bucket.see(Way::Out, bytes, now);
            on_piece(bucket, now);
            moved += bytes;
        }
    }

    #[test]
    fn whoever_waits_as_told_moves_the_budget_and_a_burst_at_most() {
        for bytes in [1, 1_200, 65_536, 500_000] {
            let (mut bucket, now) = bucket();
            let begin = now + Duration::from_secs(60);
            let moved = moved(&mut bucket, bytes, begin, Duration::from_secs(10), |_, _| {});
            let (least, most) = (10 * RATE - bytes, 10 * RATE + RATE / 5 + bytes);
            assert!((least..=most).contains(&moved), "{bytes}: {moved}");
        }
    }

    #[test]
    fn what_nobody_paid_for_is_taken_from_those_who_can_wait() {
        let (mut bucket, now) = bucket();
        // Three bytes in a hundred are heads, and each piece is acknowledged.
        let overhead = |bucket: &mut Bucket, now| {
            bucket.see(Way::Out, 300, now);
            bucket.see(Way::In, 200, now);
        };
        let moved = moved(&mut bucket, 10_000, now, Duration::from_secs(10), overhead);
        let wire = moved + moved / 10_000 * 500;
        assert!((9_900_000..=10_100_000).contains(&wire), "{wire}");
    }

    #[test]
    fn what_comes_before_anybody_could_wait_is_made_up_for() {
        let (mut bucket, now) = bucket();
        bucket.see(Way::In, RATE / 2, now);
        assert!(!bucket.is_free(now));
        let wait = bucket.pay(Way::In, 10_000, now);
        assert!((450..=500).contains(&wait.as_millis()), "{wait:?}");
    }

    #[test]
    fn what_was_paid_for_and_did_not_come_is_no_leave_for_later() {
        let (mut bucket, mut now) = bucket();
        for _ in 0..1_000 {
            bucket.pay(Way::In, 10_000, now);
        }
        now += Duration::from_secs(20);
        bucket.see(Way::In, 10_000, now);
        assert!(bucket.pay(Way::In, 1, now).is_zero());
        let (mut bucket, now) = self::bucket();
        (0..1_000).for_each(|_| _ = bucket.pay(Way::In, 10_000, now));
        let before = bucket.pay(Way::Out, 0, now);
        bucket.see(Way::In, 600_000, now);
        let more = bucket.pay(Way::Out, 0, now) - before;
        assert_eq!(more.as_millis(), 100, "half a second's worth at most waits to be seen");
    }

    #[test]
    fn another_budget_counts_from_its_moment_on_and_what_is_owed_stays() {
        let (mut bucket, now) = bucket();
        bucket.see(Way::In, RATE, now);
        bucket.change(RATE * 2, now);
        assert_eq!(bucket.pay(Way::Out, 1, now).as_millis(), 500);
        bucket.change(1, now);
        assert!(bucket.pay(Way::Out, u64::MAX, now) <= Duration::from_secs(86_400 * 2));
    }
}
