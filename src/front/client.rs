//! Who sent a request: the connection's peer, or whom trusted proxies name. Pure.

use http::HeaderMap;
use std::net::IpAddr;

/// What proxies write down: each appends whom it was asked by.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client of a request that came from `peer`: the last address in `X-Forwarded-For` that no trusted
/// proxy has. What stands before it could be written by anybody.
pub fn of(headers: &HeaderMap, peer: IpAddr, is_trusted: &dyn Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = peer.to_canonical();
    let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let named = values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for address in named {
        if !is_trusted(client) {
            break;
        }
        let Some(address) = std::str::from_utf8(address).ok().and_then(parsed) else { break };
        client = address;
    }
    client
}

/// An address as proxies write it: some add a port, or brackets.
fn parsed(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.parse().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare().or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let is_trusted = |address: IpAddr| address.is_loopback() || address.to_string().starts_with("10.0.0.");
        of(&headers, peer.parse().unwrap(), &is_trusted).to_string()
    }

    #[test]
    fn a_trusted_proxy_names_its_client_and_nobody_else_does() {
        for (peer, values, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["203.0.113.9", "198.51.100.7, 10.0.0.4"], "198.51.100.7"),
            ("127.0.0.1", &["10.0.0.3,10.0.0.4"], "10.0.0.3"),
            ("::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("::ffff:127.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["198.51.100.7:80"], "198.51.100.7"),
            ("127.0.0.1", &["198.51.100.7, nonsense"], "127.0.0.1"),
            ("127.0.0.1", &[""], "127.0.0.1"),
        ] {
            assert_eq!(client(peer, values), expected, "{peer} {values:?}");
        }
    }
}
