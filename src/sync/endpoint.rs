//! One UDP socket, over which a node both accepts and connects.
//!
//! Owns the socket and the task that accepts; never decides who is a member (see
//! [`Admission`]), and knows nothing of what is said on a connection.

pub use super::acceptor::Accepted;
use super::{
    acceptor::{self, Gate, Welcome},
    close::CloseCode,
    counted::Counted,
    lanes::Lanes,
    path, reset,
    tls::{self, Admission, PinnedKey, Purpose, TransportKey},
    transport::{self, Congestion},
};
use crate::{
    base::{clock::SharedClock, throttle::Throttle},
    domain::{
        key::NodeKey,
        nearest::{RepositoryUrl, UrlWord},
    },
};
use quinn::{
    AsyncUdpSocket, Connection, ConnectionError, Runtime, TokioRuntime, TransportConfig,
    crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

/// A burst of 30 ms at 1 Gbit/s; the kernel caps it at `net.core.rmem_max` and `wmem_max`.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Connections that wait for their owner; beyond these they count as handshakes.
const ACCEPTED_QUEUE: usize = 32;
/// First packets that wait for the accepting task, and the bytes kept for each and for all.
const MAX_INCOMING: usize = 256;
const INCOMING_BYTES: u64 = 16 << 10;
const ALL_INCOMING_BYTES: u64 = 4 << 20;
/// For a connection to be made: the first packet is repeated at 1, 3 and 7 s.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// For the last packets to leave when the endpoint closes.
const CLOSE_DEADLINE: Duration = Duration::from_secs(3);
/// quinn asks for a name; it is neither sent nor compared.
const NO_NAME: &str = "node.invalid";

/// What an endpoint is made with.
#[derive(Clone)]
pub struct EndpointSettings {
    /// How the send rate follows the path.
    pub congestion: Congestion,
    /// Who knows the members.
    pub admission: Arc<dyn Admission>,
    /// For the rate of log lines about strangers.
    pub clock: SharedClock,
}

/// What carries an endpoint's packets, and tells it the time.
#[derive(Debug, Clone)]
pub struct Carrier {
    /// Where packets leave and arrive.
    pub socket: Arc<dyn AsyncUdpSocket>,
    /// Where timers and tasks run.
    pub runtime: Arc<dyn Runtime>,
    /// From where QUIC draws what needs not be secret; `None` draws it from the system.
    pub seed: Option<[u8; 32]>,
    /// The most bytes of a packet to a peer that are worth a try.
    pub payload: fn(SocketAddr) -> u16,
}

impl Carrier {
    /// The machine's network: a UDP socket at `address`.
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let runtime = Arc::new(TokioRuntime);
        let socket = runtime.wrap_udp_socket(bind_socket(address)?)?;
        Ok(Self { socket, runtime, seed: None, payload: path::largest_payload })
    }
}

/// An endpoint that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The socket.
    #[error("binding UDP address {address}")]
    Socket {
        /// As it was asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The socket has no address.
    #[error("asking for the address of the UDP socket")]
    Address(#[source] io::Error),
    /// The key or the cryptography.
    #[error("setting up TLS for QUIC")]
    Tls(#[source] rustls::Error),
    /// No AES-128-GCM.
    #[error("setting up QUIC's initial keys")]
    InitialKeys(#[source] NoInitialCipherSuite),
}

/// A connection that was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The key or the cryptography.
    #[error("setting up TLS for QUIC")]
    Tls(#[source] rustls::Error),
    /// No AES-128-GCM.
    #[error("setting up QUIC's initial keys")]
    InitialKeys(#[source] NoInitialCipherSuite),
    /// An address that can't be used, or an endpoint that is closed.
    #[error("starting a connection")]
    Start(#[source] quinn::ConnectError),
    /// Another node answered.
    #[error("the peer has the key {met}, not the expected one")]
    AnotherKey {
        /// As it was shown, unproven.
        met: NodeKey,
    },
    /// The peer does not want it.
    #[error("the connection was refused: {0}")]
    Refused(CloseCode),
    /// The handshake failed, or nobody answered.
    #[error("the handshake failed")]
    Handshake(#[source] ConnectionError),
    /// Nobody answered in time.
    #[error("no answer within {} s", CONNECT_DEADLINE.as_secs())]
    Late,
}

/// A node's door to others. Dropping it stops accepting.
pub struct Endpoint {
    quinn: quinn::Endpoint,
    key: TransportKey,
    congestion: Congestion,
    throttle: Throttle,
    payload: fn(SocketAddr) -> u16,
    /// The most bytes of a packet from here, and to here.
    taken: u16,
    joining_transport: Arc<TransportConfig>,
    accepted: Mutex<mpsc::Receiver<Accepted>>,
    _acceptor: AbortOnDropHandle<()>,
}

impl Endpoint {
    /// Binds `address` (port 0 takes a free one) and begins to accept, on the caller's runtime.
    pub fn bind(address: SocketAddr, key: TransportKey, settings: EndpointSettings) -> Result<Self, BindError> {
        Self::bind_on(&Lanes::here(), address, key, settings)
    }

    /// As [`Endpoint::bind`], with the socket on the first of `lanes` and accepted connections on each in turn.
    pub fn bind_on(
        lanes: &Lanes,
        address: SocketAddr,
        key: TransportKey,
        settings: EndpointSettings,
    ) -> Result<Self, BindError> {
        let throttle = Throttle::unlimited(settings.clock.clone());
        Self::bind_below(lanes, address, key, settings, throttle)
    }

    /// As [`Endpoint::bind_on`], below a ceiling that others share.
    pub fn bind_below(
        lanes: &Lanes,
        address: SocketAddr,
        key: TransportKey,
        settings: EndpointSettings,
        throttle: Throttle,
    ) -> Result<Self, BindError> {
        let _on_the_first = lanes.first().enter();
        let carrier = Carrier::bind(address).map_err(|source| BindError::Socket { address, source })?;
        Self::begin(lanes, carrier, key, settings, throttle)
    }

    /// As [`Endpoint::bind`], over any network.
    pub fn over(carrier: Carrier, key: TransportKey, settings: EndpointSettings) -> Result<Self, BindError> {
        let throttle = Throttle::unlimited(settings.clock.clone());
        Self::begin(&Lanes::here(), carrier, key, settings, throttle)
    }

    fn begin(
        lanes: &Lanes,
        carrier: Carrier,
        key: TransportKey,
        settings: EndpointSettings,
        throttle: Throttle,
    ) -> Result<Self, BindError> {
        let server = server_config(&key)?;
        let Carrier { socket, runtime, seed, payload } = carrier;
        // As it is now: a ceiling that a reload sets later leaves packets as large as they are.
        let taken = path::taken_payload(throttle.is_limited());
        let socket = Arc::new(Counted { socket, throttle: throttle.clone(), taken });
        let address = socket.local_addr().map_err(BindError::Address)?;
        let mut config = reset::endpoint_config(&key, taken);
        config.rng_seed(seed);
        let quinn = quinn::Endpoint::new_with_abstract_socket(config, Some(server.clone()), socket, runtime)
            .map_err(|source| BindError::Socket { address, source })?;
        let (sender, accepted) = mpsc::channel(ACCEPTED_QUEUE);
        let welcome = Welcome { server, congestion: settings.congestion, payload, taken };
        let gate = Arc::new(Gate::new(settings.admission, settings.clock, throttle.clone(), welcome));
        let acceptor = tokio::spawn(acceptor::run(quinn.clone(), gate, sender, lanes.clone()));
        Ok(Self {
            quinn,
            key,
            congestion: settings.congestion,
            throttle,
            payload,
            taken,
            joining_transport: Arc::new(transport::for_joining(settings.congestion)),
            accepted: Mutex::new(accepted),
            _acceptor: AbortOnDropHandle::new(acceptor),
        })
    }

    /// Connects to the node of key `expected`. The peer decides after this whether it wants us: the
    /// first answer, or a close code, tells.
    pub async fn connect(
        &self,
        address: SocketAddr,
        expected: NodeKey,
        purpose: Purpose,
    ) -> Result<Connection, ConnectError> {
        let pinned = PinnedKey::new(expected);
        let config = self.client_config(address, purpose, pinned.clone())?;
        let connecting = self.quinn.connect_with(config, address, NO_NAME).map_err(ConnectError::Start)?;
        let outcome = timeout(CONNECT_DEADLINE, connecting).await.map_err(|_| ConnectError::Late)?;
        outcome.map_err(|error| explain(error, &pinned))
    }

    /// The next peer that has proved its key and may be here; `None` once the endpoint is closed.
    pub async fn accept(&self) -> Option<Accepted> {
        self.accepted.lock().await.recv().await
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.quinn.local_addr()
    }

    /// Where hosts reach this node, in its own words.
    pub fn say_url(&self, url: Option<RepositoryUrl>, unix_ms: u64) -> UrlWord {
        self.key.say_url(url, unix_ms)
    }

    /// Who this node is.
    pub fn public_key(&self) -> NodeKey {
        self.key.public()
    }

    /// Closes every connection with `code` and waits, up to 3 s, until the peers were told.
    pub async fn close(&self, code: CloseCode) {
        self.quinn.close(code.into(), code.words().as_bytes());
        let _ = timeout(CLOSE_DEADLINE, self.quinn.wait_idle()).await;
    }

    fn client_config(
        &self,
        address: SocketAddr,
        purpose: Purpose,
        pinned: Arc<PinnedKey>,
    ) -> Result<quinn::ClientConfig, ConnectError> {
        let tls = tls::client_config(&self.key, purpose, pinned).map_err(ConnectError::Tls)?;
        let quic = QuicClientConfig::try_from(tls).map_err(ConnectError::InitialKeys)?;
        let mut config = quinn::ClientConfig::new(Arc::new(quic));
        config.transport_config(match purpose {
            Purpose::Member => Arc::new(transport::for_member(
                self.congestion,
                &self.throttle,
                (self.payload)(address).min(self.taken),
            )),
            Purpose::Join => self.joining_transport.clone(),
        });
        Ok(config)
    }
}

fn explain(error: ConnectionError, pinned: &PinnedKey) -> ConnectError {
    if let Some(met) = pinned.met_instead() {
        return ConnectError::AnotherKey { met };
    }
    match CloseCode::of(&error) {
        Some(code) => ConnectError::Refused(code),
        None => ConnectError::Handshake(error),
    }
}

/// Without what depends on the peer, see [`Welcome`].
fn server_config(key: &TransportKey) -> Result<quinn::ServerConfig, BindError> {
    let tls = tls::server_config(key).map_err(BindError::Tls)?;
    let quic = QuicServerConfig::try_from(tls).map_err(BindError::InitialKeys)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(quic));
    config
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(ALL_INCOMING_BYTES);
    Ok(config)
}

fn bind_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Best effort: smaller buffers cost throughput, nothing else.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::clock::SystemClock, domain::key::NodeKey};
    use std::collections::BTreeSet;

    struct Members(BTreeSet<NodeKey>);

    impl Admission for Members {
        fn refusal(&self, key: &NodeKey) -> Option<CloseCode> {
            (!self.0.contains(key)).then_some(CloseCode::NotMember)
        }
    }

    fn key(seed: u8) -> TransportKey {
        TransportKey::generate([seed; 32])
    }

    fn node(seed: u8, members: &[u8]) -> Endpoint {
        let members = members.iter().map(|seed| key(*seed).public()).collect();
        let settings = EndpointSettings {
            congestion: Congestion::Cubic,
            admission: Arc::new(Members(members)),
            clock: Arc::new(SystemClock),
        };
        Endpoint::bind("127.0.0.1:0".parse().unwrap(), key(seed), settings).unwrap()
    }

    async fn connect(from: &Endpoint, to: &Endpoint, purpose: Purpose) -> Result<Connection, ConnectError> {
        from.connect(to.local_addr().unwrap(), to.public_key(), purpose).await
    }

    async fn closed(connection: &Connection) -> ConnectionError {
        timeout(CONNECT_DEADLINE, connection.closed()).await.expect("the peer closes the connection")
    }

    #[tokio::test]
    async fn a_member_is_accepted_with_its_key_and_purpose() {
        let (main, site) = (node(1, &[2]), node(2, &[]));
        let (connection, accepted) = tokio::join!(connect(&site, &main, Purpose::Member), main.accept());
        let (_connection, accepted) = (connection.unwrap(), accepted.unwrap());
        assert_eq!((accepted.key, accepted.purpose), (key(2).public(), Purpose::Member));
    }

    const STREAMS_OF_A_MEMBER: usize = 20;

    #[tokio::test]
    async fn a_member_gets_past_the_limits_of_a_stranger() {
        let (main, site) = (node(1, &[2]), node(2, &[]));
        let (connection, accepted) = tokio::join!(connect(&site, &main, Purpose::Member), main.accept());
        let (connection, accepted) = (connection.unwrap(), accepted.unwrap());
        let sent = timeout(CONNECT_DEADLINE, async {
            for _ in 0..STREAMS_OF_A_MEMBER {
                let (mut send, _) = connection.open_bi().await.unwrap();
                send.write_all(&[7; 50_000]).await.unwrap();
                send.finish().unwrap();
            }
        });
        sent.await.expect("the limits of a stranger were lifted");
        let (_, mut first) = accepted.connection.accept_bi().await.unwrap();
        let mut bytes = vec![0; 50_000];
        first.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [7; 50_000]);
    }

    #[tokio::test]
    async fn packets_grow_in_both_directions_to_what_the_link_lets_through() {
        let (main, site) = (node(1, &[2]), node(2, &[]));
        let (connection, accepted) = tokio::join!(connect(&site, &main, Purpose::Member), main.accept());
        let (connection, accepted) = (connection.unwrap(), accepted.unwrap().connection);
        tokio::spawn({
            let accepted = accepted.clone();
            async move {
                let (mut send, mut receive) = accepted.accept_bi().await.unwrap();
                tokio::io::copy(&mut receive, &mut send).await
            }
        });
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        let mut bytes = [7; 1_000];
        let grown = timeout(CONNECT_DEADLINE, async {
            let size = |connection: &Connection| connection.stats().path.current_mtu;
            // A search stops when a larger step is not worth a packet.
            while size(&connection).min(size(&accepted)) < path::LARGEST_PAYLOAD_BYTES - 20 {
                send.write_all(&bytes).await.unwrap();
                receive.read_exact(&mut bytes).await.unwrap();
            }
        });
        grown.await.expect("packets grow");
    }

    #[tokio::test]
    async fn a_stranger_is_closed_as_no_member_and_never_handed_over() {
        let (main, stranger, site) = (node(1, &[2]), node(3, &[]), node(2, &[]));
        let refused = match connect(&stranger, &main, Purpose::Member).await {
            Ok(connection) => CloseCode::of(&closed(&connection).await),
            Err(ConnectError::Refused(code)) => Some(code),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(refused, Some(CloseCode::NotMember));
        let (connection, accepted) = tokio::join!(connect(&site, &main, Purpose::Member), main.accept());
        assert_eq!(accepted.unwrap().key, key(2).public(), "the first that is handed over is the member");
        drop(connection);
    }

    #[tokio::test]
    async fn a_stranger_may_join_over_one_stream() {
        let (main, stranger) = (node(1, &[]), node(3, &[]));
        let (connection, accepted) = tokio::join!(connect(&stranger, &main, Purpose::Join), main.accept());
        let (connection, accepted) = (connection.unwrap(), accepted.unwrap());
        assert_eq!((accepted.key, accepted.purpose), (key(3).public(), Purpose::Join));

        let _first = connection.open_bi().await.unwrap();
        tokio::select! {
            biased;
            _ = connection.open_bi() => panic!("a second stream was opened"),
            () = std::future::ready(()) => {}
        }
        tokio::select! {
            biased;
            _ = accepted.connection.open_bi() => panic!("a stream towards a joining node was opened"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn another_key_than_the_expected_one_is_refused_and_named() {
        let (main, site) = (node(1, &[2]), node(2, &[]));
        let error = site.connect(main.local_addr().unwrap(), key(9).public(), Purpose::Member).await.unwrap_err();
        assert!(matches!(error, ConnectError::AnotherKey { met } if met == key(1).public()), "{error}");
    }

    #[tokio::test]
    async fn a_second_connection_finds_nothing_to_resume() {
        let (main, site) = (node(1, &[2]), node(2, &[]));
        let (first, accepted) = tokio::join!(connect(&site, &main, Purpose::Member), main.accept());
        let (first, accepted) = (first.unwrap(), accepted.unwrap());
        let (mut send, _receive) = first.open_bi().await.unwrap();
        send.write_all(b"all handshake packets are through").await.unwrap();
        accepted.connection.accept_bi().await.unwrap();
        CloseCode::Done.close(&first);

        let address = main.local_addr().unwrap();
        let config = site.client_config(address, Purpose::Member, PinnedKey::new(main.public_key())).unwrap();
        let connecting = site.quinn.connect_with(config, address, NO_NAME).unwrap();
        assert!(connecting.into_0rtt().is_err());
    }

    #[tokio::test]
    async fn closing_tells_every_peer_and_ends_accepting() {
        let (main, site) = (node(1, &[2]), node(2, &[]));
        let (connection, _accepted) = tokio::join!(connect(&site, &main, Purpose::Member), main.accept());
        let connection = connection.unwrap();
        main.close(CloseCode::ShuttingDown).await;
        assert_eq!(CloseCode::of(&closed(&connection).await), Some(CloseCode::ShuttingDown));
        assert!(main.accept().await.is_none());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let main = node(1, &[]);
        let taken = main.local_addr().unwrap();
        let settings = EndpointSettings {
            congestion: Congestion::Cubic,
            admission: Arc::new(Members(BTreeSet::new())),
            clock: Arc::new(SystemClock),
        };
        let error = Endpoint::bind(taken, key(2), settings).err().unwrap();
        assert_eq!(error.to_string(), format!("binding UDP address {taken}"));
    }
}
