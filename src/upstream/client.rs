//! One request at a time: the way out, the redirects, and the head of the answer.
//!
//! Every hop has a connection of its own, which is closed after it: connections that were kept have been
//! seen to answer 502, and files are long.

use super::{
    answer::{Answer, Body, Held, judge_get, judge_head},
    error::{Fault, UpstreamError},
    limits::Limits,
    promise::Promise,
    resolver::Resolver,
    rules::{Refusal, Rules, shown},
};
use crate::{
    base::{clock::SharedClock, throttle::Throttle},
    store::download::Origin,
};
use http::{
    Method,
    header::{ACCEPT_ENCODING, IF_RANGE, RANGE},
};
use reqwest::{Client, ClientBuilder, Proxy, Response, Url, redirect::Policy, retry};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tokio::time::timeout;

const USER_AGENT: &str = concat!("wuasync/", env!("CARGO_PKG_VERSION"));

/// Where and how is fetched.
#[derive(Clone)]
pub struct Settings {
    /// Another repository's address, asked in place of Microsoft; it may hold a login.
    pub origin: Option<Url>,
    /// The way out; it may hold a login.
    pub proxy: Option<Url>,
    /// Domains, subdomains included, that may be asked.
    pub allowed_hosts: Vec<String>,
    /// Hosts with a fixed place, private ones included; no proxy is asked for them.
    pub resolve: BTreeMap<String, SocketAddr>,
    /// How long, how often, how much.
    pub limits: Limits,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &Option<Url>| url.as_ref().map(|url| shown(url.as_str()));
        f.debug_struct("Settings")
            .field("origin", &shown(&self.origin))
            .field("proxy", &shown(&self.proxy))
            .field("allowed_hosts", &self.allowed_hosts)
            .field("resolve", &self.resolve)
            .field("limits", &self.limits)
            .finish()
    }
}

/// Why nothing can be fetched at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS can't be prepared.
    #[error("preparing TLS for fetching")]
    Tls(#[from] rustls::Error),
    /// The other repository's address can't be used. The text itself is left out: it may hold a password.
    #[error("the address of the other repository can't be used: correct `upstream.origin`")]
    Origin,
    /// The proxy's address can't be used. The text itself is left out: it may hold a password.
    #[error("the address of the proxy can't be used: correct `upstream.proxy`")]
    Proxy,
    /// Anything else about the way out.
    #[error("preparing to fetch")]
    Client(#[source] reqwest::Error),
}

/// Where randomness comes from: uniform in 0..=u64::MAX.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The way to Microsoft, or to what stands in for it.
pub struct Upstream {
    rules: Arc<Rules>,
    direct: Client,
    proxied: Option<Client>,
    pub(super) limits: Limits,
    pub(super) clock: SharedClock,
    pub(super) throttle: Throttle,
    pub(super) random: Random,
}

impl Upstream {
    /// Prepares fetching; reads the machine's certificates, and blocks for that. Nothing is asked yet.
    pub fn new(settings: Settings, clock: SharedClock, random: Random) -> Result<Self, SetupError> {
        let Settings { origin, proxy, allowed_hosts, resolve, limits } = settings;
        let rules = Arc::new(Rules::new(&allowed_hosts, &resolve, origin));
        let tls = tls()?;
        let direct = client(&limits, tls.clone()).no_proxy().dns_resolver(Resolver(rules.clone()));
        let proxied = match proxy {
            None => None,
            // Names are the proxy's to look up, and the proxy itself may be anywhere.
            Some(proxy) => {
                let proxy = Proxy::all(proxy).map_err(|_| SetupError::Proxy)?;
                Some(client(&limits, tls).proxy(proxy).build().map_err(SetupError::Client)?)
            }
        };
        let direct = direct.build().map_err(SetupError::Client)?;
        let throttle = Throttle::unlimited(clock.clone());
        Ok(Self { rules, direct, proxied, limits, clock, throttle, random })
    }

    /// Fetches below a ceiling that others share.
    pub fn below(self, throttle: Throttle) -> Self {
        Self { throttle, ..self }
    }

    /// Length and date of the file at an address, asked with `HEAD`.
    pub async fn head(&self, address: &str) -> Result<Origin, UpstreamError> {
        let described = timeout(self.limits.describe, self.describe(address)).await;
        let described = described.unwrap_or(Err(Fault::NoAnswer(self.limits.describe)));
        described.map_err(|fault| UpstreamError { url: shown(address), attempts: 1, fault })
    }

    pub(super) async fn describe(&self, address: &str) -> Result<Origin, Fault> {
        let mut url = self.first(address)?;
        for _ in 0..=self.limits.hops {
            let response = self.send(Method::HEAD, &url, None).await?;
            match judge_head(response.status(), response.headers(), self.clock.unix_seconds())? {
                Ok(origin) => return Ok(origin),
                Err(elsewhere) => url = Rules::next(&url, &elsewhere).map_err(Fault::Refused)?,
            }
        }
        Err(Fault::TooManyRedirects(self.limits.hops))
    }

    /// Where the file of an address is asked for first; refused if it may not be.
    pub(super) fn first(&self, address: &str) -> Result<Url, Fault> {
        let url = self.rules.first(address).map_err(Fault::Refused)?;
        self.rules.admit(&url).map_err(Fault::Refused)?;
        Ok(url)
    }

    /// Asks for a file, or, `with_range`, for what is asked for of what is `held`.
    pub(super) async fn get(
        &self,
        first: &Url,
        held: Option<&Held>,
        with_range: bool,
        promise: &Promise,
    ) -> Result<(Response, Body), Fault> {
        let mut url = first.clone();
        for _ in 0..=self.limits.hops {
            let response = self.send(Method::GET, &url, held.filter(|_| with_range)).await?;
            let (now, most) = (self.clock.unix_seconds(), self.limits.max_bytes);
            match judge_get(response.status(), response.headers(), held, promise, most, now)? {
                Answer::Body(body) => return Ok((response, body)),
                Answer::Redirect(elsewhere) => url = Rules::next(&url, &elsewhere).map_err(Fault::Refused)?,
            }
        }
        Err(Fault::TooManyRedirects(self.limits.hops))
    }

    async fn send(&self, method: Method, url: &Url, held: Option<&Held>) -> Result<Response, Fault> {
        let hop = self.rules.admit(url).map_err(Fault::Refused)?;
        let client = self.proxied.as_ref().filter(|_| !hop.is_pinned).unwrap_or(&self.direct);
        let mut request = client.request(method, hop.url).header(ACCEPT_ENCODING, "identity");
        if let Some((range, date)) = held.and_then(range_of) {
            request = request.header(RANGE, range).header(IF_RANGE, date);
        }
        match timeout(self.limits.head, request.send()).await {
            Ok(answered) => answered.map_err(fault_of),
            Err(_) => Err(Fault::NoAnswer(self.limits.head)),
        }
    }
}

/// `Range` and `If-Range`; open where it ends with the file.
fn range_of(held: &Held) -> Option<(String, String)> {
    let modified = u64::try_from(held.origin.modified?).ok()?;
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(modified));
    let last = if held.until == held.origin.size { String::new() } else { (held.until - 1).to_string() };
    Some((format!("bytes={}-{last}", held.from), date))
}

fn client(limits: &Limits, tls: ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        .http1_only()
        .redirect(Policy::none())
        .referer(false)
        .retry(retry::never())
        .pool_max_idle_per_host(0)
        .connect_timeout(limits.connect)
}

/// The machine's certificates; without any, https fails and says so.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!("this machine has no CA certificates: nothing is fetched over https; install ca-certificates");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let mut tls = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

/// Never with the address: it may hold a login.
fn fault_of(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let causes = || std::iter::successors(Some(&error as &(dyn Error + 'static)), |cause| (*cause).source());
    if let Some(refusal) = causes().find_map(|cause| cause.downcast_ref::<Refusal>()) {
        return Fault::Refused(refusal.clone());
    }
    if causes().any(|cause| cause.to_string().contains("proxy authorization required")) {
        return Fault::ProxyLogin;
    }
    if causes().filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse) {
        return Fault::Malformed("its head can't be read");
    }
    if error.is_connect() { Fault::Connect(Box::new(error)) } else { Fault::Ask(Box::new(error)) }
}
