//! One ceiling for everything that a node moves over its line, and the counts of what it moved.
//!
//! Content waits for its turn here ([`Throttle::turn`]); the wire is watched elsewhere and what is seen there is
//! told ([`Throttle::see`]). So a packet is never held back once it exists: acknowledgements, control frames and
//! repetitions leave at once, and content makes up for them. Without a ceiling nothing waits.

use super::{
    bucket::{Bucket, Way},
    clock::SharedClock,
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Shorter waits are left out: timers have milliseconds, and the budget remembers.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// A turn is a hundredth of a second's budget, so that many can share it, within these bounds.
const TURNS_PER_SECOND: u64 = 100;
const TURN_BYTES: (u64, u64) = (1 << 10, 64 << 10);
/// What a peer may have under way of content is half a second's budget: enough for a round trip of that
/// long, and little enough to be made up for; no less than a few packets.
const UNDER_WAY_PER_SECOND: u64 = 2;
const LEAST_UNDER_WAY_BYTES: u64 = 16 << 10;
/// As long as somebody who waits had a turn within this time, others leave the line to him ..
const AWAITED_FOR: Duration = Duration::from_millis(100);
/// .. unless they have stood back for this long.
const STAND_BACK: Duration = Duration::from_secs(1);
/// How often they look whether the line is free.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether somebody waits for content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// A host waits for it.
    Awaited,
    /// It is mirrored.
    Whenever,
}

/// A ceiling. Clones share it.
#[derive(Clone)]
pub struct Throttle(Arc<Line>);

struct Line {
    clock: SharedClock,
    is_limited: AtomicBool,
    /// Bytes a second; told to those who wait when it changes.
    limit: watch::Sender<Option<u64>>,
    state: Mutex<State>,
    came: AtomicU64,
    left: AtomicU64,
}

#[derive(Default)]
struct State {
    bucket: Option<Bucket>,
    /// When somebody who waits had a turn last.
    awaited_at: Option<Instant>,
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("limit", &*self.0.limit.borrow()).finish()
    }
}

impl Throttle {
    /// No ceiling.
    pub fn unlimited(clock: SharedClock) -> Self {
        Self(Arc::new(Line {
            clock,
            is_limited: AtomicBool::new(false),
            limit: watch::Sender::new(None),
            state: Mutex::default(),
            came: AtomicU64::new(0),
            left: AtomicU64::new(0),
        }))
    }

    /// From here on so many bytes a second, everything together; `None` is without bound.
    pub fn limit(&self, bytes_per_second: Option<u64>) {
        let now = self.0.clock.monotonic();
        let mut state = self.state();
        match (&mut state.bucket, bytes_per_second) {
            (Some(bucket), Some(limit)) => bucket.change(limit, now),
            (bucket, limit) => *bucket = limit.map(|limit| Bucket::new(limit, now)),
        }
        drop(state);
        self.0.is_limited.store(bytes_per_second.is_some(), Relaxed);
        self.0.limit.send_replace(bytes_per_second);
    }

    /// The ceiling whenever it changes, in bytes a second.
    pub fn limits(&self) -> watch::Receiver<Option<u64>> {
        self.0.limit.subscribe()
    }

    /// Most bytes that one turn is for.
    pub fn turn_bytes(&self) -> usize {
        let (least, most) = TURN_BYTES;
        let turn = self.limited().map_or(usize::MAX as u64, |limit| (limit / TURNS_PER_SECOND).clamp(least, most));
        usize::try_from(turn).unwrap_or(usize::MAX)
    }

    /// Most bytes of content that a peer may have under way, where it may have `most` without a ceiling.
    pub fn under_way_bytes(&self, most: u64) -> u64 {
        let most_of = |limit: u64| (limit / UNDER_WAY_PER_SECOND).max(LEAST_UNDER_WAY_BYTES).min(most);
        self.limited().map_or(most, most_of)
    }

    /// Waits for the turn of `bytes` of content that will be seen on the wire: before they are sent, and after
    /// they were taken, which lets the peer send as many. Paid for even if dropped while it waits.
    pub async fn turn(&self, way: Way, bytes: usize, urgency: Urgency) {
        if !self.is_limited() {
            return;
        }
        if urgency == Urgency::Whenever {
            self.stand_back().await;
        }
        let wait = self.pay(way, bytes as u64, urgency);
        self.wait(wait).await;
    }

    /// `bytes` came that nobody sees on the wire; when more may.
    pub fn came(&self, bytes: u64) -> Option<Instant> {
        self.0.came.fetch_add(bytes, Relaxed);
        if !self.is_limited() {
            return None;
        }
        let now = self.0.clock.monotonic();
        let wait = self.state().bucket.as_mut()?.spend(bytes, now);
        (wait >= SHORTEST_WAIT).then(|| now + wait)
    }

    /// `bytes` were seen on the wire.
    pub fn see(&self, way: Way, bytes: u64) {
        let counter = match way {
            Way::In => &self.0.came,
            Way::Out => &self.0.left,
        };
        counter.fetch_add(bytes, Relaxed);
        if self.is_limited() {
            let now = self.0.clock.monotonic();
            if let Some(bucket) = &mut self.state().bucket {
                bucket.see(way, bytes, now);
            }
        }
    }

    /// Bytes on the wire so far: those that came, and those that left.
    pub fn moved(&self) -> (u64, u64) {
        (self.0.came.load(Relaxed), self.0.left.load(Relaxed))
    }

    fn pay(&self, way: Way, bytes: u64, urgency: Urgency) -> Duration {
        let now = self.0.clock.monotonic();
        let mut state = self.state();
        if urgency == Urgency::Awaited {
            state.awaited_at = Some(now);
        }
        state.bucket.as_mut().map(|bucket| bucket.pay(way, bytes, now)).unwrap_or_default()
    }

    /// Lets those go first for whom somebody waits.
    async fn stand_back(&self) {
        let begun = self.0.clock.monotonic();
        loop {
            let now = self.0.clock.monotonic();
            if self.is_ours(now) || now.saturating_duration_since(begun) >= STAND_BACK {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn is_ours(&self, now: Instant) -> bool {
        let state = self.state();
        let is_awaited = state.awaited_at.is_some_and(|at| now.saturating_duration_since(at) < AWAITED_FOR);
        !is_awaited || state.bucket.as_ref().is_none_or(|bucket| bucket.is_free(now))
    }

    async fn wait(&self, wait: Duration) {
        if wait < SHORTEST_WAIT {
            return;
        }
        let mut limits = self.limits();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = limits.changed() => {}
        }
    }

    fn limited(&self) -> Option<u64> {
        *self.0.limit.borrow()
    }

    /// Whether there is a ceiling at this moment.
    pub fn is_limited(&self) -> bool {
        self.0.is_limited.load(Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;

    /// The time of the test's runtime.
    struct Virtual(tokio::time::Instant);

    impl Clock for Virtual {
        fn unix_ms(&self) -> u64 {
            0
        }

        fn monotonic(&self) -> Instant {
            (self.0 + self.0.elapsed()).into_std()
        }
    }

    const MB: u64 = 1_000_000;

    fn throttle(limit: u64) -> Throttle {
        let throttle = Throttle::unlimited(Arc::new(Virtual(tokio::time::Instant::now())));
        throttle.limit(Some(limit));
        throttle
    }

    /// Moves content for as long as it lives, and counts it.
    fn mover(throttle: &Throttle, way: Way, urgency: Urgency) -> (Arc<AtomicU64>, tokio::task::JoinHandle<()>) {
        let moved = Arc::new(AtomicU64::new(0));
        let (throttle, count) = (throttle.clone(), moved.clone());
        let task = tokio::spawn(async move {
            loop {
                let bytes = throttle.turn_bytes().min(64 << 10);
                throttle.turn(way, bytes, urgency).await;
                // A little more is on the wire than content.
                throttle.see(way, bytes as u64 * 103 / 100);
                count.fetch_add(bytes as u64, Relaxed);
                tokio::task::yield_now().await;
            }
        });
        (moved, task)
    }

    #[tokio::test(start_paused = true)]
    async fn all_ways_and_streams_together_keep_to_the_ceiling_and_use_it() {
        let throttle = throttle(5 * MB);
        let _movers: Vec<_> =
            (0..12).map(|n| mover(&throttle, if n % 2 == 0 { Way::In } else { Way::Out }, Urgency::Whenever)).collect();
        for _ in 0..3 {
            let before = throttle.moved();
            tokio::time::sleep(Duration::from_secs(10)).await;
            let after = throttle.moved();
            let moved = after.0 + after.1 - before.0 - before.1;
            assert!((48 * MB..=52 * MB).contains(&moved), "{moved}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_waits_for_comes_first_and_the_rest_does_not_stand_still() {
        let throttle = throttle(MB);
        let mirrored: Vec<_> = (0..8).map(|_| mover(&throttle, Way::In, Urgency::Whenever)).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (awaited, _task) = mover(&throttle, Way::In, Urgency::Awaited);
        let sum = || mirrored.iter().map(|(moved, _)| moved.load(Relaxed)).sum::<u64>();
        let before = sum();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (awaited, mirrored) = (awaited.load(Relaxed), sum() - before);
        assert!(awaited > 8 * MB && mirrored > MB / 4, "{awaited} {mirrored}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_ceiling_counts_at_once_for_those_who_wait_as_well() {
        let throttle = throttle(100);
        let (moved, _task) = mover(&throttle, Way::Out, Urgency::Whenever);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(moved.load(Relaxed) < 3_000);
        throttle.limit(Some(MB));
        let owed = Duration::from_secs(2);
        tokio::time::sleep(owed).await;
        let before = moved.load(Relaxed);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(moved.load(Relaxed) - before > 9 * MB);
        throttle.limit(None);
        assert_eq!((throttle.turn_bytes(), throttle.under_way_bytes(7)), (usize::MAX, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_ceiling_nothing_waits_and_all_is_counted() {
        let throttle = Throttle::unlimited(Arc::new(Virtual(tokio::time::Instant::now())));
        let begun = tokio::time::Instant::now();
        throttle.turn(Way::In, usize::MAX, Urgency::Whenever).await;
        throttle.see(Way::In, 3);
        throttle.see(Way::Out, 4);
        assert_eq!((throttle.came(5), throttle.moved()), (None, (8, 4)));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
