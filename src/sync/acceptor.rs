//! Incoming connections: how many handshakes run at once, and who is let through.
//!
//! Order of events: a first packet is accepted, sent back for a proof of its address, or refused,
//! by load alone; the handshake proves a key; ALPN and key decide. Strangers get a close code, and
//! one line in the log per address and minute.

use super::{
    close::CloseCode,
    lanes::Lanes,
    limiter::{PerSource, Rate},
    tls::{Admission, Purpose, node_key},
    transport::{self, Congestion},
};
use crate::{
    base::{clock::SharedClock, throttle::Throttle},
    domain::key::NodeKey,
};
use quinn::{Connection, Incoming, crypto::rustls::HandshakeData};
use rustls_pki_types::CertificateDer;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{runtime::Handle, sync::mpsc, task::JoinSet, time::timeout};
use tracing::{debug, warn};

/// Handshakes at once: a handshake takes about two round trips, so that a thousand sites that come
/// back together after an outage pass in a few turns.
const MAX_HANDSHAKES: usize = 128;
/// From here on an address has to prove itself first, which a sender of forged packets can't.
const BUSY_HANDSHAKES: usize = 32;
/// Several round trips of the slowest link, with losses.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

const STRANGER_LOG: Rate = Rate { burst: 1, every: Duration::from_secs(60) };
const STRANGER_SOURCES: usize = 1024;

/// A connection whose peer has proved its key, and may be here for what it asks.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub connection: Connection,
    /// Whose it is.
    pub key: NodeKey,
    /// What it is for. `Member` was admitted a moment ago; who keeps connections asks again once the
    /// connection is in his table, so that a revocation in between is not missed.
    pub purpose: Purpose,
    /// The runtime that it lives on: what works on it belongs there too.
    pub lane: Handle,
}

/// What happens to a first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IncomingPlan {
    Accept,
    ProveAddress,
    Refuse,
}

fn plan_incoming(handshakes: usize, address_is_proven: bool) -> IncomingPlan {
    match handshakes {
        MAX_HANDSHAKES.. => IncomingPlan::Refuse,
        BUSY_HANDSHAKES.. if !address_is_proven => IncomingPlan::ProveAddress,
        _ => IncomingPlan::Accept,
    }
}

/// Decides after the handshake.
pub(super) struct Gate {
    admission: Arc<dyn Admission>,
    clock: SharedClock,
    throttle: Throttle,
    welcome: Welcome,
    logged: Mutex<PerSource>,
}

/// How a peer is spoken to from its first packet on.
pub(super) struct Welcome {
    /// What holds for all.
    pub(super) server: quinn::ServerConfig,
    /// How the send rate follows the path.
    pub(super) congestion: Congestion,
    /// The most bytes of a packet to a peer that are worth a try.
    pub(super) payload: fn(SocketAddr) -> u16,
    /// The most bytes of a packet from here.
    pub(super) taken: u16,
}

impl Welcome {
    fn to(&self, peer: SocketAddr) -> Arc<quinn::ServerConfig> {
        let mut server = self.server.clone();
        let payload = (self.payload)(peer).min(self.taken);
        server.transport_config(Arc::new(transport::for_stranger(self.congestion, payload)));
        Arc::new(server)
    }
}

impl Gate {
    pub(super) fn new(admission: Arc<dyn Admission>, clock: SharedClock, throttle: Throttle, welcome: Welcome) -> Self {
        let logged = Mutex::new(PerSource::new(STRANGER_LOG, STRANGER_SOURCES));
        Self { admission, clock, throttle, welcome, logged }
    }

    fn check(&self, connection: &Connection) -> Result<(NodeKey, Purpose), CloseCode> {
        let (key, purpose) = identify(connection).ok_or(CloseCode::Protocol)?;
        if purpose == Purpose::Member
            && let Some(code) = self.admission.refusal(&key)
        {
            self.log_refused(connection.remote_address().ip(), key, code);
            return Err(code);
        }
        Ok((key, purpose))
    }

    fn log_refused(&self, source: IpAddr, key: NodeKey, reason: CloseCode) {
        let now = self.clock.monotonic();
        if self.logged.lock().unwrap_or_else(PoisonError::into_inner).admit(source, now) {
            warn!(source = %source.to_canonical(), %key, %reason, "refused a node that is no member");
        }
    }
}

fn identify(connection: &Connection) -> Option<(NodeKey, Purpose)> {
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let handshake = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    Some((node_key(shown.first()?)?, Purpose::from_alpn(&handshake.protocol?)?))
}

/// Accepts until the endpoint closes.
pub(super) async fn run(endpoint: quinn::Endpoint, gate: Arc<Gate>, accepted: mpsc::Sender<Accepted>, lanes: Lanes) {
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => on_incoming(incoming, &gate, &accepted, &lanes, &mut handshakes),
                None => return,
            },
            Some(_) = handshakes.join_next() => {}
        }
    }
}

fn on_incoming(
    incoming: Incoming,
    gate: &Arc<Gate>,
    accepted: &mpsc::Sender<Accepted>,
    lanes: &Lanes,
    handshakes: &mut JoinSet<()>,
) {
    match plan_incoming(handshakes.len(), incoming.remote_address_validated()) {
        IncomingPlan::Accept => {
            let shaking = shake_hands(incoming, gate.clone(), accepted.clone());
            // A connection's driver starts where the connection is accepted.
            handshakes.spawn_on(shaking, lanes.next());
        }
        IncomingPlan::ProveAddress => {
            // Only an address that is proven can't be sent back, and that one is not sent here.
            let _ = incoming.retry();
        }
        IncomingPlan::Refuse => incoming.refuse(),
    }
}

async fn shake_hands(incoming: Incoming, gate: Arc<Gate>, accepted: mpsc::Sender<Accepted>) {
    let source = incoming.remote_address().ip().to_canonical();
    let welcome = gate.welcome.to(incoming.remote_address());
    let connecting = match incoming.accept_with(welcome) {
        Ok(connecting) => connecting,
        Err(error) => return debug!(%source, %error, "a first packet that nobody can answer"),
    };
    let connection = match timeout(HANDSHAKE_DEADLINE, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return debug!(%source, %error, "a handshake failed"),
        Err(_) => return debug!(%source, "a handshake took too long"),
    };
    match gate.check(&connection) {
        Ok((key, purpose)) => {
            let peer = Accepted { connection, key, purpose, lane: Handle::current() };
            hand_over(peer, &gate.throttle, &accepted).await;
        }
        Err(code) => code.close(&connection),
    }
}

/// Waits in the queue only as long as the peer does.
async fn hand_over(peer: Accepted, throttle: &Throttle, accepted: &mpsc::Sender<Accepted>) {
    let connection = peer.connection.clone();
    let place = tokio::select! {
        place = accepted.reserve() => place,
        _ = connection.closed() => return,
    };
    let Ok(place) = place else { return CloseCode::ShuttingDown.close(&connection) };
    if peer.purpose == Purpose::Member {
        transport::grow_to_member(&connection, throttle);
    }
    place.send(peer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_load_an_address_proves_itself_and_beyond_the_limit_nobody_comes_in() {
        assert_eq!(plan_incoming(0, false), IncomingPlan::Accept);
        assert_eq!(plan_incoming(BUSY_HANDSHAKES - 1, false), IncomingPlan::Accept);
        assert_eq!(plan_incoming(BUSY_HANDSHAKES, false), IncomingPlan::ProveAddress);
        assert_eq!(plan_incoming(BUSY_HANDSHAKES, true), IncomingPlan::Accept);
        assert_eq!(plan_incoming(MAX_HANDSHAKES, true), IncomingPlan::Refuse);
        assert_eq!(plan_incoming(MAX_HANDSHAKES, false), IncomingPlan::Refuse);
    }
}
