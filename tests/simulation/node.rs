//! One node of the simulated network: the product's own parts, on a folder of its own.

use super::{disk::Hasty, draw::Draw, wire::Socket};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use wuasync::{
    base::clock::Clock,
    domain::{
        key::{LineKey, NodeKey},
        member::Role,
        name::FolderName,
    },
    repository::{DeletionCap, FolderConfig, Repository, RepositoryConfig, Tend, TendConfig},
    sync::{
        endpoint::{Carrier, Endpoint, EndpointSettings},
        path::ORDINARY_PAYLOAD_BYTES,
        pull::{Parent, ParentAddress},
        serve::{Doorkeeper, Server},
        shared::Shared,
        tls::TransportKey,
        transport::Congestion,
    },
};

/// Where every story begins, in milliseconds since 1970 UTC.
pub const BEGIN_MS: u64 = 1_790_000_000_000;
/// The UDP port of every node.
pub const PORT: u16 = 4_443;
/// Nothing tells a node what happens in its folder but its own rescans.
const RESCAN_MAIN: Duration = Duration::from_secs(3);
const RESCAN_SECONDARY: Duration = Duration::from_secs(12);
/// No story deletes so much that somebody has to be asked.
const NO_CAP: DeletionCap = DeletionCap { max_percent: 100, min_files: 1_000 };

/// What a node is, whether it runs or not.
#[derive(Clone)]
pub struct Plan {
    pub name: String,
    pub seed: u64,
    /// Its place among the nodes; 0 is the main.
    pub number: usize,
    pub root: PathBuf,
    /// Whom it follows: the name and the key; none on the main.
    pub parent: Option<(String, NodeKey)>,
}

/// What a running node shows.
#[derive(Default)]
pub struct Running {
    pub repository: Option<Arc<Repository>>,
    pub shared: Option<Arc<Shared>>,
}

pub type Slot = Arc<Mutex<Running>>;

pub fn lock(slot: &Slot) -> MutexGuard<'_, Running> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn folder() -> FolderName {
    FolderName::new("waptwua").unwrap()
}

/// The runtime's time, which is the network's.
pub struct VirtualClock {
    begin_ms: u64,
    begun: tokio::time::Instant,
}

impl VirtualClock {
    /// Within a running node.
    fn start() -> Self {
        let since = turmoil::sim_elapsed().unwrap_or_default();
        Self { begin_ms: BEGIN_MS + since.as_millis() as u64, begun: tokio::time::Instant::now() }
    }
}

impl Clock for VirtualClock {
    fn unix_ms(&self) -> u64 {
        self.begin_ms + self.begun.elapsed().as_millis() as u64
    }

    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl Plan {
    pub fn folder(&self) -> PathBuf {
        self.root.join("www/waptwua")
    }

    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub fn role(&self) -> Role {
        if self.parent.is_none() { Role::Main } else { Role::Secondary }
    }

    pub fn transport_key(&self) -> TransportKey {
        TransportKey::generate([self.number as u8 + 1; 32])
    }

    pub fn open(&self, clock: Arc<dyn Clock>) -> Arc<Repository> {
        let config = RepositoryConfig {
            role: self.role(),
            state_dir: self.state(),
            folders: vec![FolderConfig { name: folder(), path: self.folder(), staging: None }],
            deletion_cap: NO_CAP,
            log_limit: wuasync::repository::LogLimit::default(),
            disk_reserve_bytes: 0,
        };
        let mut draw = Draw::new(self.seed ^ clock.unix_ms(), self.number as u64);
        let mut random = |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| *byte = draw.next() as u8);
        Arc::new(Repository::open(Arc::new(Hasty::default()), clock, &config, &mut random).unwrap())
    }

    /// Lives until the simulation drops it.
    pub async fn live(self, line: LineKey, slot: Slot) -> turmoil::Result {
        let clock = Arc::new(VirtualClock::start());
        let mut draw = Draw::new(self.seed ^ clock.unix_ms(), 1_000 + self.number as u64);
        let repository = self.open(clock.clone());
        let shared = Shared::new(repository.clone(), self.name.clone());
        let seed: Vec<u8> = (0..32).map(|_| draw.next() as u8).collect();
        let carrier = Carrier {
            socket: Arc::new(Socket::bind(PORT).await?),
            runtime: Arc::new(quinn::TokioRuntime),
            seed: seed.try_into().ok(),
            payload: |_| ORDINARY_PAYLOAD_BYTES,
        };
        let settings = EndpointSettings { congestion: Congestion::Cubic, admission: repository.clone(), clock };
        let endpoint = Arc::new(Endpoint::over(carrier, self.transport_key(), settings)?);
        *lock(&slot) = Running { repository: Some(repository.clone()), shared: Some(shared.clone()) };
        let server = Server::new(shared.clone(), Doorkeeper::new(shared.clone()));
        let never = CancellationToken::new();
        tokio::spawn(server.run(endpoint.clone(), never.clone()));
        let rescan_every = if self.parent.is_none() { RESCAN_MAIN } else { RESCAN_SECONDARY };
        let config = TendConfig { rescan_every, trash_for: Duration::from_secs(3_600), hashers: 2 };
        let tend = Tend::new(repository, folder(), config, Arc::new(Semaphore::new(2))).unwatched();
        tokio::spawn(tend.run(never.clone()));
        if let Some((parent, key)) = &self.parent {
            let addresses = vec![format!("{}:{PORT}", turmoil::lookup(parent.as_str()))];
            let address = ParentAddress { addresses, key: *key, line };
            let parent = Parent::new(shared, endpoint, address, Arc::new(Notify::new()));
            tokio::spawn(parent.run(never, move || draw.next()));
        }
        std::future::pending().await
    }
}
