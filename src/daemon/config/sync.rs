//! `[sync]`: QUIC between repositories.

use super::{
    keys::Keys,
    node::Node,
    read::{self, Mistake},
};
use crate::domain::member::NodeAddress;
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};

/// How this node meets others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sync {
    /// UDP; port 0 is any free one.
    pub listen: SocketAddr,
    /// Where others reach this node, best first: what an invitation carries. Empty where an
    /// invitation always says it.
    pub advertise: Vec<NodeAddress>,
    /// How a sender adapts to the line.
    pub congestion: Congestion,
}

/// Congestion control, as quinn has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    /// Fair beside other traffic; slow on lines that lose packets.
    Cubic,
    /// Older and slower still.
    NewReno,
    /// Fast on lines that lose packets; floods clean ones.
    Bbr,
}

const CONGESTIONS: &[(&str, Congestion)] =
    &[("cubic", Congestion::Cubic), ("newreno", Congestion::NewReno), ("bbr", Congestion::Bbr)];

impl Default for Sync {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4443)),
            advertise: Vec::new(),
            congestion: Congestion::Cubic,
        }
    }
}

impl Sync {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let default = Self::default();
        Self {
            listen: keys.value("listen", read::address, default.listen),
            advertise: keys.value("advertise", read::list(read::parsed), default.advertise),
            congestion: keys.value("congestion", congestion, default.congestion),
        }
    }
}

fn congestion(node: &Node) -> Result<Congestion, Mistake> {
    if read::text(node)? == "polite" {
        return Err(Mistake::at(node, "\"polite\" is not in this version; use \"cubic\""));
    }
    read::choice(CONGESTIONS)(node)
}
