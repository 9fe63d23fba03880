//! Names to addresses: the system's answer without what may not be asked.
//!
//! The check is here, and not before connecting, so that the address that was looked at is the one that is
//! connected to.

use super::rules::{Refusal, Rules};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// What the machine knows of names, within the rules.
pub(super) struct Resolver(pub(super) Arc<Rules>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, host) = (self.0.clone(), name.as_str().to_owned());
        Box::pin(async move {
            let found = match rules.pinned(&host) {
                Some(place) => vec![place],
                None => {
                    let all = tokio::net::lookup_host((host.as_str(), 0)).await?;
                    within(&rules, &host, all.collect())?
                }
            };
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Those of a host's addresses that may be asked; all of them may be refused, and none may be there.
fn within(rules: &Rules, host: &str, all: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refusal> {
    let first: Option<IpAddr> = all.first().map(SocketAddr::ip);
    let good: Vec<_> = all.into_iter().filter(|place| rules.may_be_at(host, place.ip())).collect();
    match first {
        Some(address) if good.is_empty() => Err(Refusal::PrivateAddress { host: host.to_owned(), address }),
        _ => Ok(good),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_left_out_and_a_host_with_no_other_is_refused() {
        let places = |all: &[&str]| all.iter().map(|place| place.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let rules = Rules::default();
        let mixed = places(&["127.0.0.1:0", "13.107.4.50:0", "[fe80::1]:0"]);
        assert_eq!(within(&rules, "h", mixed).unwrap(), places(&["13.107.4.50:0"]));
        let refused = within(&rules, "h", places(&["10.0.0.1:0", "[::1]:0"]));
        let address = "10.0.0.1".parse().unwrap();
        assert_eq!(refused, Err(Refusal::PrivateAddress { host: "h".to_owned(), address }));
        assert_eq!(within(&rules, "h", vec![]), Ok(vec![]));
    }
}
