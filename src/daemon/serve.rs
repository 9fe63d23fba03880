//! `wuasync serve`: the daemon from start to stop.

use super::{
    admin::{HostNames, read_only},
    arenas,
    config::Config,
    control::{BindControlError, ControlSocket},
    lock::LockError,
    node::{self, Node, StartError},
    rates::Rates,
    router::{self, Api},
    telemetry,
};
use crate::{
    base::chain::chain,
    repository::{OpenRepositoryError, OpenStateError},
};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

/// Why the daemon ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something is refused: rights, another daemon on the same state, a state of a newer version.
    #[error("{0}")]
    Refused(String),
    /// A folder, an address or a certificate is not what the configuration says.
    #[error("{0}")]
    Configuration(String),
    /// It could not be set up, or broke down.
    #[error("{0}")]
    Failed(String),
}

impl From<StartError> for ServeError {
    fn from(error: StartError) -> Self {
        let text = chain(&error);
        match error {
            StartError::Lock(LockError::Taken(_))
            | StartError::Open(OpenRepositoryError::State(OpenStateError::Newer { .. })) => Self::Refused(text),
            StartError::Lock(LockError::Io { .. })
            | StartError::Open(OpenRepositoryError::Folder { .. })
            | StartError::Listen { .. }
            | StartError::Sync(_)
            | StartError::Tls(_) => Self::Configuration(text),
            StartError::Open(_)
            | StartError::Repository(_)
            | StartError::State(_)
            | StartError::Parent(_)
            | StartError::Key(_)
            | StartError::Front(_)
            | StartError::Address(_) => Self::Failed(text),
        }
    }
}

impl From<BindControlError> for ServeError {
    fn from(error: BindControlError) -> Self {
        Self::Configuration(chain(&error))
    }
}

/// The one line of JSON on standard output when hosts are served and commands are heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Always `true`.
    pub ready: bool,
    /// Where hosts are served, plain listeners first.
    pub http: Vec<SocketAddr>,
    /// Where the API may be looked at.
    pub admin: Vec<SocketAddr>,
    /// The UDP address for other repositories.
    pub sync: SocketAddr,
    /// The control socket.
    pub control: PathBuf,
}

/// Runs the daemon until SIGTERM or SIGINT, on a runtime of its own.
pub fn serve(config: Config) -> Result<(), ServeError> {
    telemetry::start();
    arenas::limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| ServeError::Failed(format!("can't start threads: {error}")))?;
    runtime.block_on(run(config))
}

async fn run(config: Config) -> Result<(), ServeError> {
    for key in &config.not_in_effect {
        tracing::warn!(%key, "this setting has no effect in this version");
    }
    let control = config.control.clone();
    let admin_listen = config.admin.listen.clone();
    let node = Node::start(config).await?;
    let tasks = TaskTracker::new();
    let rates = Arc::new(Rates::default());
    tasks.spawn(rates.clone().run(node.clone()));
    let api = Api { node: node.clone(), rates };
    let socket = ControlSocket::bind(&control).await?;
    tasks.spawn(socket.serve(router::all(api.clone()).fallback(router::unknown), node.stopping().clone()));
    let admin = serve_admin(&admin_listen, &api, &tasks)?;
    let sync = node.endpoint.local_addr().map_err(StartError::Address)?;
    say_ready(&Ready { ready: true, http: node.http.clone(), admin, sync, control });
    until_told_to_stop(&node).await;
    node.stop().await;
    tasks.close();
    tasks.wait().await;
    tracing::info!("stopped");
    Ok(())
}

fn serve_admin(listen: &[SocketAddr], api: &Api, tasks: &TaskTracker) -> Result<Vec<SocketAddr>, ServeError> {
    let mut bound = Vec::new();
    for address in listen {
        let failed = |source: io::Error| StartError::Listen { key: "admin.listen", address: *address, source };
        let listener = node::listen("admin.listen", *address)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        bound.push(listener.local_addr().map_err(StartError::Address)?);
        let public = api.node.config.http.public_url.as_ref().map(|url| url.host().to_owned());
        let names = HostNames::new(listen, public.as_deref());
        let router = read_only(router::reads(api.clone()).fallback(router::unknown), names);
        let stop = api.node.stopping().clone();
        tasks.spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await });
    }
    Ok(bound)
}

/// Whoever started the daemon may not listen: then nobody misses the line.
fn say_ready(ready: &Ready) {
    if let Ok(line) = serde_json::to_string(ready) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
    tracing::info!(http = ?ready.http, sync = %ready.sync, control = %ready.control.display(), "ready");
}

async fn until_told_to_stop(node: &Node) {
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals else {
        tracing::error!("the system gives no signals; the daemon can only be killed");
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            _ = hangup.recv() => node.reload(),
        }
    }
}
