//! Nodes for tests: real folders, real state, real sockets on loopback, in one process.
//!
//! An ERROR in the log, or a panic in a task, fails the test that stops a node after it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where its harness fails")]

pub mod fake;
pub mod link;
pub mod pair;
mod watchdog;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use wuasync::{
    base::{clock::SystemClock, throttle::Throttle},
    domain::{
        digest::Root,
        key::NodeKey,
        member::{MemberRecord, NodeAddress, NodeName, Role, SiteName},
        name::{FileName, FolderName},
    },
    repository::{
        DeletionCap, FolderConfig, Found, LogLimit, OpenRepositoryError, OpenStateError, Repository, RepositoryConfig,
        Scrubbed, Tend, TendConfig,
    },
    store::disk::real::RealDisk,
    supply::{
        Client, FlightLimits, Flights, QuotaLimits, Supply,
        local::Local,
        source::{Answer, Ask, Source},
    },
    sync::{
        close::CloseCode,
        endpoint::{Endpoint, EndpointSettings},
        frames::{Frame, Get, GetItem, Join},
        join::{JoinError, join_over},
        lanes::Lanes,
        pull::{FromParent, Parent, ParentAddress, heal_from_children},
        serve::{Doorkeeper, Invitation, Server, invite},
        shared::Shared,
        tls::{Purpose, TransportKey},
        token::Token,
        transport::Congestion,
        wire::{FrameReader, FrameWriter},
    },
};

/// Longer than anything here takes; only a broken program reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn folder() -> FolderName {
    FolderName::new("waptwua").unwrap()
}

pub fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

/// An immutable name for these bytes.
pub fn immutable(stem: &str, bytes: &[u8]) -> String {
    use sha1::Digest;
    format!("{stem}_{}.cab", data_encoding::HEXLOWER.encode(&sha1::Sha1::digest(bytes)))
}

/// Bytes that no two seeds share.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A folder with its state, on disk; survives the node that runs on it.
pub struct Place {
    pub root: tempfile::TempDir,
    pub key: [u8; 32],
    pub log_limit: LogLimit,
}

impl Place {
    pub fn new(seed: u8) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("www/waptwua")).unwrap();
        Self { root, key: [seed; 32], log_limit: LogLimit::default() }
    }

    pub fn folder(&self) -> PathBuf {
        self.root.path().join("www/waptwua")
    }

    pub fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// A mutable file that was quiet for long enough.
    pub fn write_old(&self, name: &str, bytes: &[u8]) {
        self.write(name, bytes);
        let file = std::fs::File::options().append(true).open(self.folder().join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3_600)).unwrap();
    }

    /// Flips a byte as a failing disk does: neither length nor time tell.
    pub fn rot(&self, name: &str, offset: u64) {
        use std::os::unix::fs::FileExt;
        let path = self.folder().join(name);
        let modified = path.metadata().unwrap().modified().unwrap();
        let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
        file.set_modified(modified).unwrap();
    }

    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder().join(name)).ok()
    }

    pub fn open(&self, role: Role) -> Arc<Repository> {
        self.open_capped(role, DeletionCap { max_percent: 20, min_files: 20 })
    }

    pub fn open_capped(&self, role: Role, deletion_cap: DeletionCap) -> Arc<Repository> {
        let config = RepositoryConfig {
            role,
            state_dir: self.state(),
            folders: vec![FolderConfig { name: folder(), path: self.folder(), staging: None }],
            deletion_cap,
            disk_reserve_bytes: 0,
            log_limit: self.log_limit,
        };
        let mut seed = u64::from(self.key[0]);
        let mut random = |bytes: &mut [u8]| {
            seed += 1;
            bytes.copy_from_slice(&noise(seed, bytes.len()));
        };
        let disk = Arc::new(RealDisk::new());
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            match Repository::open(disk.clone(), Arc::new(SystemClock), &config, &mut random) {
                // The last user of the one before may still be letting go of it.
                Err(OpenRepositoryError::State(OpenStateError::InUse { .. }))
                    if std::time::Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => return Arc::new(opened.unwrap()),
            }
        }
    }
}

/// A running node. Dropping it stops it.
pub struct TestNode {
    pub repository: Arc<Repository>,
    pub shared: Arc<Shared>,
    pub address: std::net::SocketAddr,
    pub key: NodeKey,
    pub name: String,
    /// What hosts and members are given from.
    pub supply: Arc<dyn Source>,
    /// What is fetched because somebody asks; on a secondary.
    pub flights: Option<Arc<Flights>>,
    endpoint: Arc<Endpoint>,
    cancel: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _stop: DropGuard,
}

impl TestNode {
    pub fn main(place: &Place, name: &str) -> Self {
        Self::start(place, place.open(Role::Main), name, None)
    }

    pub fn secondary(place: &Place, name: &str, parent: Option<ParentAddress>) -> Self {
        Self::start(place, place.open(Role::Secondary), name, parent)
    }

    pub fn start(place: &Place, repository: Arc<Repository>, name: &str, parent: Option<ParentAddress>) -> Self {
        watchdog::begin();
        let cancel = CancellationToken::new();
        let shared = Shared::new(repository.clone(), name.to_owned());
        let flights = (repository.role() == Role::Secondary).then(|| {
            let quota = QuotaLimits { per_client: u64::MAX, all: u64::MAX };
            let limits = FlightLimits { max_flights: 8, quota };
            let spring = Arc::new(FromParent::new(shared.clone(), cancel.clone()));
            Flights::new(spring, Arc::new(SystemClock), limits, cancel.clone())
        });
        let supply: Arc<dyn Source> = Arc::new(Supply::new(Local::new(repository.clone()), flights.clone()));
        shared.give_from(&supply);
        flights.iter().for_each(|flights| shared.leave_to(flights));
        let endpoint = endpoint_below(place, &repository, shared.throttle.clone());
        let (address, key) = (endpoint.local_addr().unwrap(), endpoint.public_key());
        let endpoint = Arc::new(endpoint);
        let mut tasks = Vec::new();
        let server = Server::new(shared.clone(), Doorkeeper::new(shared.clone()));
        tasks.push(tokio::spawn(server.run(endpoint.clone(), cancel.clone())));
        let config =
            TendConfig { rescan_every: Duration::from_secs(3_600), trash_for: Duration::from_secs(3_600), hashers: 2 };
        let tend = Tend::new(repository.clone(), folder(), config, Arc::new(Semaphore::new(2)));
        tasks.push(tokio::spawn(tend.run(cancel.clone())));
        if repository.role() == Role::Main {
            tasks.push(tokio::spawn(heal_from_children(shared.clone(), cancel.clone(), || 0)));
        }
        if let Some(parent) = parent {
            let parent = Parent::new(shared.clone(), endpoint.clone(), parent, Arc::new(Notify::new()));
            tasks.push(tokio::spawn(parent.run(cancel.clone(), || 0)));
        }
        let _stop = cancel.clone().drop_guard();
        Self {
            repository,
            shared,
            address,
            key,
            name: name.to_owned(),
            supply,
            flights,
            endpoint,
            cancel,
            tasks,
            _stop,
        }
    }

    /// Follows a parent, as one that was started without.
    pub fn following(mut self, parent: ParentAddress) -> Self {
        let parent = Parent::new(self.shared.clone(), self.endpoint.clone(), parent, Arc::new(Notify::new()));
        self.tasks.push(tokio::spawn(parent.run(self.cancel.clone(), || 0)));
        self
    }

    /// What a host gets of a range, however that ends.
    pub async fn gives(&self, text: &str, range: Range<u64>) -> Given {
        give(self.supply.clone(), text.to_owned(), range).await
    }

    /// Stops and waits until everything is let go.
    pub async fn stop(self) {
        let Self { repository, shared, endpoint, cancel, tasks, supply, flights, .. } = self;
        cancel.cancel();
        if let Some(flights) = &flights {
            flights.stopped().await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        let mut changes = repository.changes();
        drop((repository, shared, endpoint, supply, flights));
        // The sender of changes is dropped after the databases are closed.
        let let_go = async { while changes.changed().await.is_ok() {} };
        tokio::time::timeout(PATIENCE, let_go).await.expect("the repository is let go");
        watchdog::check();
    }

    pub fn invite(&self, name: &str, via: Option<&TestNode>) -> Token {
        self.invite_with(name, via.unwrap_or(self), vec![folder()], 3_600)
    }

    pub fn invite_for(&self, name: &str, valid_seconds: u64) -> Token {
        self.invite_with(name, self, vec![folder()], valid_seconds)
    }

    pub fn invite_to(&self, name: &str, folders: &[&str]) -> Token {
        let folders = folders.iter().map(|folder| FolderName::new(folder).unwrap()).collect();
        self.invite_with(name, self, folders, 3_600)
    }

    fn invite_with(&self, name: &str, parent: &TestNode, folders: Vec<FolderName>, valid_seconds: u64) -> Token {
        let invitation = Invitation {
            name: NodeName::new(name).unwrap(),
            site: SiteName::new(name).unwrap(),
            folders,
            addresses: vec![NodeAddress::new(&parent.address.to_string()).unwrap()],
            parent: parent.key,
            valid_seconds,
        };
        let seed = format!("{name} {valid_seconds} {}", self.key);
        let text = invite(&self.repository, invitation, *blake3::hash(seed.as_bytes()).as_bytes()).unwrap();
        Token::parse(&text, 0).unwrap()
    }

    /// A connection to another node beside the node's own, as a member.
    pub async fn connect_to(&self, other: &TestNode) -> quinn::Connection {
        self.endpoint.connect(other.address, other.key, Purpose::Member).await.unwrap()
    }

    /// What another node says to a request for this content.
    pub async fn ask_for(&self, other: &TestNode, root: Root) -> Option<Frame> {
        let connection = self.connect_to(other).await;
        let (send, receive) = connection.open_bi().await.unwrap();
        let items = vec![GetItem { root, ranges: vec![] }];
        FrameWriter::new(send).write_frame(Get { items }).await.unwrap();
        FrameReader::new(receive).read_frame().await.unwrap()
    }

    /// Makes a main a member of its own line, as the daemon does.
    pub fn enrol(&self) {
        let member = MemberRecord {
            key: self.key,
            name: NodeName::new(&self.name).unwrap(),
            site: SiteName::new(&self.name).unwrap(),
            folders: vec![folder()],
            addresses: vec![],
            role: Role::Main,
            joined_at: 0,
            expires_at: None,
        };
        self.repository.admit(&member).unwrap();
    }

    /// Reads a file again.
    pub async fn scrub(&self, text: &str) -> Scrubbed {
        let (repository, name) = (self.repository.clone(), name(text));
        let read = tokio::task::spawn_blocking(move || repository.scrub_file(&folder(), &name, &mut |_| true));
        read.await.unwrap().unwrap()
    }

    /// Content bytes that arrived here since start.
    pub fn received(&self) -> u64 {
        self.shared.received_bytes.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether an alarm stands whose words contain `text`.
    pub fn alarms(&self, text: &str) -> bool {
        self.repository.attention.standing().iter().any(|standing| standing.what.contains(text))
    }

    pub async fn raises(&self, text: &str) {
        wait(&format!("{} raises an alarm: {text}", self.name), || self.alarms(text).then_some(())).await;
    }

    /// What this node is as a parent.
    pub fn as_parent(&self, main: &TestNode) -> ParentAddress {
        let line = main.repository.line().unwrap();
        ParentAddress { addresses: vec![self.address.to_string()], key: self.key, line }
    }

    pub async fn holds_nothing_under(&self, text: &str) {
        let gone = || matches!(self.repository.find(&folder(), &name(text)).unwrap(), Found::Unknown).then_some(());
        wait(&format!("{} lets go of {text}", self.name), gone).await;
    }

    /// Waits until the secondary holds all that the main's state names.
    pub async fn catches_up_with(&self, main: &TestNode) {
        wait("the secondary has caught up", || {
            let (own, theirs) = (self.repository.head()?, main.repository.head()?);
            let same = own.head().roots == theirs.head().roots;
            let missing = self.repository.missing_after(&folder(), None, 1).unwrap();
            (same && missing.is_empty()).then_some(())
        })
        .await;
    }

    pub fn root_of(&self, text: &str) -> Option<Root> {
        match self.repository.find(&folder(), &name(text)).unwrap() {
            Found::Held { root, .. } => root,
            _ => None,
        }
    }

    pub async fn serves(&self, text: &str, bytes: &[u8]) {
        let wanted = Root::from(blake3::hash(bytes));
        wait(&format!("{} serves {text}", self.name), || (self.root_of(text) == Some(wanted)).then_some(())).await;
    }
}

/// What a host was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// All that it asked for.
    All(Vec<u8>),
    /// This much, and then the response ended short.
    Short(Vec<u8>),
    /// Nothing: it is to come back.
    NotYet,
    /// Nothing: nobody knows it.
    Unknown,
}

impl Given {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::All(bytes) | Self::Short(bytes) => bytes,
            Self::NotYet | Self::Unknown => &[],
        }
    }
}

/// Asks `source` as a host does.
pub async fn give(source: Arc<dyn Source>, text: String, range: Range<u64>) -> Given {
    let ask = Ask { folder: folder(), name: name(&text), client: Client::Host([192, 0, 2, 1].into()), describe: false };
    let growing = match source.find(&ask).await {
        Answer::Held(held) => {
            let mut bytes = vec![0; (range.end.min(held.size) - range.start) as usize];
            held.bytes.read_exact_at(&mut bytes, range.start).unwrap();
            return Given::All(bytes);
        }
        Answer::Growing(growing) => growing,
        Answer::NotYet { .. } | Answer::OverQuota { .. } => return Given::NotYet,
        Answer::Unknown => return Given::Unknown,
    };
    let (mut reader, mut given) = (growing.reader(range).unwrap(), Vec::new());
    while let Some(read) = reader.next().await {
        match read {
            Ok(bytes) => given.extend_from_slice(&bytes),
            Err(_) => return Given::Short(given),
        }
    }
    Given::All(given)
}

pub fn endpoint(place: &Place, repository: &Arc<Repository>) -> Endpoint {
    endpoint_below(place, repository, Throttle::unlimited(Arc::new(SystemClock)))
}

fn endpoint_below(place: &Place, repository: &Arc<Repository>, throttle: Throttle) -> Endpoint {
    let settings =
        EndpointSettings { congestion: Congestion::Cubic, admission: repository.clone(), clock: Arc::new(SystemClock) };
    let (any, key) = ("127.0.0.1:0".parse().unwrap(), TransportKey::generate(place.key));
    Endpoint::bind_below(&Lanes::here(), any, key, settings, throttle).unwrap()
}

/// Joins a place to a line; answers with what the daemon would keep.
pub async fn join(place: &Place, token: Token) -> ParentAddress {
    let parent = ParentAddress {
        addresses: token.addresses.iter().map(ToString::to_string).collect(),
        key: token.parent,
        line: token.line,
    };
    try_join(place, token).await.unwrap();
    parent
}

/// Asks to join; answers with what the parent says.
pub async fn try_join(place: &Place, token: Token) -> Result<wuasync::sync::frames::Joined, JoinError> {
    let repository = place.open(Role::Secondary);
    let endpoint = endpoint(place, &repository);
    let address = token.addresses[0].as_str().parse().unwrap();
    let connection = endpoint.connect(address, token.parent, Purpose::Join).await.unwrap();
    let request = Join {
        secret: token.secret,
        name: token.name,
        site: token.site,
        addresses: vec![],
        key: endpoint.public_key(),
    };
    let joined = join_over(&connection, request).await;
    endpoint.close(CloseCode::Done).await;
    joined
}

/// Polls a condition; the interval is short, the patience long.
pub async fn wait<T>(what: &str, ready: impl FnMut() -> Option<T>) -> T {
    wait_for(PATIENCE, what, ready).await
}

/// As [`wait`], for measurements.
pub async fn wait_long<T>(what: &str, ready: impl FnMut() -> Option<T>) -> T {
    wait_for(PATIENCE * 20, what, ready).await
}

async fn wait_for<T>(patience: Duration, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn files_below(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}
