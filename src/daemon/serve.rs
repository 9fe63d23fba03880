//! `wuasync serve`: the daemon from start to stop.

use super::{
    admin::{HostNames, read_only},
    api::ErrorCode,
    arenas,
    config::Config,
    control::{BindControlError, ControlSocket, check_unoccupied, deadline},
    live::ReadConfig,
    node::{self, Node, StartError},
    rates::Rates,
    router::{self, Api},
    service,
    sockets::Inherited,
    telemetry,
};
use crate::base::chain::chain;
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
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
    /// Told twice to stop, it did not wait for what was under way.
    #[error("stopped at once by a second signal; open connections were cut")]
    Interrupted,
}

impl From<StartError> for ServeError {
    fn from(error: StartError) -> Self {
        let text = chain(&error);
        match error.code() {
            ErrorCode::Refused => Self::Refused(text),
            ErrorCode::Invalid => Self::Configuration(text),
            ErrorCode::Unknown | ErrorCode::Failed => Self::Failed(text),
        }
    }
}

impl From<BindControlError> for ServeError {
    fn from(error: BindControlError) -> Self {
        let text = chain(&error);
        match error {
            BindControlError::Occupied(_) | BindControlError::Denied { .. } => Self::Refused(text),
            BindControlError::NotASocket(_) | BindControlError::Io { .. } => Self::Configuration(text),
        }
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

/// Runs the daemon until SIGTERM or SIGINT, on a runtime of its own. On SIGHUP it reads its configuration again.
pub fn serve(config: Config, read_again: ReadConfig) -> Result<(), ServeError> {
    telemetry::start();
    arenas::limit();
    // After the process started itself again, to which it hands sockets on; before there are threads, as it takes
    // what it read out of the environment.
    let inherited = Inherited::from_environment();
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| ServeError::Failed(format!("can't start threads: {error}")))?;
    let ended = runtime.block_on(run(config, read_again, inherited));
    if matches!(ended, Err(ServeError::Interrupted)) {
        // What still blocks is not waited for.
        runtime.shutdown_background();
    }
    ended
}

/// Connections and readers need descriptors: as many as the system lets this user have, not the few that a shell
/// begins with.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, current = ?limit.current, "the limit of open files can't be raised");
    }
}

async fn run(config: Config, read_again: ReadConfig, inherited: Inherited) -> Result<(), ServeError> {
    for key in &config.not_in_effect {
        tracing::warn!(%key, "this setting has no effect in this version");
    }
    // Before anything else: a signal during the start is heard at its end.
    let mut signals =
        Signals::listen().map_err(|error| ServeError::Failed(format!("can't listen to signals: {error}")))?;
    let control = config.control.clone();
    // Before a state folder is made or changed for a daemon that can't be.
    check_unoccupied(&control).await?;
    let admin_listen = config.admin.listen.clone();
    let node = Node::start(config, inherited).await?;
    node.read_config.set(read_again).ok();
    let tasks = TaskTracker::new();
    let rates = Arc::new(Rates::default());
    tasks.spawn(rates.clone().run(node.clone()));
    let api = Api { node: node.clone(), rates };
    let socket = ControlSocket::bind(&control).await?;
    tasks.spawn(socket.serve(router::all(api.clone()).fallback(router::unknown), node.stopping().clone()));
    let admin = serve_admin(&admin_listen, &api, &tasks)?;
    let sync = node.endpoint.local_addr().map_err(StartError::Address)?;
    tasks.spawn(service::keep_telling(node.clone(), api.rates.clone()));
    say_ready(&Ready { ready: true, http: node.http.clone(), admin, sync, control });
    signals.until_told_to_stop(&node).await;
    service::tell_stopping();
    let end = async {
        node.stop().await;
        tasks.close();
        tasks.wait().await;
    };
    tokio::select! {
        () = end => {}
        () = signals.stop() => return Err(ServeError::Interrupted),
    }
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
        let server = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tasks.spawn(async move {
            tokio::select! {
                _ = server => {}
                () = deadline(stop) => {}
            }
        });
    }
    Ok(bound)
}

/// Whoever started the daemon may not listen: then nobody misses the line.
fn say_ready(ready: &Ready) {
    if let Ok(line) = serde_json::to_string(ready) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
    service::tell_ready();
    tracing::info!(http = ?ready.http, sync = %ready.sync, control = %ready.control.display(), "ready");
}

/// What the system tells the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn until_told_to_stop(&mut self, node: &Node) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    service::tell_reloading();
                    node.reload();
                    service::tell_ready();
                }
            }
        }
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
