//! How often something may happen, in all and per source address. Pure: time is an argument, and
//! memory is bounded whatever the sources do.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many may happen at once after a long silence; at least 1.
    pub burst: u32,
    /// How long until one more may happen.
    pub every: Duration,
}

impl Rate {
    /// Whether one more may happen, given when the burst is whole again; moves that moment on.
    fn admit(self, whole_at: &mut Instant, now: Instant) -> bool {
        let owed = whole_at.saturating_duration_since(now);
        if owed > self.every.saturating_mul(self.burst.saturating_sub(1)) {
            return false;
        }
        let Some(next) = now.checked_add(owed + self.every) else { return false };
        *whole_at = next;
        true
    }
}

/// One rate for each source address. IPv6 sources count by their /64, which is one site or host.
#[derive(Debug)]
pub struct PerSource {
    rate: Rate,
    capacity: usize,
    whole_at: BTreeMap<IpAddr, Instant>,
}

impl PerSource {
    /// Remembers at most `capacity` sources; beyond it, those that have waited longest are forgotten.
    pub fn new(rate: Rate, capacity: usize) -> Self {
        Self { rate, capacity, whole_at: BTreeMap::new() }
    }

    /// Whether one more may happen on behalf of `source`.
    pub fn admit(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = network_of(source);
        if !self.whole_at.contains_key(&source) {
            self.make_room(now);
        }
        self.rate.admit(self.whole_at.entry(source).or_insert(now), now)
    }

    fn make_room(&mut self, now: Instant) {
        if self.whole_at.len() < self.capacity {
            return;
        }
        self.whole_at.retain(|_, whole_at| *whole_at > now);
        while self.whole_at.len() >= self.capacity {
            let Some(first) = self.whole_at.iter().min_by_key(|(_, whole_at)| **whole_at).map(|(ip, _)| *ip) else {
                return;
            };
            self.whole_at.remove(&first);
        }
    }
}

fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// A rate in all and one per source; a source that is over its own does not use up the common one.
#[derive(Debug)]
pub struct SourceLimiter {
    per_source: PerSource,
    overall: Rate,
    overall_whole_at: Option<Instant>,
}

impl SourceLimiter {
    /// Both rates; `capacity` sources are remembered.
    pub fn new(overall: Rate, per_source: Rate, capacity: usize) -> Self {
        Self { per_source: PerSource::new(per_source, capacity), overall, overall_whole_at: None }
    }

    /// Whether one more may happen on behalf of `source`.
    pub fn admit(&mut self, source: IpAddr, now: Instant) -> bool {
        self.per_source.admit(source, now) && self.overall.admit(self.overall_whole_at.get_or_insert(now), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE_THEN_ONE_PER_SECOND: Rate = Rate { burst: 3, every: Duration::from_secs(1) };

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let now = Instant::now();
        let mut sources = PerSource::new(THREE_THEN_ONE_PER_SECOND, 10);
        let admitted: Vec<_> = (0..5).map(|_| sources.admit(ip(1), now)).collect();
        assert_eq!(admitted, [true, true, true, false, false]);
        assert!(sources.admit(ip(2), now), "another source has its own burst");
        let later = now + Duration::from_millis(1_001);
        assert!(sources.admit(ip(1), later));
        assert!(!sources.admit(ip(1), later));
    }

    #[test]
    fn a_long_silence_is_worth_one_burst_and_no_more() {
        let mut sources = PerSource::new(THREE_THEN_ONE_PER_SECOND, 10);
        let now = Instant::now();
        sources.admit(ip(1), now);
        let later = now + Duration::from_secs(86_400);
        assert_eq!((0..9).filter(|_| sources.admit(ip(1), later)).count(), 3);
    }

    #[test]
    fn the_table_stays_within_its_capacity_and_forgets_the_quietest_first() {
        let now = Instant::now();
        let mut sources = PerSource::new(THREE_THEN_ONE_PER_SECOND, 3);
        for _ in 0..4 {
            sources.admit(ip(1), now);
        }
        for last in 2..=200 {
            assert!(sources.admit(ip(last), now));
            assert!(sources.whole_at.len() <= 3);
        }
        assert!(!sources.admit(ip(1), now), "the busiest source is remembered");
    }

    #[test]
    fn an_ipv6_network_and_a_mapped_ipv4_address_are_one_source_each() {
        let now = Instant::now();
        let mut sources = PerSource::new(Rate { burst: 1, every: Duration::from_secs(60) }, 10);
        assert!(sources.admit("2001:db8::1".parse().unwrap(), now));
        assert!(!sources.admit("2001:db8::ffff:1".parse().unwrap(), now));
        assert!(sources.admit("2001:db8:0:1::1".parse().unwrap(), now));
        assert!(sources.admit(ip(9), now));
        assert!(!sources.admit("::ffff:192.0.2.9".parse().unwrap(), now));
    }

    #[test]
    fn one_greedy_source_does_not_use_up_what_all_share() {
        let now = Instant::now();
        let overall = Rate { burst: 4, every: Duration::from_secs(1) };
        let mut limiter = SourceLimiter::new(overall, THREE_THEN_ONE_PER_SECOND, 10);
        assert_eq!((0..99).filter(|_| limiter.admit(ip(1), now)).count(), 3);
        assert!(limiter.admit(ip(2), now));
        assert!(!limiter.admit(ip(3), now), "all four of the common burst are used");
    }
}
