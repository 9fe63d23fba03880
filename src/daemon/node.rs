//! One node from configuration to running parts, and its orderly end.

use super::{
    api::ErrorCode,
    cleanup::{cleanup, note_asked},
    config::{self, Config, Tls},
    hosts::{HostReports, Taking},
    jobs::{Runnable, registry},
    live::{Live, ReadConfig},
    lock::{LockError, StateLock},
    mirroring,
    parent_file::{ParentFile, ParentFileError},
    random,
    refresh::{edition_desk, refresh_cab},
    repositories::{self, HostsNearest, SiteUsher, StartUsherError, World},
    rules::follow_ini,
    sockets::{ForAddress, Inherited},
    upstream::open_upstream,
    wapt_server,
};
use crate::{
    base::{
        chain::chain,
        clock::{SharedClock, SystemClock},
        throttle::Throttle,
    },
    domain::{
        key::NodeKey,
        member::{MemberRecord, Role},
    },
    front::{
        api::Apis,
        counters::FrontCounters,
        handler::Front,
        server::{FrontConfig, Listener, Server as FrontServer, StartServerError},
        tls::{PemTexts, ReloadTlsError, TlsReloader},
        usher::Usher,
    },
    jobs::{AskAgain, Cleanup, EditionDesk, Jobs, Pull, RefreshCab, ScanLimits, ScanWants},
    repository::{
        Alarm, DeletionCap, FolderConfig, LogLimit, OpenRepositoryError, OpenStateError, Repository, RepositoryConfig,
        RepositoryError, Scrub, SmallFileError, Tend, TendConfig,
    },
    store::{disk::real::RealDisk, layout},
    supply::{
        Asked, FlightLimits, Flights, QuotaLimits, Remembering, Supply, local::Local, source::Source, spring::Spring,
    },
    sync::{
        close::CloseCode,
        endpoint::{BindError, Endpoint, EndpointSettings},
        lanes::Lanes,
        pull::{FromParent, Parent, ParentAddress, carry_askings, carry_reports, heal_from_children},
        reports::ReportSink,
        serve::{Doorkeeper, Server},
        shared::Shared,
        tls::{LoadKeyError, TransportKey},
        transport::Congestion,
    },
    upstream::{FromUpstream, SetupError, Upstream},
};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Signed states older than a day show as stale; a fresh signature every ten minutes keeps them young.
const SIGN_AGAIN_EVERY: Duration = Duration::from_secs(600);
/// How often a tree is compared with its rows although the watcher reported nothing.
const RESCAN_EVERY: Duration = Duration::from_secs(3_600);
/// How long parts may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(35);

/// A node that can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another daemon has its state.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A restore was cut short: what is there would sign a line of its own.
    #[error("a restore into {} was cut short; run it again with --replace", .0.display())]
    HalfRestored(PathBuf),
    /// Its folders or its state.
    #[error(transparent)]
    Open(#[from] OpenRepositoryError),
    /// Its rows.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Its small files.
    #[error(transparent)]
    State(#[from] SmallFileError),
    /// What joining taught.
    #[error(transparent)]
    Parent(#[from] ParentFileError),
    /// Its transport key.
    #[error(
        "keys/transport.pem in the state folder is damaged: restore it from the backup, or remove it: the node gets \
         another key, and it and all that pull from it must be paired anew"
    )]
    Key(#[from] LoadKeyError),
    /// Its UDP port.
    #[error("sync.listen{}", sync_cure(.0))]
    Sync(#[from] BindError),
    /// A TCP port.
    #[error("{key}: can't listen on {address}{}", listen_cure(*.address, .source, "-t"))]
    Listen {
        /// Which setting.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Certificates.
    #[error("{files}")]
    Tls {
        /// The setting and its file, or both files that do not fit each other.
        files: String,
        /// What is wrong.
        source: ReloadTlsError,
    },
    /// The way to Microsoft.
    #[error(transparent)]
    Upstream(#[from] SetupError),
    /// Threads for connections.
    #[error("starting threads for connections")]
    Threads(#[source] io::Error),
    /// What hosts are sent by.
    #[error("nearest.ca")]
    Usher(#[from] StartUsherError),
    /// Hosts' listeners.
    #[error("starting the listeners for hosts")]
    Front(#[from] StartServerError),
    /// The socket's own address.
    #[error("asking for the address of a listener")]
    Address(#[source] io::Error),
}

/// What would help where an address can't be listened on; `kind` is what `ss` calls the sockets.
fn listen_cure(address: SocketAddr, error: &io::Error, kind: &str) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::PermissionDenied if port < 1024 => format!(
            " (port {port} is below 1024: have systemd open it with `systemctl enable --now wuasync.socket`, let every user \
             have it with `sysctl net.ipv4.ip_unprivileged_port_start={port}`, or set another port)"
        ),
        io::ErrorKind::AddrInUse => {
            format!(
                " (another program has port {port}: `ss -lnp {kind} sport = :{port}` names it; stop it or set another port)"
            )
        }
        io::ErrorKind::AddrNotAvailable => format!(" (no interface of this machine has {})", address.ip()),
        _ => String::new(),
    }
}

fn sync_cure(error: &BindError) -> String {
    match error {
        BindError::Socket { address, source } => listen_cure(*address, source, "-u"),
        _ => String::new(),
    }
}

impl StartError {
    /// What kind of mistake it is.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::HalfRestored(_)
            | Self::Lock(LockError::Taken(_))
            | Self::Open(OpenRepositoryError::State(
                OpenStateError::Newer { .. }
                | OpenStateError::LineKeyMissing { .. }
                | OpenStateError::OtherLineKey { .. },
            )) => ErrorCode::Refused,
            Self::Lock(LockError::Io { .. } | LockError::Make { .. })
            | Self::Open(OpenRepositoryError::Folder { .. })
            | Self::Listen { .. }
            | Self::Sync(_)
            | Self::Upstream(SetupError::Origin | SetupError::Proxy)
            | Self::Usher(_)
            | Self::Tls { .. } => ErrorCode::Invalid,
            Self::Open(_)
            | Self::Repository(_)
            | Self::State(_)
            | Self::Parent(_)
            | Self::Key(_)
            | Self::Threads(_)
            | Self::Upstream(_)
            | Self::Front(_)
            | Self::Address(_) => ErrorCode::Failed,
        }
    }
}

/// A running node.
pub(super) struct Node {
    /// What was configured.
    pub config: Config,
    /// Bytes and rows.
    pub repository: Arc<Repository>,
    /// Connections.
    pub shared: Arc<Shared>,
    /// The QUIC endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Where hosts are served.
    pub http: Vec<SocketAddr>,
    /// What hosts were served.
    pub counters: Arc<FrontCounters>,
    /// What reads every file again.
    pub scrub: Arc<Scrub>,
    /// What is being fetched because somebody asked; only on a node that may fetch.
    pub flights: Option<Arc<Flights>>,
    /// What others are given from.
    _supply: Arc<dyn Source>,
    /// What takes reports of hosts.
    _reports: Arc<dyn ReportSink>,
    /// What fetches wanted files; only on a main that may fetch.
    pub scan_wants: Option<Arc<ScanWants>>,
    /// What reads the edition.
    pub edition_desk: Option<Arc<EditionDesk>>,
    /// What keeps the edition fresh; only on a main that may fetch.
    pub refresh_cab: Option<Arc<RefreshCab>>,
    /// What lets files go that no host needs.
    pub cleanup: Arc<Cleanup>,
    /// What runs when.
    pub jobs: Arc<Jobs>,
    /// When it started, in seconds since 1970 UTC.
    pub started_at: u64,
    /// What a reload changes.
    pub(super) live: watch::Sender<Live>,
    /// Reads the configuration again; set once.
    pub(super) read_config: OnceLock<ReadConfig>,
    /// Which repositories there are, and how they stand.
    pub world: Arc<World>,
    /// Who sends hosts elsewhere, where somebody does.
    pub usher: Option<Arc<SiteUsher>>,
    tls: Option<Arc<TlsReloader>>,
    wake_parent: Arc<Notify>,
    pulling: Mutex<Option<CancellationToken>>,
    cancel: CancellationToken,
    tasks: TaskTracker,
    front: Mutex<Option<FrontServer>>,
    lanes: Lanes,
    _lanes_run: DropGuard,
    _lock: StateLock,
}

impl Node {
    /// Starts every part; when it returns, hosts are served and members may connect.
    pub(super) async fn start(config: Config, inherited: Inherited) -> Result<Arc<Self>, StartError> {
        let lock = StateLock::take(&config.state_dir)?;
        if config.state_dir.join(layout::RESTORING).exists() {
            return Err(StartError::HalfRestored(config.state_dir));
        }
        let clock: SharedClock = Arc::new(SystemClock);
        let opened =
            Repository::open(Arc::new(RealDisk::new()), clock.clone(), &repository_config(&config), &mut random::fill)?;
        let repository = Arc::new(opened);
        let key = transport_key(&repository)?;
        let public = key.public();
        let shared = Shared::new(repository.clone(), config.name.to_string());
        let settings = EndpointSettings {
            congestion: congestion(config.sync.congestion),
            admission: repository.clone(),
            clock: clock.clone(),
        };
        let (lanes, lanes_run) = Lanes::start(cores()).map_err(StartError::Threads)?;
        shared.limit(config.bandwidth.limit.map(|limit| limit.bytes_per_second()));
        let throttle = shared.throttle.clone();
        let endpoint = Endpoint::bind_below(&lanes, config.sync.listen, key, settings, throttle.clone())?;
        let endpoint = Arc::new(endpoint);
        let cancel = CancellationToken::new();
        let tls = config.http.tls.clone().map(tls_reloader).transpose()?;
        let upstream = upstream(&config, clock.clone(), throttle).await?;
        let flights = flights(&config, &shared, upstream.clone(), cancel.clone());
        let edition_desk = edition_desk(&config, &repository);
        let refresh_cab = upstream.and_then(|upstream| refresh_cab(&config, edition_desk.as_ref(), upstream, &public));
        let supply: Arc<dyn Source> = Arc::new(Supply::new(Local::new(repository.clone()), flights.clone()));
        shared.give_from(&supply);
        if let Some(flights) = &flights {
            shared.leave_to(flights);
        }
        shared.mirror_as(mirroring::first_look(&config.mirror, &clock));
        let limits = ScanLimits { every: config.jobs.scan_wants, max_flights: config.limits.max_flights as usize };
        let scan_wants = flights.clone().filter(|_| config.role == Role::Main);
        let scan_wants =
            scan_wants.map(|flights| ScanWants::new(repository.clone(), flights, limits, config.name.clone()));
        let asked = Asked::new(clock.clone());
        let taking = Taking::new(repository.clone(), config.name.clone(), config.site.clone(), scan_wants.clone());
        let reports: Arc<dyn ReportSink> = taking.clone();
        shared.carry_reports_to(&reports);
        let remembering = Arc::new(Remembering::new(supply.clone(), asked.clone()));
        let world = World::new(shared.clone(), public, &config.nearest);
        let apis = Apis::new(vec![Arc::new(HostReports::new(taking)), Arc::new(HostsNearest(world.clone()))]);
        let usher = SiteUsher::new(&world, &config)?;
        let front = start_front(
            &config,
            listeners(&config, inherited, tls.as_ref(), &cancel)?,
            remembering,
            apis,
            usher.clone().map(SiteUsher::as_usher),
            clock.clone(),
            cancel.clone(),
        )?;
        let counters = front.counters();
        let busy = busy(shared.clone(), counters.clone());
        let scrub = Scrub::new(repository.clone(), config.jobs.scrub_every, busy, cancel.clone());
        let cleanup = cleanup(&config, &repository, flights.clone(), asked, &public);
        let wake_parent = Arc::new(Notify::new());
        let pull = (config.role == Role::Secondary)
            .then(|| Arc::new(Pull::new(shared.clone(), config.jobs.pull, wake_parent.clone())));
        let has = Runnable {
            scrub: scrub.clone(),
            scan_wants: scan_wants.clone(),
            refresh_cab: refresh_cab.clone(),
            cleanup: cleanup.clone(),
            pull,
        };
        let jobs = registry(config.jobs.by, &repository, has);
        let node = Arc::new(Self {
            http: front.addresses().to_vec(),
            counters,
            scrub,
            flights,
            _supply: supply,
            _reports: reports,
            scan_wants,
            edition_desk,
            refresh_cab,
            cleanup,
            jobs,
            world,
            usher,
            front: Mutex::new(Some(front)),
            started_at: clock.unix_seconds(),
            repository,
            shared,
            endpoint,
            tls,
            wake_parent,
            pulling: Mutex::default(),
            cancel,
            live: watch::Sender::new(Live::of(&config)),
            read_config: OnceLock::new(),
            tasks: TaskTracker::new(),
            lanes,
            _lanes_run: lanes_run,
            _lock: lock,
            config,
        });
        node.start_tasks()?;
        Ok(node)
    }

    fn start_tasks(self: &Arc<Self>) -> Result<(), StartError> {
        let server = Server::new(self.shared.clone(), Doorkeeper::new(self.shared.clone()));
        self.tasks.spawn_on(server.run(self.endpoint.clone(), self.cancel.clone()), self.lanes.first());
        let hashers = cores();
        let shared_hashers = Arc::new(Semaphore::new(hashers));
        for folder in self.repository.folder_names() {
            let config = TendConfig { rescan_every: RESCAN_EVERY, trash_for: self.config.cleanup.trash, hashers };
            let tend = Tend::new(self.repository.clone(), folder.clone(), config, shared_hashers.clone());
            self.tasks.spawn(tend.run(self.cancel.clone()));
        }
        for name in self.jobs.names() {
            self.tasks.spawn(self.jobs.clone().drive(name, self.cancel.clone()));
        }
        self.tasks.spawn(note_asked(self.cleanup.clone(), self.cancel.clone()));
        self.tasks.spawn(self.scrub.clone().run());
        self.tasks.spawn(repositories::keep(self.clone(), self.cancel.clone()));
        if let Some(usher) = &self.usher {
            self.tasks.spawn(usher.clone().run(self.cancel.clone()));
        }
        if let Some(scan_wants) = &self.scan_wants {
            self.tasks.spawn(scan_wants.clone().run(self.cancel.clone()));
        }
        if let Some(desk) = &self.edition_desk {
            self.tasks.spawn(desk.clone().run(self.cancel.clone()));
        }
        match self.config.role {
            Role::Main => {
                self.enrol_itself()?;
                if let Some(socket) = wapt_server::socket(&self.config.hosts) {
                    let (repository, scan_wants) = (self.repository.clone(), self.scan_wants.clone());
                    self.tasks.spawn(wapt_server::run(repository, socket, scan_wants, self.cancel.clone()));
                }
                self.tasks.spawn(heal_from_children(self.shared.clone(), self.cancel.clone(), random::number));
                self.tasks.spawn(sign_again(self.repository.clone(), self.cancel.clone()));
                if let Some(ini) = self.config.rules.ini.clone() {
                    let scan_wants = self.scan_wants.clone();
                    let on_change = move || scan_wants.iter().for_each(|scan_wants| scan_wants.look_at_hosts());
                    self.tasks.spawn(follow_ini(self.repository.clone(), ini, on_change, self.cancel.clone()));
                }
            }
            Role::Secondary => {
                self.tasks.spawn(carry_reports(self.shared.clone(), self.cancel.clone()));
                self.tasks.spawn(carry_askings(self.shared.clone(), self.key(), self.cancel.clone()));
                self.tasks.spawn(mirroring::run(self.clone()));
                if let Some(flights) = &self.flights {
                    let again =
                        AskAgain::new(self.repository.clone(), flights.clone(), self.shared.parent_connection());
                    self.tasks.spawn(again.run(self.cancel.clone()));
                }
                if let Some(file) = ParentFile::read(self.repository.state())? {
                    self.follow(file.parent);
                }
            }
        }
        Ok(())
    }

    /// Follows `parent`, in place of whoever was followed.
    pub(super) fn follow(self: &Arc<Self>, parent: ParentAddress) {
        let cancel = self.cancel.child_token();
        let before = lock(&self.pulling).replace(cancel.clone());
        if let Some(before) = before {
            before.cancel();
        }
        let parent = Parent::new(self.shared.clone(), self.endpoint.clone(), parent, self.wake_parent.clone());
        self.tasks.spawn_on(parent.run(cancel, random::number), self.lanes.first());
    }

    /// Tries the parent at once, whatever the back-off says.
    pub(super) fn wake_parent(&self) {
        self.wake_parent.notify_one();
    }

    /// This node's key.
    pub(super) fn key(&self) -> NodeKey {
        self.endpoint.public_key()
    }

    /// Over when the threads for connections have had a turn.
    pub(super) async fn lanes_turn(&self) {
        self.lanes.turn().await;
    }

    /// Stops what the daemon runs in the background when it is dropped or stopped.
    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Reads settings and certificates again.
    pub(super) fn reload(&self) {
        if let Some(read) = self.read_config.get() {
            self.read_settings_again(read);
        }
        if let Some(tls) = &self.tls {
            match (tls.reload(), &self.config.http.tls) {
                (Ok(()), _) => {
                    self.repository.attention.clear(&Alarm::CertificatesRefused);
                    tracing::info!("certificates were read again");
                }
                (Err(error), config) => {
                    let files = config.as_ref().map_or_else(String::new, |tls| files_of(tls, &error));
                    let what = format!("the old certificates stay: {files}: {}", chain(&error));
                    let cure = "put the right files there and send SIGHUP again";
                    self.repository.attention.raise(Alarm::CertificatesRefused, what, cure);
                }
            }
        }
    }

    /// Lets hosts finish, tells peers, and waits for every part, up to a deadline.
    pub(super) async fn stop(&self) {
        let front = lock(&self.front).take();
        let connections = front.as_ref().map_or(0, FrontServer::connections) + self.shared.children().len();
        tracing::info!("draining, {connections} connections");
        self.cancel.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(STOP_DEADLINE, async {
            if let Some(front) = front {
                front.stopped().await;
            }
            self.endpoint.close(CloseCode::ShuttingDown).await;
            if let Some(flights) = &self.flights {
                flights.stopped().await;
            }
            self.tasks.wait().await;
        });
        if ended.await.is_err() {
            tracing::warn!(parts = self.tasks.len(), "some connections did not end in time and are cut");
        }
    }

    /// The main is a member too: children of its secondaries know it by its row.
    fn enrol_itself(&self) -> Result<(), StartError> {
        let member = MemberRecord {
            key: self.key(),
            name: self.config.name.clone(),
            site: self.config.site.clone(),
            folders: self.repository.folder_names().cloned().collect(),
            addresses: self.config.sync.advertise.clone(),
            role: Role::Main,
            joined_at: self.started_at,
            expires_at: None,
        };
        let members = self.repository.members()?;
        let known = members.iter().find(|known| known.key == member.key);
        let unchanged =
            known.is_some_and(|known| MemberRecord { joined_at: known.joined_at, ..member.clone() } == *known);
        if !unchanged {
            self.repository.admit(&member)?;
        }
        Ok(())
    }
}

/// The way to Microsoft, where this node may go it.
async fn upstream(
    config: &Config,
    clock: SharedClock,
    throttle: Throttle,
) -> Result<Option<Arc<Upstream>>, StartError> {
    if config.role != Role::Main {
        return Ok(None);
    }
    let upstream = config.upstream.clone();
    let opened = tokio::task::spawn_blocking(move || open_upstream(&upstream, clock)).await;
    let opened = opened.map_err(|error| StartError::Threads(io::Error::other(error)))??;
    Ok(opened.map(|upstream| Arc::new(upstream.below(throttle))))
}

/// What is fetched because somebody asks, where this node may.
fn flights(
    config: &Config,
    shared: &Arc<Shared>,
    upstream: Option<Arc<Upstream>>,
    cancel: CancellationToken,
) -> Option<Arc<Flights>> {
    let limits = FlightLimits {
        max_flights: config.limits.max_flights as usize,
        quota: QuotaLimits { per_client: config.limits.miss_per_client_per_day, all: config.limits.misses_per_day },
    };
    let spring: Arc<dyn Spring> = match config.role {
        Role::Main => Arc::new(FromUpstream::new(shared.repository.clone(), upstream?, cancel.clone())),
        Role::Secondary => Arc::new(FromParent::new(shared.clone(), cancel.clone())),
    };
    Some(Flights::new(spring, shared.repository.clock().clone(), limits, cancel))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// What the repository is told of the configuration.
pub(super) fn repository_config(config: &Config) -> RepositoryConfig {
    let folders = config.folders.iter().map(|folder| FolderConfig {
        name: folder.name.clone(),
        path: folder.path.clone(),
        staging: folder.staging.clone(),
    });
    RepositoryConfig {
        role: config.role,
        state_dir: config.state_dir.clone(),
        folders: folders.collect(),
        disk_reserve_bytes: config.limits.disk_reserve,
        log_limit: LogLimit::default(),
        deletion_cap: DeletionCap {
            max_percent: config.cleanup.max_delete_percent,
            min_files: config.cleanup.max_delete_min_files,
        },
    }
}

/// The node's key, drawn at the first start.
pub(super) fn transport_key(repository: &Repository) -> Result<TransportKey, StartError> {
    let state = repository.state();
    if let Some(pem) = state.read_small(layout::TRANSPORT_KEY)? {
        return Ok(TransportKey::from_pem(&pem)?);
    }
    let key = TransportKey::generate(random::secret());
    state.write_small(layout::TRANSPORT_KEY, &key.to_pem())?;
    Ok(key)
}

/// The configured congestion control, as the transport calls it.
pub(super) fn congestion(configured: config::Congestion) -> Congestion {
    match configured {
        config::Congestion::Cubic => Congestion::Cubic,
        config::Congestion::NewReno => Congestion::NewReno,
        config::Congestion::Bbr => Congestion::Bbr,
    }
}

fn start_front(
    config: &Config,
    listeners: Vec<Listener>,
    source: Arc<dyn Source>,
    apis: Apis,
    usher: Option<Arc<dyn Usher>>,
    clock: SharedClock,
    cancel: CancellationToken,
) -> Result<FrontServer, StartError> {
    let trusted = config.http.trusted_proxies.clone();
    let is_trusted = Arc::new(move |address| trusted.iter().any(|network| network.contains(address)));
    let front = Front { source, health: Arc::new(serde_json::Map::new), apis, usher, is_trusted, clock };
    Ok(FrontServer::start(FrontConfig::default(), listeners, front, cancel)?)
}

/// Where hosts are served.
fn listeners(
    config: &Config,
    mut inherited: Inherited,
    tls: Option<&Arc<TlsReloader>>,
    cancel: &CancellationToken,
) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    for address in &config.http.listen {
        let socket = listen_or_take("http.listen", *address, &mut inherited)?;
        listeners.extend(socket.map(|socket| Listener { socket, tls: None }));
    }
    for address in config.http.tls.iter().flat_map(|tls| &tls.listen) {
        let socket = listen_or_take("http.tls.listen", *address, &mut inherited)?;
        listeners.extend(socket.map(|socket| Listener { socket, tls: tls.cloned() }));
    }
    inherited.close_rest(cancel);
    Ok(listeners)
}

/// A listener of systemd's, else one of our own; `None` where another setting's hears this address as well.
fn listen_or_take(
    key: &'static str,
    address: SocketAddr,
    inherited: &mut Inherited,
) -> Result<Option<TcpListener>, StartError> {
    match inherited.take(address) {
        ForAddress::Socket(socket) => Ok(Some(socket)),
        ForAddress::Covered => Ok(None),
        ForAddress::Nothing => listen(key, address).map(Some),
    }
}

/// Binds a TCP listener.
pub(super) fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { key, address, source })
}

/// Certificates as they are configured.
pub(super) fn tls_reloader(tls: Tls) -> Result<Arc<TlsReloader>, StartError> {
    let config = tls.clone();
    let load = move || {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        };
        Ok(PemTexts {
            certificates: read(&tls.cert)?,
            key: read(&tls.key)?,
            client_ca: tls.client_ca.as_ref().map(read).transpose()?,
        })
    };
    let reloader = TlsReloader::new(Box::new(load));
    reloader.map(Arc::new).map_err(|source| StartError::Tls { files: files_of(&config, &source), source })
}

/// The settings that an error is about, with their files.
fn files_of(tls: &Tls, error: &ReloadTlsError) -> String {
    let cert = || format!("http.tls.cert ({})", tls.cert.display());
    let key = || format!("http.tls.key ({})", tls.key.display());
    let client_ca = || {
        let path = tls.client_ca.as_ref().map(|path| path.display().to_string());
        format!("http.tls.client_ca ({})", path.unwrap_or_default())
    };
    match error {
        // Its cause names the file.
        ReloadTlsError::Read(_) => "http.tls".to_owned(),
        ReloadTlsError::Pem { what: "certificate", .. } => cert(),
        ReloadTlsError::Pem { what: "private key", .. } => key(),
        ReloadTlsError::Pem { .. } | ReloadTlsError::ClientCa(_) | ReloadTlsError::Verifier(_) => client_ca(),
        ReloadTlsError::Certificate(_) => format!("{} and {}", cert(), key()),
    }
}

/// Whether content moved to hosts or between repositories since this was asked before.
fn busy(shared: Arc<Shared>, counters: Arc<FrontCounters>) -> impl Fn() -> bool + Send + Sync {
    let seen = AtomicU64::new(0);
    move || {
        let moved = shared.received_bytes.load(Relaxed) + shared.sent_bytes.load(Relaxed) + counters.read().bytes;
        seen.swap(moved, Relaxed) != moved || !shared.transfers().is_empty()
    }
}

async fn sign_again(repository: Arc<Repository>, cancel: CancellationToken) {
    let mut every = tokio::time::interval(SIGN_AGAIN_EVERY);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = every.tick() => {
                let repository = repository.clone();
                let signed = tokio::task::spawn_blocking(move || repository.sign_again()).await;
                if let Ok(Err(error)) = signed {
                    tracing::error!(error = &error as &dyn std::error::Error, "the state can't be signed");
                }
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_can_not_be_listened_on_comes_with_its_cure() {
        let said = |address: &str, kind: io::ErrorKind| {
            let (address, source) = (address.parse().unwrap(), kind.into());
            StartError::Listen { key: "http.listen", address, source }.to_string()
        };
        let denied = said("0.0.0.0:80", io::ErrorKind::PermissionDenied);
        assert!(denied.contains("`sysctl net.ipv4.ip_unprivileged_port_start=80`"), "{denied}");
        assert!(!said("0.0.0.0:8080", io::ErrorKind::PermissionDenied).contains("sysctl"));
        let used = said("0.0.0.0:8080", io::ErrorKind::AddrInUse);
        assert!(used.contains("`ss -lnp -t sport = :8080`"), "{used}");
        let source = io::ErrorKind::AddrInUse.into();
        let used = StartError::from(BindError::Socket { address: "0.0.0.0:4443".parse().unwrap(), source }).to_string();
        assert!(used.starts_with("sync.listen (another program has port 4443: `ss -lnp -u"), "{used}");
    }
}
