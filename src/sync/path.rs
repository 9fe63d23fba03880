//! How large packets to a peer may be, as this machine's route to it says.
//!
//! TCP takes what a path lets through; QUIC begins with 1,200 bytes and has to search (RFC 8899). A search is
//! bounded here by the link that packets leave by, so that no probe is made that could not leave at all.

use rustix::net::sockopt;
use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

/// Where nobody knows better: a frame of Ethernet, with room for a tunnel's head. Also quinn's own bound.
pub const ORDINARY_PAYLOAD_BYTES: u16 = 1452;
/// quinn hands up to ten packets to one system call, which takes 65,507 bytes (RFC 768 within RFC 791).
pub(super) const LARGEST_PAYLOAD_BYTES: u16 = 65_507 / 10;

/// What fits into a frame of Ethernet.
const FRAME_PAYLOAD_BYTES: u16 = 1_472;

/// The most bytes of UDP payload that a node takes. A line with a ceiling is a thin one: there a few of the largest
/// packets are all that may be under way, and one that is lost costs as much as many.
pub(super) const fn taken_payload(has_ceiling: bool) -> u16 {
    if has_ceiling { FRAME_PAYLOAD_BYTES } else { LARGEST_PAYLOAD_BYTES }
}

/// Heads of IP without options (RFC 791, RFC 8200) and of UDP (RFC 768).
const HEADS_IPV4_BYTES: u32 = 20 + 8;
const HEADS_IPV6_BYTES: u32 = 40 + 8;

/// The most bytes of UDP payload that are worth a try on the way to `peer`. Sends nothing.
pub(super) fn largest_payload(peer: SocketAddr) -> u16 {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    mtu(peer).map_or(ORDINARY_PAYLOAD_BYTES, |mtu| within(peer.ip(), mtu))
}

fn within(peer: IpAddr, mtu: u32) -> u16 {
    let heads = if peer.is_ipv4() { HEADS_IPV4_BYTES } else { HEADS_IPV6_BYTES };
    let payload = u16::try_from(mtu.saturating_sub(heads)).unwrap_or(u16::MAX);
    payload.clamp(ORDINARY_PAYLOAD_BYTES, LARGEST_PAYLOAD_BYTES)
}

/// The kernel's answer is of the route, and of what routers told since.
fn mtu(peer: SocketAddr) -> io::Result<u32> {
    let any: IpAddr = if peer.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(peer)?;
    Ok(if peer.is_ipv4() { sockopt::ip_mtu(&socket)? } else { sockopt::ipv6_mtu(&socket)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_as_large_as_the_link_lets_through_and_one_call_takes_ten() {
        let [v4, v6]: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        assert_eq!((within(v4, 1_500), within(v6, 1_500)), (1_472, 1_452));
        assert_eq!((within(v4, 1_280), within(v6, 0)), (ORDINARY_PAYLOAD_BYTES, ORDINARY_PAYLOAD_BYTES));
        assert_eq!((within(v4, 4_000), within(v6, 9_000)), (3_972, LARGEST_PAYLOAD_BYTES));
        assert!(usize::from(LARGEST_PAYLOAD_BYTES) * 10 <= 65_507);
    }

    #[test]
    fn below_a_ceiling_packets_stay_small() {
        assert_eq!((taken_payload(true), taken_payload(false)), (1_472, LARGEST_PAYLOAD_BYTES));
    }

    #[test]
    fn the_loopback_takes_the_largest_also_where_ipv4_is_spoken_in_ipv6s_words() {
        for peer in ["127.0.0.1:9", "[::ffff:127.0.0.1]:9"] {
            assert_eq!(largest_payload(peer.parse().unwrap()), LARGEST_PAYLOAD_BYTES);
        }
        assert_eq!(largest_payload("[fe80::1]:0".parse().unwrap()), ORDINARY_PAYLOAD_BYTES, "no way, no opinion");
    }
}
