//! What a connection may use: windows, streams, times. One file of numbers, each with its reason.

use super::path::ORDINARY_PAYLOAD_BYTES;
use crate::base::throttle::Throttle;
use quinn::{
    AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt,
    congestion::{BbrConfig, ControllerFactory, CubicConfig, NewRenoConfig},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// A stream with more than 1,024 gaps ends its connection (GHSA-4w2j-m93h-cj5j); 1 MiB is about 720
/// packets, so that no loss pattern comes near.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Eight streams at their full window: 1 Gbit/s at a round trip of 64 ms.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Unacknowledged bytes kept for a peer: 1 Gbit/s at 32 ms; a thousand busy members cost 4 GiB at
/// the worst, which is why it is not the receive window.
const SEND_WINDOW_BYTES: u64 = 4 << 20;
/// Control, push and the range streams of one peer, with room.
const MEMBER_STREAMS: u32 = 64;

/// What somebody unknown may send before he is known: a request to join is at most 1 KiB.
const STRANGER_WINDOW_BYTES: u32 = 16 << 10;
/// The answer to a request to join: a member record and a head.
const STRANGER_SEND_WINDOW_BYTES: u64 = 128 << 10;
/// One request to join.
const STRANGER_STREAMS: u32 = 1;

/// Packets that the peer may take without acknowledging one, for at most 25 ms; QUIC's own is 1. Saves a
/// tenth of the CPU time of both ends, more than this saves no more, and a window of ten packets, as after
/// losses, is still acknowledged twice.
const UNACKNOWLEDGED_PACKETS: u32 = 4;

/// A search for the largest packet ends where the next step would be shorter: three probes on Ethernet, seven at the
/// most, each as long as what it tries.
const PACKET_STEP_BYTES: u16 = 60;

/// What may be under way at first, in packets of the largest size (RFC 9002 has ten of 1,472 bytes). quinn sends no
/// CONNECTION_CLOSE that the window has no room for, and the probes of a search take theirs.
const INITIAL_PACKETS: u64 = 10;

/// Below the 30 s after which many a middlebox forgets a silent UDP flow.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Three keep-alives lost in a row.
const IDLE_TIMEOUT_MS: u32 = 30_000;

/// How the send rate follows the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    /// Shares fairly with other traffic; slow on lossy links.
    #[default]
    Cubic,
    /// The plainest.
    NewReno,
    /// Fast on lossy links; floods clean ones.
    Bbr,
}

impl Congestion {
    /// With packets of at most `payload` bytes.
    fn factory(self, payload: u16) -> Arc<dyn ControllerFactory + Send + Sync> {
        macro_rules! of {
            ($config:ty) => {{
                let mut config = <$config>::default();
                config.initial_window(u64::from(payload.max(ORDINARY_PAYLOAD_BYTES)) * INITIAL_PACKETS);
                Arc::new(config)
            }};
        }
        match self {
            Self::Cubic => of!(CubicConfig),
            Self::NewReno => of!(NewRenoConfig),
            Self::Bbr => of!(BbrConfig),
        }
    }
}

/// For a peer that is known: the one that a client has pinned. `payload` bounds the search for the largest packet.
pub(super) fn for_member(congestion: Congestion, throttle: &Throttle, payload: u16) -> TransportConfig {
    let mut transport = common(congestion, payload);
    let Windows { receive, send } = Windows::within(throttle);
    transport.max_concurrent_bidi_streams(MEMBER_STREAMS.into()).receive_window(receive).send_window(send);
    transport
}

/// For a peer that is not known yet, or that only joins; [`grow_to_member`] lifts the limits, but for `payload`,
/// which bounds the search for the largest packet.
pub(super) fn for_stranger(congestion: Congestion, payload: u16) -> TransportConfig {
    let mut transport = common(congestion, payload);
    transport
        .max_concurrent_bidi_streams(STRANGER_STREAMS.into())
        .receive_window(STRANGER_WINDOW_BYTES.into())
        .send_window(STRANGER_SEND_WINDOW_BYTES);
    transport
}

/// For the client that asks to join: the other side opens no streams.
pub(super) fn for_joining(congestion: Congestion) -> TransportConfig {
    let mut transport = common(congestion, ORDINARY_PAYLOAD_BYTES);
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0)).receive_window(STRANGER_WINDOW_BYTES.into());
    transport
}

/// Gives a connection that began [`for_stranger`] what a member has.
pub(super) fn grow_to_member(connection: &quinn::Connection, throttle: &Throttle) {
    fit(connection, throttle);
    connection.set_max_concurrent_bi_streams(MEMBER_STREAMS.into());
}

/// Gives a member's connection the windows that its ceiling lets it have.
pub(super) fn fit(connection: &quinn::Connection, throttle: &Throttle) {
    let Windows { receive, send } = Windows::within(throttle);
    connection.set_send_window(send);
    connection.set_receive_window(receive);
}

/// What may be under way with a member, in bytes.
struct Windows {
    receive: VarInt,
    send: u64,
}

impl Windows {
    /// What is under way can't be held back any more: below a ceiling it is less.
    fn within(throttle: &Throttle) -> Self {
        let receive = throttle.under_way_bytes(CONNECTION_WINDOW_BYTES.into());
        let receive = u32::try_from(receive).unwrap_or(CONNECTION_WINDOW_BYTES).into();
        Self { receive, send: throttle.under_way_bytes(SEND_WINDOW_BYTES) }
    }
}

fn common(congestion: Congestion, payload: u16) -> TransportConfig {
    let mut packets = MtuDiscoveryConfig::default();
    packets.upper_bound(payload).minimum_change(PACKET_STEP_BYTES);
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(UNACKNOWLEDGED_PACKETS.into());
    let mut transport = TransportConfig::default();
    transport
        .ack_frequency_config(Some(acknowledgements))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .mtu_discovery_config(Some(packets))
        .enable_segmentation_offload(true)
        .congestion_controller_factory(congestion.factory(payload));
    transport
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_is_one_of_three_words_and_cubic_by_default() {
        for (word, expected) in
            [("cubic", Congestion::Cubic), ("newreno", Congestion::NewReno), ("bbr", Congestion::Bbr)]
        {
            assert_eq!(serde_json::from_value::<Congestion>(word.into()).unwrap(), expected);
        }
        assert!(serde_json::from_value::<Congestion>("vegas".into()).is_err());
        assert_eq!(Congestion::default(), Congestion::Cubic);
    }
}
