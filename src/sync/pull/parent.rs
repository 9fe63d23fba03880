//! Stays connected to the parent.

use super::{fetch, session};
use crate::{
    base::{backoff::Backoff, units},
    domain::key::{LineKey, NodeKey},
    repository::{Alarm, FollowError, RepositoryError},
    sync::{
        close::CloseCode,
        endpoint::{ConnectError, Endpoint},
        frames::Welcome,
        serve::{GIVES_ON_MISS, serve_parent},
        shared::{ParentConnection, Shared},
        tls::Purpose,
        wire::{ReadFrameError, WriteFrameError},
    },
};
use quinn::Connection;
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// First wait after a lost connection.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest wait between two tries.
const RETRY_MOST: Duration = Duration::from_secs(60);
/// A connection that lasted this long was no failed try.
const STEADY: Duration = Duration::from_secs(10);
/// For one frame or one step of content: slow links carry eight steps at once.
const STALL: Duration = Duration::from_secs(300);
/// For the first answer on a connection.
const GREETING: Duration = Duration::from_secs(20);
/// A parent that is away for less than this is not worth an alarm.
const PATIENCE_SECONDS: u64 = 5;

/// Where the parent is and who it must be; what `join` learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentAddress {
    /// `host:port`, tried in order.
    pub addresses: Vec<String>,
    /// The parent's transport key.
    pub key: NodeKey,
    /// The line that is followed.
    pub line: LineKey,
}

/// Why the connection to the parent ended.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// It can't be reached.
    #[error("connecting to {address}")]
    Connect {
        /// The address that was tried last.
        address: String,
        /// Why.
        source: ConnectError,
    },
    /// Its name has no address.
    #[error("looking up {address}")]
    Resolve {
        /// The address, as it was given.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// No address is known.
    #[error("no address of the parent is known")]
    NoAddress,
    /// The connection was lost or closed.
    #[error("the connection to the parent ended")]
    Connection(#[from] quinn::ConnectionError),
    /// It neither reads nor writes.
    #[error("the parent is silent")]
    Late,
    /// Its frames can't be read.
    #[error("reading from the parent")]
    Read(#[from] ReadFrameError),
    /// Questions can't be written.
    #[error("writing to the parent")]
    Write(#[from] WriteFrameError),
    /// A frame that does not belong there.
    #[error("the parent sent a {0} frame out of place")]
    OutOfPlace(&'static str),
    /// The parent ended a stream.
    #[error("the parent ended the stream of states")]
    Ended,
    /// It shows a state that must not be followed.
    #[error("the parent's state is refused")]
    State(#[from] FollowError),
    /// It lies about its trees.
    #[error("the parent's {0} does not match the signed state")]
    Lie(&'static str),
    /// It sends more than any honest parent.
    #[error("the parent sends too much before a head")]
    Flood,
    /// Bytes or rows here.
    #[error("working on what the parent sent")]
    Repository(#[from] RepositoryError),
    /// Work on a blocking thread was cut short.
    #[error("stopping")]
    Stopping(#[from] tokio::task::JoinError),
}

impl PullError {
    /// Whether the parent said something that no honest parent of this line says.
    pub(super) fn is_violation(&self) -> bool {
        match self {
            Self::OutOfPlace(_) | Self::Lie(_) | Self::Flood => true,
            Self::Read(error) => error.is_violation(),
            Self::State(error) => !matches!(error, FollowError::Failed(_)),
            _ => false,
        }
    }
}

/// Gives one step on a stream its time.
pub(super) async fn patiently<T, E: Into<PullError>>(step: impl Future<Output = Result<T, E>>) -> Result<T, PullError> {
    tokio::time::timeout(STALL, step).await.map_err(|_| PullError::Late)?.map_err(Into::into)
}

/// Keeps a node connected to its parent.
pub struct Parent {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    address: ParentAddress,
    wake: Arc<Notify>,
}

impl Parent {
    /// A parent at `address`; `wake` cuts a wait between two tries short.
    pub fn new(shared: Arc<Shared>, endpoint: Arc<Endpoint>, address: ParentAddress, wake: Arc<Notify>) -> Self {
        Self { shared, endpoint, address, wake }
    }

    /// Follows and fetches until `cancel`.
    pub async fn run(self, cancel: CancellationToken, mut random: impl FnMut() -> u64) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        self.on_lost(None);
        loop {
            let begun = self.shared.clock().monotonic();
            let ended = self.once(&cancel).await;
            if cancel.is_cancelled() {
                break;
            }
            self.on_lost(Some(&ended));
            if self.shared.clock().monotonic() - begun >= STEADY && !ended.is_violation() {
                backoff.on_success();
            }
            let wait = backoff.on_failure(random());
            tracing::info!(error = &ended as &dyn std::error::Error, wait = %units::duration(wait), "not connected to the parent");
            tokio::select! {
                () = cancel.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// One connection, from its beginning to its end. Nothing of it is left when this returns: two
    /// connections never write one partial.
    async fn once(&self, cancel: &CancellationToken) -> PullError {
        let connected = tokio::select! {
            () = cancel.cancelled() => return PullError::Ended,
            connected = self.connect() => connected,
        };
        let (connection, address) = match connected {
            Ok(connected) => connected,
            Err(error) => return error,
        };
        let tasks = TaskTracker::new();
        let ended = tokio::select! {
            Err(error) = self.serve_connection(&connection, address, &tasks) => error,
            () = cancel.cancelled() => PullError::Ended,
            closed = connection.closed() => closed.into(),
        };
        self.shared.set_parent_connection(None);
        // Asked before the connection is closed here, which would be the reason from then on.
        let ended = name_end(ended, connection.close_reason());
        let code = if ended.is_violation() { CloseCode::Protocol } else { CloseCode::Done };
        code.close(&connection);
        tasks.close();
        tasks.wait().await;
        ended
    }

    async fn serve_connection(
        &self,
        connection: &Connection,
        address: String,
        tasks: &TaskTracker,
    ) -> Result<Infallible, PullError> {
        let greeting = tokio::time::timeout(GREETING, session::greet(&self.shared, connection)).await;
        let (stream, welcome) = greeting.map_err(|_| PullError::Late)??;
        self.on_connected(connection, address, &welcome);
        tokio::select! {
            ended = session::follow(&self.shared, connection, &self.address.line, stream, tasks) => ended,
            ended = fetch::run(&self.shared, connection, tasks) => ended,
            ended = serve_parent(&self.shared, connection, self.address.key) => Err(ended.into()),
        }
    }

    async fn connect(&self) -> Result<(Connection, String), PullError> {
        let mut last = PullError::NoAddress;
        for address in &self.address.addresses {
            let resolved = match tokio::net::lookup_host(address).await {
                Ok(resolved) => resolved,
                Err(source) => {
                    last = PullError::Resolve { address: address.clone(), source };
                    continue;
                }
            };
            for socket in resolved {
                match self.endpoint.connect(socket, self.address.key, Purpose::Member).await {
                    Ok(connection) => return Ok((connection, address.clone())),
                    Err(source) => last = PullError::Connect { address: address.clone(), source },
                }
            }
        }
        Err(last)
    }

    fn on_connected(&self, connection: &Connection, address: String, welcome: &Welcome) {
        let name = welcome.name.to_string();
        tracing::info!(%address, %name, "connected to the parent");
        let now = self.shared.clock().unix_seconds();
        self.shared.update_parent(|parent| {
            parent.address = address;
            parent.name = name;
            parent.connected_since = Some(now);
            parent.is_current = false;
            parent.lost_since = None;
            parent.last_error = None;
        });
        let gives_on_miss = welcome.features & GIVES_ON_MISS != 0;
        let connection = ParentConnection { connection: connection.clone(), gives_on_miss };
        self.shared.set_parent_connection(Some(connection));
        self.shared.repository.attention.clear(&Alarm::ParentUnreachable);
    }

    fn on_lost(&self, error: Option<&PullError>) {
        let now = self.shared.clock().unix_seconds();
        let mut away = 0;
        self.shared.update_parent(|parent| {
            parent.connected_since = None;
            parent.is_current = false;
            let since = *parent.lost_since.get_or_insert(now);
            away = now.saturating_sub(since);
            if parent.address.is_empty() {
                parent.address = self.address.addresses.first().cloned().unwrap_or_default();
            }
            parent.last_error = error.map(chain);
        });
        let Some(error) = error else { return };
        let attention = &self.shared.repository.attention;
        match error {
            PullError::State(FollowError::Failed(failed)) => attention.raise(
                session::FOLLOWING,
                format!("the parent's state can't be written here: {}", chain(failed)),
                "make room on the disk or repair it; it is tried again",
            ),
            PullError::State(refused) => attention.raise(
                Alarm::StateRefused,
                format!("the parent's state is refused: {}", chain(refused)),
                refused.cure(),
            ),
            broken if broken.is_violation() => attention.raise(
                Alarm::StateRefused,
                format!("the parent says what no honest parent of this line says: {}", chain(broken)),
                "look at the parent's status, and install the same version of this program on both nodes",
            ),
            _ if away >= PATIENCE_SECONDS || is_final(error) => {
                let what =
                    format!("the parent {} can't be reached: {}", self.address.addresses.join(", "), chain(error));
                attention.raise(Alarm::ParentUnreachable, what, cure(error));
            }
            _ => {}
        }
    }
}

/// A stream fails before the connection tells why.
fn name_end(ended: PullError, reason: Option<quinn::ConnectionError>) -> PullError {
    let broke = matches!(
        ended,
        PullError::Ended
            | PullError::Read(ReadFrameError::Io(_) | ReadFrameError::Cut)
            | PullError::Write(WriteFrameError::Io(_))
    );
    match reason.filter(|_| broke) {
        Some(reason) => reason.into(),
        None => ended,
    }
}

fn is_final(error: &PullError) -> bool {
    matches!(
        closed_with(error),
        Some(
            CloseCode::NotMember
                | CloseCode::Revoked
                | CloseCode::Version
                | CloseCode::Folder
                | CloseCode::Replaced
                | CloseCode::Protocol
        )
    )
}

fn cure(error: &PullError) -> &'static str {
    match closed_with(error) {
        Some(CloseCode::NotMember | CloseCode::Revoked) => {
            "ask the main's administrator for a new token and join again"
        }
        Some(CloseCode::Folder) => "take the folder out of this node's configuration, or have its membership changed",
        Some(CloseCode::Replaced) => "two nodes use one key: remove the copied state folder from one of them",
        Some(CloseCode::Version | CloseCode::Protocol) => "install the parent's version of this program",
        _ => "check the network, the parent's address and its UDP port; hosts are served meanwhile",
    }
}

fn closed_with(error: &PullError) -> Option<CloseCode> {
    match error {
        PullError::Connection(error) => CloseCode::of(error),
        _ => None,
    }
}

/// An error with its causes, for people.
pub(in crate::sync) fn chain(error: &(impl std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
