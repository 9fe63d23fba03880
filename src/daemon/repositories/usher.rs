//! Sends hosts to nearer repositories, where that is switched on, and lets WAPT's probe of a secondary fail that
//! lacks too much, so that its agents' rules lead them elsewhere.

use super::{World, world::Wanted};
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
        name::FileName,
        nearest::{Holds, Host, RepositoryUrl},
    },
    front::usher::{MARK, Passage, Usher, Way},
    policy::{
        nearest::Served,
        redirect::{self, Candidate, is_sent},
    },
    repository::RepositoryError,
};
use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// How often repositories are probed.
const PROBE_EVERY: Duration = Duration::from_secs(20);
/// Probes at one time.
const PROBES: usize = 32;
/// A host that asks again within this time was not served where it was sent.
const SENT_FOR: Duration = Duration::from_secs(600);
/// Most hosts that were sent and are remembered.
const MAX_SENT: usize = 20_000;
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

/// A repository that answered.
struct Probe {
    at: Instant,
    addresses: Vec<IpAddr>,
}

/// Knows where files are answered.
pub(in crate::daemon) struct SiteUsher {
    world: Arc<World>,
    name: String,
    sends: Option<AgentClient>,
    is_probed_for_lag: bool,
    probes: Mutex<BTreeMap<RepositoryUrl, Probe>>,
    sent: Mutex<BTreeMap<(IpAddr, FileName), Instant>>,
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
            probes: Mutex::default(),
            sent: Mutex::default(),
        })))
    }

    /// As hosts' listeners know it.
    pub(in crate::daemon) fn as_usher(self: Arc<Self>) -> Arc<dyn Usher> {
        self
    }

    /// Probes repositories until `cancel`.
    pub(in crate::daemon) async fn run(self: Arc<Self>, cancel: CancellationToken) {
        if self.sends.is_none() {
            return;
        }
        let mut every = tokio::time::interval(PROBE_EVERY);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = every.tick() => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.clone().probe_all() => {}
            }
        }
    }

    async fn probe_all(self: Arc<Self>) {
        let world = self.world.clone();
        let Ok(Ok(view)) = tokio::task::spawn_blocking(move || world.view()).await else { return };
        let others = (0..view.lineup.len()).filter(|at| *at != view.own);
        let urls = others.filter_map(|at| view.lineup.get(at)?.url.clone());
        let (room, mut probes) = (Arc::new(Semaphore::new(PROBES)), JoinSet::new());
        for url in urls {
            let (usher, room) = (self.clone(), room.clone());
            probes.spawn(async move {
                let _one = room.acquire().await;
                usher.probe(url).await;
            });
        }
        while probes.join_next().await.is_some() {}
        let now = self.world.repository.clock().monotonic();
        lock(&self.sent).retain(|_, at| now.saturating_duration_since(*at) < SENT_FOR);
    }

    async fn probe(&self, url: RepositoryUrl) {
        let Some(client) = &self.sends else { return };
        let place = Probed { file_url: format!("{url}/healthz"), url: url.to_string(), name: None, proxy: None };
        let answered = client.probe(&place).await;
        let addresses = addresses_of(&url).await;
        let at = self.world.repository.clock().monotonic();
        match answered {
            Ok(_) => _ = lock(&self.probes).insert(url, Probe { at, addresses }),
            Err(fault) => {
                tracing::debug!(%url, %fault, "no host is sent there");
                lock(&self.probes).remove(&url);
            }
        }
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
        let key = (passage.client, passage.file.name.clone());
        let was_sent = lock(&self.sent).get(&key).is_some_and(|at| now.saturating_duration_since(*at) < SENT_FOR);
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
        let probes = lock(&self.probes);
        let probe = probes.get(url);
        let to = Candidate {
            is_own: at == view.own,
            has_file: holds == Holds::Yes,
            silent_seconds: standing.silent_seconds.unwrap_or(u64::MAX),
            is_encrypted: url.is_https(),
            probed_seconds: probe.map(|probe| now.saturating_duration_since(probe.at).as_secs()),
            addresses: probe.map_or(&[], |probe| &probe.addresses),
        };
        if !is_sent(&asked, &to) {
            return Ok(None);
        }
        let mut sent = lock(&self.sent);
        if sent.len() >= MAX_SENT {
            return Ok(None);
        }
        sent.insert(key, now);
        Ok(Some(format!("{}?{MARK}={}", url.of_file(&wanted.folder, &wanted.name), self.name)))
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
    Ok(AgentClient::new(&authorities)?)
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
