//! A UDP socket that tells what goes over the wire. Holds nothing back.

use crate::base::{bucket::Way, throttle::Throttle};
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// UDP's head, and IP's without options (RFC 768, RFC 791, RFC 8200).
const UDP_BYTES: usize = 8;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;

/// What one receipt holds at most, however many packets came together: the length field of IP has 16 bits.
const JOINED_BYTES: usize = 65_535;

/// The socket.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) socket: Arc<dyn AsyncUdpSocket>,
    pub(super) throttle: Throttle,
    /// The most bytes of a packet to here.
    pub(super) taken: u16,
}

impl AsyncUdpSocket for Counted {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)?;
        let (len, each) = (transmit.contents.len(), transmit.segment_size.unwrap_or(transmit.contents.len()));
        self.throttle.see(Way::Out, on_wire(transmit.destination.ip(), len, each));
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.socket.poll_recv(cx, bufs, meta))?;
        let came = meta.iter().take(count).map(|meta| on_wire(meta.addr.ip(), meta.len, meta.stride)).sum();
        self.throttle.see(Way::In, came);
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        // quinn keeps room for so many of the largest packets, 32 times; what finds no room is cut off and lost.
        self.socket.max_receive_segments().min(segments(self.taken))
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

/// How many packets of `taken` bytes have room for all that one receipt can hold.
fn segments(taken: u16) -> usize {
    JOINED_BYTES.div_ceil(usize::from(taken.max(1)))
}

/// Bytes of datagrams that hold `each` of `len` bytes, with their heads.
fn on_wire(peer: IpAddr, len: usize, each: usize) -> u64 {
    let head = UDP_BYTES + if peer.to_canonical().is_ipv4() { IPV4_BYTES } else { IPV6_BYTES };
    (len + len.div_ceil(each.max(1)).max(1) * head) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_kernel_joins_finds_room() {
        for taken in [1_200, 1_472, 6_550, u16::MAX] {
            assert!(segments(taken) * usize::from(taken) >= JOINED_BYTES, "{taken}");
        }
        assert_eq!((segments(1_472), segments(6_550)), (45, 11));
    }

    #[test]
    fn each_datagram_counts_with_its_heads() {
        let [v4, v6, mapped] = ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"].map(|ip| ip.parse().unwrap());
        assert_eq!(on_wire(v4, 1_200, 1_200), 1_228);
        assert_eq!(on_wire(v6, 1_200, 1_200), 1_248);
        assert_eq!(on_wire(mapped, 3_000, 1_200), 3_000 + 3 * 28);
        assert_eq!((on_wire(v4, 0, 0), on_wire(v4, 5, 0)), (28, 5 + 5 * 28));
    }
}
