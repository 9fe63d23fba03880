//! Listeners and connections: accepts, bounds, serves, drains.

use super::{
    counters::FrontCounters,
    exchange::{Exchange, Turn},
    handler::Front,
    outlet::{Direct, Outlet},
    timed::{Patience, Timed},
    tls::TlsReloader,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Most header fields of a request; WAPT agents send about ten.
const MAX_HEADERS: usize = 64;
/// How long somebody who has connected may take to ask once the server ends.
const FIRST_QUESTION: Duration = Duration::from_secs(1);
/// Most bytes of a request's head; beyond is 431.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The bounds that clients are held to.
#[derive(Debug, Clone, Copy)]
pub struct FrontConfig {
    /// Most connections at once, over all listeners; the next ones wait in the backlog.
    pub max_connections: usize,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// From one answer to the first byte of the next request.
    pub idle_timeout: Duration,
    /// Between two writes that take anything.
    pub write_timeout: Duration,
    /// A whole TLS handshake.
    pub handshake_timeout: Duration,
    /// From the shutdown to the end of the last answer.
    pub drain_timeout: Duration,
    /// The rest after a failed accept: file descriptors come back only when connections end.
    pub accept_pause: Duration,
}

impl Default for FrontConfig {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
            accept_pause: Duration::from_millis(200),
        }
    }
}

/// A bound socket, and how it speaks.
pub struct Listener {
    /// Bound and listening.
    pub socket: StdListener,
    /// Plain HTTP without it.
    pub tls: Option<Arc<TlsReloader>>,
}

/// A set of listeners that serve one [`Front`] until they are told to stop.
pub struct Server {
    addresses: Vec<SocketAddr>,
    counters: Arc<FrontCounters>,
    tasks: TaskTracker,
}

/// A listener could not be taken over.
#[derive(Debug, thiserror::Error)]
#[error("taking over a listening socket")]
pub struct StartServerError(#[from] io::Error);

impl Server {
    /// Serves `front` on `listeners` until `shutdown`. Must be called inside a tokio runtime.
    pub fn start(
        config: FrontConfig,
        listeners: Vec<Listener>,
        front: Front,
        shutdown: CancellationToken,
    ) -> Result<Self, StartServerError> {
        let counters = Arc::<FrontCounters>::default();
        let tasks = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
        let (counted, tracked, ends) = (counters.clone(), tasks.clone(), OnceLock::new());
        let shared = Arc::new(Shared { config, front, counters: counted, slots, shutdown, tasks: tracked, ends });
        let mut addresses = Vec::with_capacity(listeners.len());
        let mut sockets = Vec::with_capacity(listeners.len());
        for Listener { socket, tls } in listeners {
            socket.set_nonblocking(true)?;
            let socket = TcpListener::from_std(socket)?;
            addresses.push(socket.local_addr()?);
            sockets.push((socket, tls));
        }
        for (socket, tls) in sockets {
            tasks.spawn(shared.clone().accept(socket, tls));
        }
        tasks.close();
        Ok(Self { addresses, counters, tasks })
    }

    /// Where the listeners listen, in the order in which they were given.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What was served so far.
    pub fn counters(&self) -> Arc<FrontCounters> {
        self.counters.clone()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.tasks.len().saturating_sub(self.addresses.len())
    }

    /// Waits for the end: after the shutdown, at most the time that connections have to drain.
    pub async fn stopped(self) {
        self.tasks.wait().await;
    }
}

/// What all connections share.
struct Shared {
    config: FrontConfig,
    front: Front,
    counters: Arc<FrontCounters>,
    slots: Arc<Semaphore>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    /// When what is still open is cut; set by whoever sees the shutdown first.
    ends: OnceLock<Instant>,
}

impl Shared {
    async fn accept(self: Arc<Self>, socket: TcpListener, tls: Option<Arc<TlsReloader>>) {
        let shutdown = self.shutdown.clone();
        while let Some(accepted) = shutdown.run_until_cancelled(socket.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    // Who was accepted is answered, unless it would have to wait for a place.
                    let slot = match self.slots.clone().try_acquire_owned() {
                        Ok(slot) => slot,
                        Err(_) => match shutdown.run_until_cancelled(self.slots.clone().acquire_owned()).await {
                            Some(Ok(slot)) => slot,
                            Some(Err(_)) | None => return,
                        },
                    };
                    self.counters.on_connection();
                    let connection = self.clone().connection(stream, peer, tls.clone());
                    self.tasks.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(e) if is_of_one_connection(&e) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    shutdown.run_until_cancelled(sleep(self.config.accept_pause)).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, tls: Option<Arc<TlsReloader>>) {
        // Answers leave in whole writes; waiting for more to send would only delay their ends.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "a connection ended before it began");
            return;
        }
        let Some(tls) = tls else {
            let outlet = Arc::<Outlet>::default();
            return self.serve(Direct::new(stream, outlet.clone()), peer, Some(outlet)).await;
        };
        let handshake = timeout(self.config.handshake_timeout, tls.acceptor().accept(stream));
        // Who was accepted before the shutdown is answered, as without TLS.
        let shaken = tokio::select! {
            shaken = handshake => Some(shaken),
            () = self.drained() => None,
        };
        match shaken {
            None => self.cut(peer),
            Some(Ok(Ok(stream))) => self.serve(stream, peer, None).await,
            Some(Ok(Err(error))) => self.refused(peer, &error),
            Some(Err(error)) => self.refused(peer, &error),
        }
    }

    /// Waits for the shutdown; when what is open then is cut.
    async fn told_to_end(&self) -> Instant {
        self.shutdown.cancelled().await;
        *self.ends.get_or_init(|| Instant::from_std(self.front.clock.monotonic()) + self.config.drain_timeout)
    }

    async fn drained(&self) {
        sleep_until(self.told_to_end().await).await;
    }

    /// A connection with an outlet is plain, one without is encrypted.
    async fn serve<T: AsyncRead + AsyncWrite + Unpin>(&self, stream: T, peer: SocketAddr, outlet: Option<Arc<Outlet>>) {
        let is_tls = outlet.is_none();
        let turn = Arc::<Turn>::default();
        let asked = Notify::new();
        let stream = TokioIo::new(Timed::new(stream, self.patience(), turn.clone()));
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
            asked.notify_one();
            let (head, body) = request.into_parts();
            let (turn, counters, clock) = (turn.clone(), self.counters.clone(), self.front.clock.clone());
            let exchange = Exchange::begin(&head, peer, outlet.clone(), turn, counters, clock);
            async move { Ok::<_, Infallible>(self.front.respond(head, body, exchange, is_tls).await) }
        });
        let mut connection = pin!(http().serve_connection(stream, service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            ends = self.told_to_end() => tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                // A connection without any question would be closed before its first one is read.
                _ = timeout(FIRST_QUESTION, asked.notified()) => {
                    connection.as_mut().graceful_shutdown();
                    timeout_at(ends, connection).await.unwrap_or_else(|_| {
                        self.cut(peer);
                        Ok(())
                    })
                }
            }
        };
        match ended {
            Ok(()) => {}
            Err(error) if error.is_parse() => self.refused(peer, &error),
            Err(error) => tracing::debug!(%peer, %error, "a connection broke"),
        }
    }

    fn patience(&self) -> Patience {
        let FrontConfig { idle_timeout, head_timeout, write_timeout, .. } = self.config;
        Patience { idle: idle_timeout, head: head_timeout, write: write_timeout }
    }

    fn cut(&self, peer: SocketAddr) {
        tracing::warn!(%peer, "a connection was cut: it did not end in time");
    }

    fn refused(&self, peer: SocketAddr, error: &dyn std::error::Error) {
        self.counters.on_refused();
        tracing::debug!(%peer, %error, "a connection was refused");
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES);
    http
}

/// Errors of a client that left between the kernel's accept and ours; the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
