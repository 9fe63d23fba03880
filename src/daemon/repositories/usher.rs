//! Sends hosts to nearer repositories, where that is switched on, and lets WAPT's probe of a secondary fail that
//! lacks too much, so that its agents' rules lead them elsewhere.

use super::{World, targets::Targets, world::Wanted};
use crate::{
    agent::{
        client::{AgentClient, ClientSetupError},
        course::Place as Probed,
    },
    base::future::BoxFuture,
    daemon::{
        config::{Config, Mode},
        node::lock,
    },
    domain::{
        member::Role,
        nearest::{Holds, Host, RepositoryUrl},
    },
    front::{
        request::FileRequest,
        usher::{MARK, Passage, Usher, Way},
    },
    policy::{
        nearest::Served,
        redirect::{self, Candidate, is_sent},
    },
    repository::RepositoryError,
};
use std::{
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How often repositories are probed.
const PROBE_EVERY: Duration = Duration::from_secs(20);
/// Between two rounds of probes of those in doubt, whoever raises it how often.
const DOUBT_REST: Duration = Duration::from_secs(1);
/// Probes at one time.
const PROBES: usize = 32;
/// What WAPT's agents look for to see whether a repository can be used.
const PROBED: (&str, &str) = ("wapt", "Packages");
/// The folder that has to be complete for it.
const USUAL_FOLDER: &str = "waptwua";
/// When an agent may look again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Why hosts can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum StartUsherError {
    /// A file of certificates can't be read.
    #[error("{}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificates can't be used.
    #[error(transparent)]
    Client(#[from] ClientSetupError),
}

/// Knows where files are answered.
pub(in crate::daemon) struct SiteUsher {
    world: Arc<World>,
    name: String,
    sends: Option<AgentClient>,
    is_probed_for_lag: bool,
    targets: Mutex<Targets>,
    doubt: Notify,
}

impl SiteUsher {
    /// `None` where every file is answered here.
    pub(in crate::daemon) fn new(world: &Arc<World>, config: &Config) -> Result<Option<Arc<Self>>, StartUsherError> {
        let sends = (config.nearest.redirect && config.role == Role::Main).then(|| client(config)).transpose()?;
        let is_probed_for_lag = config.role == Role::Secondary && config.mirror.mode == Mode::All;
        if sends.is_none() && !is_probed_for_lag {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self {
            world: world.clone(),
            name: config.name.to_string(),
            sends,
            is_probed_for_lag,
            targets: Mutex::default(),
            doubt: Notify::new(),
        })))
    }

    /// As hosts' listeners know it.
    pub(in crate::daemon) fn as_usher(self: Arc<Self>) -> Arc<dyn Usher> {
        self
    }

    /// How often a host was sent elsewhere, and how often one came back from there.
    pub(in crate::daemon) fn counts(&self) -> (u64, u64) {
        lock(&self.targets).counts
    }

    /// Probes repositories until `cancel`.
    pub(in crate::daemon) async fn run(self: Arc<Self>, cancel: CancellationToken) {
        if self.sends.is_some() {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = self.probe_for_ever() => {}
            }
        }
    }

    /// All of them every now and then, and those in doubt at once.
    async fn probe_for_ever(self: Arc<Self>) {
        let mut every = tokio::time::interval(PROBE_EVERY);
        loop {
            tokio::select! {
                _ = every.tick() => self.clone().probe_all(|_| true).await,
                () = self.doubt.notified() => {
                    self.clone().probe_all(|url| lock(&self.targets).is_doubted(url)).await;
                    tokio::time::sleep(DOUBT_REST).await;
                }
            }
        }
    }

    async fn probe_all(self: Arc<Self>, is_due: impl Fn(&RepositoryUrl) -> bool) {
        let world = self.world.clone();
        let Ok(Ok(view)) = tokio::task::spawn_blocking(move || world.view()).await else { return };
        let others = (0..view.lineup.len()).filter(|at| *at != view.own);
        let urls: Vec<_> = others.filter_map(|at| view.lineup.get(at)?.url.clone()).collect();
        lock(&self.targets).retain(&urls, self.world.repository.clock().monotonic());
        let (room, mut probes) = (Arc::new(Semaphore::new(PROBES)), JoinSet::new());
        for url in urls.into_iter().filter(is_due) {
            let (usher, room) = (self.clone(), room.clone());
            probes.spawn(async move {
                let _one = room.acquire().await;
                usher.probe(url).await;
            });
        }
        while probes.join_next().await.is_some() {}
    }

    async fn probe(&self, url: RepositoryUrl) {
        let Some(client) = &self.sends else { return };
        let begun = self.world.repository.clock().monotonic();
        let file = self.file_to_probe(&url).await;
        let file_url = match &file {
            Some(file) => self.marked(&url, file),
            None => format!("{url}/healthz"),
        };
        let place = Probed { file_url, url: url.to_string(), name: None, proxy: None };
        let answered = match file {
            Some(_) => client.gives(&place).await,
            None => client.probe(&place).await.map(drop),
        };
        let addresses = addresses_of(&url).await;
        let now = self.world.repository.clock().monotonic();
        match answered {
            Ok(()) => lock(&self.targets).on_answer(url, addresses, begun, now),
            Err(fault) => {
                tracing::debug!(%url, %fault, "no host is sent there");
                lock(&self.targets).on_fault(&url);
            }
        }
    }

    /// What hosts were sent there for, as long as the index names it.
    async fn file_to_probe(&self, url: &RepositoryUrl) -> Option<FileRequest> {
        let file = lock(&self.targets).file(url, self.world.repository.clock().monotonic())?;
        let (world, wanted) = (self.world.clone(), Wanted::new(file.folder.clone(), file.name.clone()));
        let named = tokio::task::spawn_blocking(move || world.file(&wanted, u64::MAX)).await;
        matches!(named, Ok(Ok(indexed)) if indexed.is_named).then_some(file)
    }

    /// Whoever is asked with the mark sends nobody on.
    fn marked(&self, url: &RepositoryUrl, file: &FileRequest) -> String {
        format!("{}?{MARK}={}", url.of_file(&file.folder, &file.name), self.name)
    }

    fn is_too_late(&self, passage: &Passage) -> bool {
        let is_probe = (passage.file.folder.as_str(), passage.file.name.as_str()) == PROBED;
        self.is_probed_for_lag && is_probe && self.is_behind()
    }

    fn is_behind(&self) -> bool {
        let known = self.world.shared.fleet.known();
        let own = known.get(&self.world.own).and_then(|own| {
            own.folders.iter().find(|(folder, _)| folder.as_str() == USUAL_FOLDER).map(|(_, holdings)| holdings)
        });
        let limits = &self.world.limits;
        own.is_some_and(|own| {
            limits.lag_files.is_some_and(|most| own.missing_files > most)
                || limits.lag_bytes.is_some_and(|most| own.missing_bytes > most)
        })
    }

    /// Where the host is sent, if it is.
    fn better(&self, passage: &Passage) -> Result<Option<String>, RepositoryError> {
        let now = self.world.repository.clock().monotonic();
        let key = (passage.client, passage.file.clone());
        let was_sent = lock(&self.targets).was_sent(&key, now);
        if was_sent {
            self.doubt.notify_one();
        }
        let asked = redirect::Passage {
            is_get: passage.is_get,
            is_immutable: passage.file.name.is_immutable(),
            is_marked: passage.is_marked,
            is_encrypted: passage.is_encrypted,
            was_sent,
            client: passage.client,
        };
        let wanted = Wanted::new(passage.file.folder.clone(), passage.file.name.clone());
        let (view, host) = (self.world.view()?, Host::seen_as(passage.client));
        let first = self.world.nearest_in(&view, &host, Some(&wanted), |nearest| {
            nearest.places.first().map(|place| match place.served {
                Served::By(at, holds) => (Some((at, holds)), place.rule().is_some_and(|rule| rule.proxy.is_some())),
                Served::At(_) => (None, false),
            })
        })?;
        let Some((Some((at, holds)), false)) = first else { return Ok(None) };
        let Some(standing) = view.lineup.get(at) else { return Ok(None) };
        let Some(url) = &standing.url else { return Ok(None) };
        let mut targets = lock(&self.targets);
        let answered = targets.answered(url, now);
        let to = Candidate {
            is_own: at == view.own,
            has_file: holds == Holds::Yes,
            silent_seconds: standing.silent_seconds.unwrap_or(u64::MAX),
            is_encrypted: url.is_https(),
            probed_seconds: answered.map(|(age, _)| age),
            addresses: answered.map_or(&[], |(_, addresses)| addresses),
        };
        let goes = is_sent(&asked, &to) && targets.on_sent(key, url, now);
        Ok(goes.then(|| self.marked(url, &passage.file)))
    }
}

impl Usher for SiteUsher {
    fn way(&self, passage: Passage) -> BoxFuture<'_, Way> {
        Box::pin(async move {
            if self.is_too_late(&passage) {
                return Way::NotNow(LOOK_AGAIN);
            }
            let may_be_sent = passage.is_get && passage.file.name.is_immutable() && !passage.is_marked;
            if self.sends.is_none() || !may_be_sent {
                return Way::Here;
            }
            match tokio::task::block_in_place(|| self.better(&passage)) {
                Ok(Some(url)) => Way::Elsewhere(url),
                Ok(None) => Way::Here,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a nearer repository can't be looked for"
                    );
                    Way::Here
                }
            }
        })
    }
}

fn client(config: &Config) -> Result<AgentClient, StartUsherError> {
    let read =
        |path: &PathBuf| std::fs::read(path).map_err(|source| StartUsherError::File { path: path.clone(), source });
    let authorities = config.nearest.ca.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(AgentClient::proving_each_time(&authorities)?)
}

/// Nobody is sent to itself.
async fn addresses_of(url: &RepositoryUrl) -> Vec<IpAddr> {
    let authority = url.as_str().split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    let has_port = authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    let port = if url.is_https() { 443 } else { 80 };
    let host = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    let found = tokio::net::lookup_host(host).await;
    found.map(|found| found.map(|address| address.ip().to_canonical()).collect()).unwrap_or_default()
}
