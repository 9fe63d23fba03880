//! Asks around: names, proxies, the parent over UDP, and listeners as a stock WAPT agent asks them.

use super::{
    gather::{DaemonFacts, reachable},
    https::{Https, NoAnswer},
};
use crate::{
    base::{
        chain::chain,
        clock::{Clock, SystemClock},
    },
    daemon::{config::Config, machine::Sockets, random},
    domain::key::NodeKey,
    store::layout,
    sync::{
        close::CloseCode,
        endpoint::{Endpoint, EndpointSettings},
        pull::ParentAddress,
        tls::{Admission, Purpose, TransportKey},
    },
};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

/// Who does not answer within it is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// A refusal comes at once after the handshake, a round trip later.
const VERDICT: Duration = Duration::from_secs(1);
/// Of a body so much is read: a sidecar has 40 bytes.
const MAX_BODY_BYTES: usize = 4 * 1024;

/// A web server that hosts ask, and what it answered to what an agent asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    /// Whose it is: `the daemon`.
    pub(super) who: &'static str,
    /// An address, or that of the web where it is asked over HTTPS.
    pub(super) place: String,
    /// When the certificate ends that it shows, in seconds since 1970 UTC.
    pub(super) ends: Option<u64>,
    /// HEAD `/wapt/Packages`: whether an agent takes the repository for one.
    pub(super) packages: Result<Answer, NoAnswer>,
    /// HEAD of the edition.
    pub(super) cab: Result<Answer, NoAnswer>,
    /// Its first byte.
    pub(super) first_byte: Result<Answer, NoAnswer>,
    /// GET of its `.sha1`.
    pub(super) sidecar: Result<Answer, NoAnswer>,
    /// The edition on this disk: its bytes, and its date as HTTP writes it.
    pub(super) on_disk: Option<(u64, String)>,
}

/// What matters of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) length: Option<u64>,
    pub(super) last_modified: Option<String>,
    pub(super) content_range: Option<String>,
    pub(super) body: Vec<u8>,
}

/// What is asked, and of whom.
pub(super) struct Asked {
    /// As `Host` says it.
    pub(super) host: String,
    pub(super) path: String,
}

/// How a web server is asked.
enum Way {
    Plain(SocketAddr),
    Https(Https),
}

/// The daemon's own listener, whoever has port 80 before it, and where hosts are sent if that is HTTPS.
pub(super) async fn sites(config: &Config, daemon: &DaemonFacts, sockets: &Sockets) -> Vec<Site> {
    let own = config.http.listen.iter().find(|address| address.port() != 0).map(reachable);
    let own = own.filter(|_| daemon.is_there());
    let is_own = config.http.listen.iter().any(|address| address.port() == 80);
    let before = (!is_own && sockets.has_tcp(80)).then(|| SocketAddr::from(([127, 0, 0, 1], 80)));
    let mut sites = Vec::new();
    for (who, address) in own.map(|own| ("the daemon", own)).into_iter().chain(before.map(|it| ("the web server", it)))
    {
        sites.push(site(who, address.to_string(), &Way::Plain(address), config).await);
    }
    const PUBLIC: &str = "the public address";
    match Https::of(config).filter(|_| daemon.is_there()) {
        None => {}
        Some(Ok(https)) => sites.push(site(PUBLIC, https.url().to_owned(), &Way::Https(https), config).await),
        Some(Err(error)) => sites.push(Site::unasked(PUBLIC, NoAnswer::Tls(error))),
    }
    sites
}

impl Site {
    fn unasked(who: &'static str, why: NoAnswer) -> Self {
        let none = || Err(why.clone());
        let (packages, cab, first_byte, sidecar) = (none(), none(), none(), none());
        Self { who, place: "http.public_url".to_owned(), ends: None, packages, cab, first_byte, sidecar, on_disk: None }
    }
}

async fn site(who: &'static str, place: String, way: &Way, config: &Config) -> Site {
    let folder = config.folders.iter().find(|folder| folder.name.as_str() == "waptwua").or(config.folders.first());
    let name = folder.map_or("waptwua", |folder| folder.name.as_str());
    let cab = format!("/{name}/wsusscn2.cab");
    let on_disk = folder.and_then(|folder| fs::metadata(folder.path.join("wsusscn2.cab")).ok());
    let on_disk = on_disk.and_then(|found| {
        // A date before 1970 has no form in HTTP.
        let modified = found.modified().ok().filter(|at| *at >= SystemTime::UNIX_EPOCH)?;
        Some((found.len(), httpdate::fmt_http_date(modified)))
    });
    let ends = match way {
        Way::Plain(_) => None,
        Way::Https(https) => timeout(PATIENCE, https.certificate_ends()).await.ok().flatten(),
    };
    Site {
        who,
        place,
        ends,
        packages: ask(way, Method::HEAD, "/wapt/Packages", None).await,
        cab: ask(way, Method::HEAD, &cab, None).await,
        first_byte: ask(way, Method::GET, &cab, Some("bytes=0-0")).await,
        sidecar: ask(way, Method::GET, &format!("{cab}.sha1"), None).await,
        on_disk,
    }
}

/// One request on a connection of its own.
async fn ask(way: &Way, method: Method, path: &str, range: Option<&str>) -> Result<Answer, NoAnswer> {
    match way {
        Way::Plain(address) => {
            let asked = Asked { host: address.to_string(), path: path.to_owned() };
            let stream = async { TcpStream::connect(address).await.map_err(|error| NoAnswer::of(&error)) };
            in_time(async { talk(stream.await?, method, asked, range).await }).await
        }
        Way::Https(https) => ask_https(https, method, path, range).await,
    }
}

/// The same over TLS.
pub(super) async fn ask_https(
    https: &Https,
    method: Method,
    path: &str,
    range: Option<&str>,
) -> Result<Answer, NoAnswer> {
    in_time(async { talk(https.connect().await?, method, https.asked(path), range).await }).await
}

async fn in_time<T>(asking: impl Future<Output = Result<T, NoAnswer>>) -> Result<T, NoAnswer> {
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(NoAnswer::Silent(late())))
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    method: Method,
    asked: Asked,
    range: Option<&str>,
) -> Result<Answer, NoAnswer> {
    let failed = |error: hyper::Error| NoAnswer::of(&error);
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(asked.path).header(header::HOST, asked.host);
    if let Some(range) = range {
        request = request.header(header::RANGE, range);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| NoAnswer::Silent(error.to_string()))?;
    let answer = requests.send_request(request).await.map_err(failed)?;
    let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut found = Answer {
        status: answer.status().as_u16(),
        length: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        last_modified: text(header::LAST_MODIFIED),
        content_range: text(header::CONTENT_RANGE),
        body: Vec::new(),
    };
    // A whole cabinet in answer to one byte is not read.
    if let Ok(body) = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect().await {
        found.body = body.to_bytes().to_vec();
    }
    connection.abort();
    Ok(found)
}

/// The addresses of a name.
pub(super) async fn look_up(host: &str) -> Result<Vec<IpAddr>, String> {
    let looked_up = timeout(PATIENCE, tokio::net::lookup_host((host, 0))).await.map_err(|_| late())?;
    let found: Vec<_> = looked_up.map_err(|error| error.to_string())?.map(|address| address.ip()).collect();
    if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
}

/// Whether somebody takes a TCP connection at `host:port`.
pub(super) async fn reach(place: &str) -> Result<(), String> {
    let connected = timeout(PATIENCE, TcpStream::connect(place)).await.map_err(|_| late())?;
    connected.map(drop).map_err(|error| error.to_string())
}

fn late() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

/// Nobody may connect to a doctor.
struct Nobody;

impl Admission for Nobody {
    fn refusal(&self, _key: &NodeKey) -> Option<CloseCode> {
        Some(CloseCode::NotMember)
    }
}

/// Shakes hands with the parent at each of its addresses: the round trip in milliseconds, or what stands against it.
///
/// As this node itself where its key may be read, else as a stranger who wants to join and says nothing: that proves the
/// way there just as well.
pub(super) async fn parent(parent: &ParentAddress, config: &Config) -> Vec<(String, Result<u64, String>)> {
    let own = fs::read(config.state_dir.join(layout::TRANSPORT_KEY));
    let own = own.ok().and_then(|pem| TransportKey::from_pem(&pem).ok());
    let purpose = if own.is_some() { Purpose::Member } else { Purpose::Join };
    let key = own.unwrap_or_else(|| TransportKey::generate(random::secret()));
    let settings = EndpointSettings {
        congestion: crate::daemon::node::congestion(config.sync.congestion),
        admission: Arc::new(Nobody),
        clock: Arc::new(SystemClock),
    };
    let any = if config.sync.listen.is_ipv6() {
        SocketAddr::from(([0_u16; 8], 0))
    } else {
        SocketAddr::from(([0, 0, 0, 0], 0))
    };
    let endpoint = match Endpoint::bind(any, key, settings) {
        Ok(endpoint) => endpoint,
        Err(error) => return vec![(any.to_string(), Err(chain(&error)))],
    };
    let mut asked = Vec::new();
    for place in &parent.addresses {
        asked.push((place.clone(), shake_hands(&endpoint, place, parent.key, purpose).await));
    }
    asked
}

async fn shake_hands(endpoint: &Endpoint, place: &str, key: NodeKey, purpose: Purpose) -> Result<u64, String> {
    let found: io::Result<Vec<_>> = tokio::net::lookup_host(place).await.map(Iterator::collect);
    let mut last = "its name has no address".to_owned();
    for address in found.map_err(|error| error.to_string())? {
        let begun = SystemClock.monotonic();
        match endpoint.connect(address, key, purpose).await {
            Ok(connection) => {
                let taken = SystemClock.monotonic().saturating_duration_since(begun);
                // Who is no member is told so after the handshake.
                let refusal = timeout(VERDICT, connection.closed()).await.ok();
                CloseCode::Done.close(&connection);
                return match refusal.as_ref().and_then(CloseCode::of) {
                    Some(refusal) => Err(refusal.to_string()),
                    None => Ok(u64::try_from(taken.as_millis()).unwrap_or(u64::MAX)),
                };
            }
            Err(error) => last = chain(&error),
        }
    }
    Err(last)
}
