//! Hosts that wait until somebody approves them: for how long, and how many of one network. Pure.
//!
//! Whoever reaches a node may make hosts up, so what waits is bounded: in all, and for each network, so that a flood from
//! one of them leaves room for others. Where all of it is taken, a newcomer takes the place of the last who came from the
//! network that holds most, unless its own holds as many.

use super::HostUuid;
use crate::domain::key::NodeKey;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::IpAddr};

/// For how long a host waits, in seconds: 30 days. One that reports again afterwards waits anew.
pub const WAITS_FOR: u64 = 30 * 86_400;

/// Where a host's report came from. A stored value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReportedFrom {
    /// Nobody noted it.
    #[default]
    Unknown,
    /// An IPv4 address: its first 24 bits.
    V4([u8; 3]),
    /// An IPv6 address: its first 48 bits, what a site is given.
    V6([u8; 6]),
    /// A member that carried it, whoever it had it from.
    Member(NodeKey),
}

impl From<IpAddr> for ReportedFrom {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, ..] = address.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

impl fmt::Display for ReportedFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("an unknown network"),
            Self::V4([a, b, c]) => write!(f, "{a}.{b}.{c}.0/24"),
            Self::V6([a, b, c, d, e, g]) => {
                let bytes = [*a, *b, *c, *d, *e, *g, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                write!(f, "{}/48", std::net::Ipv6Addr::from(bytes))
            }
            Self::Member(key) => write!(f, "member {key}"),
        }
    }
}

/// How many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingLimit {
    /// In all.
    pub hosts: usize,
    /// From one network.
    pub of_one_network: usize,
    /// For how long, in seconds.
    pub seconds: u64,
}

impl Default for WaitingLimit {
    fn default() -> Self {
        Self { hosts: 1_000, of_one_network: 200, seconds: WAITS_FOR }
    }
}

/// A host that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which one.
    pub uuid: HostUuid,
    /// Where its first report came from.
    pub from: ReportedFrom,
    /// Since when it waits, in seconds since 1970 UTC.
    pub since: u64,
}

/// What becomes of a newcomer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitingPlan {
    /// It waits, and these wait no longer.
    Waits {
        /// Who.
        leaving: Vec<HostUuid>,
    },
    /// Too many wait: it is not noted.
    TooMany,
}

/// Whether one more host from `from` waits, beside those that do at `now` (seconds since 1970 UTC).
pub fn plan_waiting(waiting: &[Waiting], from: ReportedFrom, limit: WaitingLimit, now: u64) -> WaitingPlan {
    let (over, still): (Vec<_>, Vec<_>) = waiting.iter().partition(|host| is_over(host.since, limit.seconds, now));
    let mut leaving: Vec<_> = over.into_iter().map(|host| host.uuid.clone()).collect();
    let mut held: BTreeMap<ReportedFrom, usize> = BTreeMap::new();
    for host in &still {
        *held.entry(host.from).or_default() += 1;
    }
    let own = held.get(&from).copied().unwrap_or(0);
    if own >= limit.of_one_network {
        return WaitingPlan::TooMany;
    }
    if still.len() >= limit.hosts {
        let most = held.iter().max_by_key(|(_, count)| **count);
        let Some((largest, _)) = most.filter(|(_, count)| **count > own + 1) else { return WaitingPlan::TooMany };
        let of_largest = still.iter().filter(|host| host.from == *largest);
        leaving.extend(of_largest.max_by_key(|host| (host.since, &host.uuid)).map(|host| host.uuid.clone()));
    }
    WaitingPlan::Waits { leaving }
}

/// Whether a host that waits since then has waited for `seconds`.
pub fn is_over(since: u64, seconds: u64, now: u64) -> bool {
    now.saturating_sub(since) >= seconds
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: WaitingLimit = WaitingLimit { hosts: 6, of_one_network: 4, seconds: 100 };

    fn from(n: u8) -> ReportedFrom {
        ReportedFrom::V4([10, 0, n])
    }

    fn host(n: usize, of: u8, since: u64) -> Waiting {
        Waiting { uuid: HostUuid::new(&format!("h{n}")).unwrap(), from: from(of), since }
    }

    fn flood(hosts: &[(u8, u64)]) -> Vec<Waiting> {
        hosts.iter().enumerate().map(|(n, (of, since))| host(n, *of, *since)).collect()
    }

    fn waits(leaving: &[usize]) -> WaitingPlan {
        WaitingPlan::Waits { leaving: leaving.iter().map(|n| host(*n, 0, 0).uuid).collect() }
    }

    #[test]
    fn one_network_holds_its_share_and_whoever_waited_too_long_leaves() {
        let four = flood(&[(1, 10), (1, 10), (1, 10), (1, 10)]);
        assert_eq!(plan_waiting(&four[..3], from(1), LIMIT, 20), waits(&[]));
        assert_eq!(plan_waiting(&four, from(1), LIMIT, 20), WaitingPlan::TooMany);
        assert_eq!(plan_waiting(&four, from(2), LIMIT, 20), waits(&[]));
        assert_eq!(plan_waiting(&four, from(1), LIMIT, 109), WaitingPlan::TooMany);
        assert_eq!(plan_waiting(&four, from(1), LIMIT, 110), waits(&[0, 1, 2, 3]));
        assert_eq!(
            plan_waiting(&four, from(1), LIMIT, 5),
            WaitingPlan::TooMany,
            "a clock that was set back ends no wait"
        );
    }

    #[test]
    fn where_all_room_is_taken_the_last_of_the_largest_makes_place_for_a_smaller_one() {
        let full = flood(&[(1, 1), (1, 2), (1, 9), (1, 3), (2, 5), (2, 5)]);
        assert_eq!(plan_waiting(&full, from(3), LIMIT, 10), waits(&[2]));
        assert_eq!(plan_waiting(&full, from(2), LIMIT, 10), waits(&[2]));
        let even = flood(&[(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]);
        assert_eq!(plan_waiting(&even, from(2), LIMIT, 10), WaitingPlan::TooMany);
        assert_eq!(plan_waiting(&even, from(3), LIMIT, 10), waits(&[5]));
    }

    proptest! {
        #[test]
        fn a_flood_from_anywhere_leaves_every_other_network_its_room(
            comers in prop::collection::vec((0u8..4, 0u64..50), 0..200),
        ) {
            let mut waiting: Vec<Waiting> = Vec::new();
            for (n, (of, at)) in comers.iter().enumerate() {
                if let WaitingPlan::Waits { leaving } = plan_waiting(&waiting, from(*of), LIMIT, *at) {
                    waiting.retain(|host| !leaving.contains(&host.uuid));
                    waiting.push(host(n, *of, *at));
                }
                prop_assert!(waiting.len() <= LIMIT.hosts);
            }
            // Whoever comes from where nobody waits is heard.
            prop_assert_ne!(plan_waiting(&waiting, from(9), LIMIT, 50), WaitingPlan::TooMany);
        }
    }

    #[test]
    fn addresses_of_one_site_are_one_network() {
        for (address, shown) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.1", "192.0.2.0/24"),
            ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ] {
            assert_eq!(ReportedFrom::from(address.parse::<IpAddr>().unwrap()).to_string(), shown);
        }
    }
}
