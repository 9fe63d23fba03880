//! What a node's connections share: the repository, who is connected, what moves.

use crate::{
    base::{clock::SharedClock, throttle::Throttle},
    domain::{
        key::NodeKey,
        name::{FileName, FolderName},
        state::Namespace,
    },
    repository::Repository,
    supply::{Flights, source::Source},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::sync::watch;

use super::{
    claims::Claims, close::CloseCode, fleet::Fleet, frames::NamespaceName, mirroring::Mirroring, pull::Questions,
    reports::ReportSink, transport,
};

/// A member that is connected to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its key.
    pub key: NodeKey,
    /// Its name.
    pub name: String,
    /// Its site.
    pub site: String,
    /// Where it connected from.
    pub address: SocketAddr,
    /// Since when, in seconds since 1970 UTC.
    pub since: u64,
    /// The state that it has applied: epoch and last change.
    pub at: (u64, u64),
    /// Files that it lacks, and their bytes.
    pub missing: (u64, u64),
    /// Whether it says that it gives content to this node.
    pub gives: bool,
}

/// The connection to the parent as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParentState {
    /// The parent's name, once it has told it.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// Connected since, in seconds since 1970 UTC.
    pub connected_since: Option<u64>,
    /// Whether its newest state is here since then: from then on every change is pushed as it happens.
    pub is_current: bool,
    /// Not connected since, in seconds since 1970 UTC.
    pub lost_since: Option<u64>,
    /// Why not.
    pub last_error: Option<String>,
}

/// A file that is arriving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its folder.
    pub folder: FolderName,
    /// Its name.
    pub name: FileName,
    /// Verified bytes so far.
    pub done_bytes: u64,
    /// All bytes.
    pub size_bytes: u64,
}

/// A connection to the parent that has greeted.
#[derive(Debug, Clone)]
pub struct ParentConnection {
    pub(super) connection: quinn::Connection,
    /// Whether it gives files by their names.
    pub(super) gives_on_miss: bool,
}

/// A member with its connection, of which it has one.
struct Connected {
    id: u64,
    child: Child,
    connection: quinn::Connection,
}

/// State that outlives single connections.
pub struct Shared {
    /// Bytes and rows.
    pub repository: Arc<Repository>,
    /// The node's own name.
    pub name: String,
    /// What is known of the members.
    pub fleet: Fleet,
    /// The ceiling for everything that goes over the line.
    pub throttle: Throttle,
    children: Mutex<BTreeMap<NodeKey, Connected>>,
    next_child: AtomicU64,
    parent: Mutex<ParentState>,
    parent_connection: watch::Sender<Option<ParentConnection>>,
    source: OnceLock<Weak<dyn Source>>,
    flights: OnceLock<Weak<Flights>>,
    report_sink: OnceLock<Weak<dyn ReportSink>>,
    mirroring: watch::Sender<Mirroring>,
    /// Large content that is arriving.
    pub(super) claims: Claims,
    /// Who wants to know the parent's head.
    pub(super) questions: Questions,
    transfers: Mutex<BTreeMap<(FolderName, FileName), Transfer>>,
    /// Content bytes that arrived and verified since start.
    pub received_bytes: AtomicU64,
    /// Wakes fetchers when the parent says that its own holdings changed.
    pub(super) content_may_be_there: tokio::sync::Notify,
    /// Wakes who heals from children when one has connected that may give.
    pub(super) giver_came: tokio::sync::Notify,
    /// Content bytes that were sent since start.
    pub sent_bytes: AtomicU64,
}

impl Shared {
    /// Nothing is connected yet.
    pub fn new(repository: Arc<Repository>, name: String) -> Arc<Self> {
        let throttle = Throttle::unlimited(repository.clock().clone());
        Arc::new(Self {
            repository,
            name,
            fleet: Fleet::default(),
            throttle,
            children: Mutex::default(),
            next_child: AtomicU64::new(0),
            parent: Mutex::default(),
            parent_connection: watch::Sender::default(),
            source: OnceLock::new(),
            flights: OnceLock::new(),
            report_sink: OnceLock::new(),
            mirroring: watch::Sender::default(),
            claims: Claims::default(),
            questions: Questions::default(),
            transfers: Mutex::default(),
            received_bytes: AtomicU64::new(0),
            content_may_be_there: tokio::sync::Notify::new(),
            giver_came: tokio::sync::Notify::new(),
            sent_bytes: AtomicU64::new(0),
        })
    }

    /// The time that everything here goes by.
    pub fn clock(&self) -> &SharedClock {
        self.repository.clock()
    }

    /// Who is connected, by name.
    pub fn children(&self) -> Vec<Child> {
        let mut children: Vec<_> = lock(&self.children).values().map(|connected| connected.child.clone()).collect();
        children.sort_by(|a, b| a.name.cmp(&b.name));
        children
    }

    /// From here to each child and back.
    pub fn round_trips(&self) -> BTreeMap<NodeKey, std::time::Duration> {
        lock(&self.children).iter().map(|(key, connected)| (*key, connected.connection.rtt())).collect()
    }

    /// A child's connection.
    pub fn connection_of(&self, key: &NodeKey) -> Option<quinn::Connection> {
        lock(&self.children).get(key).map(|connected| connected.connection.clone())
    }

    /// The connected children that give content when asked, by key, with their names.
    pub(super) fn givers(&self) -> Vec<(String, quinn::Connection)> {
        let children = lock(&self.children);
        let givers = children.values().filter(|connected| connected.child.gives);
        givers.map(|connected| (connected.child.name.clone(), connected.connection.clone())).collect()
    }

    /// Lists a member; a connection that it had before is closed.
    pub(super) fn add_child(self: &Arc<Self>, child: Child, connection: &quinn::Connection) -> ChildGuard {
        let (id, key) = (self.next_child.fetch_add(1, Relaxed), child.key);
        let connected = Connected { id, child, connection: connection.clone() };
        if let Some(before) = lock(&self.children).insert(key, connected) {
            CloseCode::Replaced.close(&before.connection);
        }
        ChildGuard { shared: self.clone(), key, id }
    }

    /// The connection to the parent as it stands.
    pub fn parent(&self) -> ParentState {
        lock(&self.parent).clone()
    }

    pub(super) fn update_parent(&self, update: impl FnOnce(&mut ParentState)) {
        update(&mut lock(&self.parent));
    }

    /// Files are given to members that ask for them by name from `source`; said once. Whoever says it keeps it.
    pub fn give_from(&self, source: &Arc<dyn Source>) {
        self.source.set(Arc::downgrade(source)).ok();
    }

    /// What flies is left to these flights; said once. Whoever says it keeps them.
    pub fn leave_to(&self, flights: &Arc<Flights>) {
        self.flights.set(Arc::downgrade(flights)).ok();
    }

    /// From here on so many bytes a second go over the line, everything together; `None` is without bound.
    pub fn limit(&self, bytes_per_second: Option<u64>) {
        self.throttle.limit(bytes_per_second);
        let children = lock(&self.children).values().map(|connected| connected.connection.clone()).collect::<Vec<_>>();
        for connection in children.iter().chain(&self.connection_to_parent()) {
            transport::fit(connection, &self.throttle);
        }
    }

    /// Reports of hosts that members carry go to `sink`; said once. Whoever says it keeps it.
    pub fn carry_reports_to(&self, sink: &Arc<dyn ReportSink>) {
        self.report_sink.set(Arc::downgrade(sink)).ok();
    }

    pub(super) fn report_sink(&self) -> Option<Arc<dyn ReportSink>> {
        self.report_sink.get().and_then(Weak::upgrade)
    }

    /// From here on, what nobody waits for is fetched as this says; what is under way and may not go on stops.
    pub fn mirror_as(&self, mirroring: Mirroring) {
        self.repository.keep_lists_in_order(!mirroring.only_held);
        self.mirroring.send_if_modified(|known| std::mem::replace(known, mirroring) != mirroring);
    }

    pub(super) fn mirroring(&self) -> watch::Receiver<Mirroring> {
        self.mirroring.subscribe()
    }

    pub(super) fn source(&self) -> Option<Arc<dyn Source>> {
        self.source.get().and_then(Weak::upgrade)
    }

    /// Whether a file flies because somebody asked for it.
    pub(super) fn is_flying(&self, folder: &FolderName, name: &FileName) -> bool {
        self.flights.get().and_then(Weak::upgrade).is_some_and(|flights| flights.of(folder, name).is_some())
    }

    /// Asks the connected parent for its head, and waits until its newest state is here; for as long as it is away.
    pub async fn ask_parent(&self) {
        self.questions.ask().await;
    }

    /// The connection to the parent, whenever it comes and goes.
    pub fn parent_connection(&self) -> watch::Receiver<Option<ParentConnection>> {
        self.parent_connection.subscribe()
    }

    pub(super) fn connection_to_parent(&self) -> Option<quinn::Connection> {
        self.parent_connection.borrow().as_ref().map(|parent| parent.connection.clone())
    }

    pub(super) fn set_parent_connection(&self, connection: Option<ParentConnection>) {
        self.parent_connection.send_replace(connection);
    }

    /// What is arriving.
    pub fn transfers(&self) -> Vec<Transfer> {
        lock(&self.transfers).values().cloned().collect()
    }

    pub(super) fn begin_transfer(self: &Arc<Self>, transfer: Transfer) -> TransferGuard {
        let key = (transfer.folder.clone(), transfer.name.clone());
        lock(&self.transfers).insert(key.clone(), transfer);
        TransferGuard { shared: self.clone(), key }
    }
}

/// A connected child; dropping it takes it off the list.
pub(super) struct ChildGuard {
    shared: Arc<Shared>,
    key: NodeKey,
    id: u64,
}

impl ChildGuard {
    pub(super) fn update(&self, update: impl FnOnce(&mut Child)) {
        let mut children = lock(&self.shared.children);
        if let Some(connected) = children.get_mut(&self.key).filter(|connected| connected.id == self.id) {
            update(&mut connected.child);
        }
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let mut children = lock(&self.shared.children);
        if children.get(&self.key).is_some_and(|connected| connected.id == self.id) {
            children.remove(&self.key);
        }
    }
}

/// A file that is arriving; dropping it takes it off the list.
pub(super) struct TransferGuard {
    shared: Arc<Shared>,
    key: (FolderName, FileName),
}

impl TransferGuard {
    pub(super) fn advance(&self, bytes: u64) {
        if let Some(transfer) = lock(&self.shared.transfers).get_mut(&self.key) {
            transfer.done_bytes += bytes;
        }
    }
}

impl Drop for TransferGuard {
    fn drop(&mut self) {
        lock(&self.shared.transfers).remove(&self.key);
    }
}

/// A namespace as it goes into a frame.
pub(super) fn write_namespace(namespace: &Namespace) -> Option<NamespaceName> {
    NamespaceName::new(namespace.as_str())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
