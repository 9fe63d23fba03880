//! How much may be fetched because of misses: by each client, and by all together, in the last 24 hours. Pure.

use super::flight::Client;
use std::{collections::BTreeMap, time::Duration};

/// The last day is kept by hours.
const HOURS: u64 = 24;
const HOUR: u64 = 3_600;
/// Clients that are remembered; beyond, the one that asked for least makes room.
const MAX_CLIENTS: usize = 65_536;

/// What may be fetched in 24 hours, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Because of one client.
    pub per_client: u64,
    /// Because of all clients.
    pub all: u64,
}

/// Bytes by the hour in which they were asked for.
#[derive(Debug, Default)]
struct Day(BTreeMap<u64, u64>);

impl Day {
    fn forget(&mut self, hour: u64) {
        // A clock that was set back leaves hours of the future: they go too.
        self.0.retain(|begun, _| *begun <= hour && begun + HOURS > hour);
    }

    fn bytes(&self) -> u64 {
        self.0.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    fn charge(&mut self, hour: u64, bytes: u64) {
        let spent = self.0.entry(hour).or_default();
        *spent = spent.saturating_add(bytes);
    }

    /// From `now` until the oldest bytes count no longer.
    fn until_less(&self, now: u64) -> Duration {
        let oldest = self.0.keys().next().copied().unwrap_or_default();
        Duration::from_secs(((oldest + HOURS) * HOUR).saturating_sub(now).max(1))
    }
}

/// What was fetched because of whom. Times are seconds since 1970 UTC.
#[derive(Debug)]
pub(super) struct Quota {
    limits: QuotaLimits,
    clients: BTreeMap<Client, Day>,
    all: Day,
}

impl Quota {
    pub(super) fn new(limits: QuotaLimits) -> Self {
        Self { limits, clients: BTreeMap::new(), all: Day::default() }
    }

    /// Whether `client` may make another file be fetched; else when to ask again. What the repository itself
    /// wants is not counted.
    pub(super) fn admit(&mut self, client: &Client, now: u64) -> Result<(), Duration> {
        if *client == Client::Background {
            return Ok(());
        }
        let hour = now / HOUR;
        self.all.forget(hour);
        if self.all.bytes() >= self.limits.all {
            return Err(self.all.until_less(now));
        }
        // A member asks for many hosts, and holds each to its share.
        let Some(day) = self.clients.get_mut(client) else { return Ok(()) };
        day.forget(hour);
        if day.bytes() >= self.limits.per_client { Err(day.until_less(now)) } else { Ok(()) }
    }

    /// A file of `bytes` is fetched because of `client`.
    pub(super) fn charge(&mut self, client: &Client, bytes: u64, now: u64) {
        if *client == Client::Background {
            return;
        }
        let hour = now / HOUR;
        self.all.forget(hour);
        self.all.charge(hour, bytes);
        if matches!(client, Client::Member(_)) {
            return;
        }
        if !self.clients.contains_key(client) && self.clients.len() >= MAX_CLIENTS {
            self.clients.retain(|_, day| {
                day.forget(hour);
                !day.0.is_empty()
            });
            let least = self.clients.iter().min_by_key(|(_, day)| day.bytes()).map(|(client, _)| client.clone());
            if let Some(least) = least.filter(|_| self.clients.len() >= MAX_CLIENTS) {
                self.clients.remove(&least);
            }
        }
        let day = self.clients.entry(client.clone()).or_default();
        day.forget(hour);
        day.charge(hour, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000 * HOUR + 600;

    fn host(n: u32) -> Client {
        Client::Host(std::net::Ipv4Addr::from_bits(n).into())
    }

    fn quota() -> Quota {
        Quota::new(QuotaLimits { per_client: 100, all: 250 })
    }

    #[test]
    fn who_has_had_its_share_of_the_last_day_waits_until_the_oldest_of_it_is_a_day_old() {
        let mut quota = quota();
        quota.charge(&host(1), 60, NOW);
        assert_eq!(quota.admit(&host(1), NOW), Ok(()));
        quota.charge(&host(1), 60, NOW + HOUR);
        let wait = quota.admit(&host(1), NOW + 2 * HOUR).unwrap_err();
        assert_eq!(wait, Duration::from_secs(22 * HOUR - 600));
        assert_eq!(quota.admit(&host(2), NOW + 2 * HOUR), Ok(()));
        assert_eq!(quota.admit(&host(1), NOW + 2 * HOUR + wait.as_secs()), Ok(()));
    }

    #[test]
    fn all_together_have_a_limit_too_and_the_repository_itself_has_none() {
        let mut quota = quota();
        (1..4).for_each(|n| quota.charge(&host(n), 90, NOW));
        assert!(quota.admit(&host(9), NOW).is_err());
        quota.charge(&Client::Background, u64::MAX, NOW);
        assert_eq!(quota.admit(&Client::Background, NOW), Ok(()));
        assert_eq!(quota.admit(&host(9), NOW + 24 * HOUR), Ok(()));
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let mut quota = quota();
        quota.charge(&host(1), 300, NOW + 1_000 * HOUR);
        assert_eq!(quota.admit(&host(1), NOW), Ok(()));
    }

    #[test]
    fn many_clients_cost_bounded_memory_and_the_greedy_are_remembered() {
        let mut quota = Quota::new(QuotaLimits { per_client: 100, all: u64::MAX });
        quota.charge(&host(0), 100, NOW);
        (1..MAX_CLIENTS as u32 + 10).for_each(|n| quota.charge(&host(n), 1, NOW));
        assert_eq!(quota.clients.len(), MAX_CLIENTS);
        assert!(quota.admit(&host(0), NOW).is_err());
    }
}
