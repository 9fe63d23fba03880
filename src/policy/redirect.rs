//! Whether a host that asks here is sent to another repository with 302. Pure.
//!
//! Only where the host loses nothing by it: the other one has the file, was heard of and probed a moment ago, and is
//! reached as safely as this one. A host that was sent stays where it is sent: the address is marked, and whoever is
//! asked with the mark sends nobody on. A host that comes back was not served there and stays here.

use std::net::IpAddr;

/// How old what is known of a repository may be, in seconds.
pub const FRESH_SECONDS: u64 = 60;

/// What is asked for, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// Whether it is a GET: whoever asks for the head alone is answered here.
    pub is_get: bool,
    /// Whether the name says what the bytes are. The index and its sidecar never do.
    pub is_immutable: bool,
    /// Whether somebody sent the host here.
    pub is_marked: bool,
    /// Whether the host asks over TLS.
    pub is_encrypted: bool,
    /// Whether it was sent away with this question a short while ago.
    pub was_sent: bool,
    /// Who asks.
    pub client: IpAddr,
}

/// The repository that is nearest to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Whether it is the one that was asked.
    pub is_own: bool,
    /// Whether it has the file.
    pub has_file: bool,
    /// Since it was heard of.
    pub silent_seconds: u64,
    /// Whether it is reached over TLS.
    pub is_encrypted: bool,
    /// Since it answered a probe from here, its certificate proven; `None` if it did not.
    pub probed_seconds: Option<u64>,
    /// Its addresses, as the probe found them.
    pub addresses: &'a [IpAddr],
}

/// Whether the host goes there.
pub fn is_sent(passage: &Passage, to: &Candidate<'_>) -> bool {
    let may_be_sent = passage.is_get && passage.is_immutable && !passage.is_marked && !passage.was_sent;
    let is_fit = !to.is_own && to.has_file && (to.is_encrypted || !passage.is_encrypted);
    let is_fresh = to.silent_seconds <= FRESH_SECONDS && to.probed_seconds.is_some_and(|age| age <= FRESH_SECONDS);
    may_be_sent && is_fit && is_fresh && !to.addresses.contains(&passage.client)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: Passage = Passage {
        is_get: true,
        is_immutable: true,
        is_marked: false,
        is_encrypted: true,
        was_sent: false,
        client: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7)),
    };

    fn there(addresses: &[IpAddr]) -> Candidate<'_> {
        Candidate {
            is_own: false,
            has_file: true,
            silent_seconds: 60,
            is_encrypted: true,
            probed_seconds: Some(60),
            addresses,
        }
    }

    #[test]
    fn a_host_is_sent_only_where_it_loses_nothing() {
        assert!(is_sent(&HERE, &there(&[])));
        assert!(is_sent(&Passage { is_encrypted: false, ..HERE }, &Candidate { is_encrypted: false, ..there(&[]) }));
        for stays in [
            Passage { is_get: false, ..HERE },
            Passage { is_immutable: false, ..HERE },
            Passage { is_marked: true, ..HERE },
            Passage { was_sent: true, ..HERE },
        ] {
            assert!(!is_sent(&stays, &there(&[])), "{stays:?}");
        }
        for unfit in [
            Candidate { is_own: true, ..there(&[]) },
            Candidate { has_file: false, ..there(&[]) },
            Candidate { silent_seconds: 61, ..there(&[]) },
            Candidate { is_encrypted: false, ..there(&[]) },
            Candidate { probed_seconds: Some(61), ..there(&[]) },
            Candidate { probed_seconds: None, ..there(&[]) },
            there(&[HERE.client]),
        ] {
            assert!(!is_sent(&HERE, &unfit), "{unfit:?}");
        }
    }

    proptest! {
        /// Nodes of any graph, each of which believes another to be nearest and is as willing to send hosts on as can be.
        #[test]
        fn nobody_is_sent_twice_whatever_repositories_believe_of_each_other(
            nearest in proptest::collection::vec(any::<prop::sample::Index>(), 1..30),
            first in any::<prop::sample::Index>(),
            asks_again in any::<bool>(),
        ) {
            let next = |at: usize| nearest[at].index(nearest.len());
            let (mut at, mut is_marked, mut hops) = (first.index(nearest.len()), false, 0);
            loop {
                let to = Candidate { is_own: next(at) == at, ..there(&[]) };
                if !is_sent(&Passage { is_marked, was_sent: asks_again, ..HERE }, &to) {
                    break;
                }
                prop_assert_ne!(next(at), at);
                (at, is_marked, hops) = (next(at), true, hops + 1);
                prop_assert!(hops <= 1);
            }
            prop_assert!(hops == 0 || !asks_again, "a host that comes back stays");
        }
    }
}
