//! Asking repositories over HTTP: which is nearest, and for the rest of a file.

use super::{
    course::{Fault, Place},
    partial::About,
};
use crate::domain::nearest::{NEAREST_PATH, NearestQuery, NearestReply, RepositoryUrl};
use http::{
    HeaderMap, StatusCode,
    header::{
        ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER, ToStrError,
    },
};
use reqwest::{Client, Proxy, Response, redirect::Policy, retry};
use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};
use tokio::time::timeout;

const USER_AGENT: &str = concat!("wuasync-agent/", env!("CARGO_PKG_VERSION"));
/// To reach a repository; a dead one is left after it.
const CONNECT: Duration = Duration::from_secs(2);
/// A repository that answers anything within this time lives.
const ALIVE: Duration = Duration::from_millis(1_500);
/// The whole answer to which repository is nearest.
const ASK: Duration = Duration::from_secs(4);
/// Most bytes of such an answer.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// When to come back where a repository does not say.
const COME_BACK: Duration = Duration::from_secs(10);

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientSetupError {
    /// TLS can't be prepared.
    #[error("preparing TLS")]
    Tls(#[from] rustls::Error),
    /// A file that is no certificate.
    #[error("a file of --ca is no PEM certificate")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// Anything else.
    #[error("preparing to ask repositories")]
    Client(#[from] reqwest::Error),
}

/// The way to repositories.
pub struct AgentClient {
    tls: ClientConfig,
    keeps_connections: bool,
    direct: Client,
    /// By the address of the proxy.
    proxied: Mutex<BTreeMap<String, Client>>,
}

/// The rest of a file, from where it was asked for.
#[derive(Debug)]
pub struct Rest {
    /// Its bytes.
    pub response: Response,
    /// What was told of the whole.
    pub about: About,
    /// Where the bytes begin.
    pub from: u64,
}

impl AgentClient {
    /// Believes whom [`trusting`] does. Reads files, and blocks for that.
    pub fn new(authorities: &[Vec<u8>]) -> Result<Self, ClientSetupError> {
        Self::over(trusting(authorities)?, true)
    }

    /// The same, and each question has a repository show its certificate anew: no connection and no session is used
    /// twice.
    pub fn proving_each_time(authorities: &[Vec<u8>]) -> Result<Self, ClientSetupError> {
        let mut tls = trusting(authorities)?;
        tls.resumption = Resumption::disabled();
        Self::over(tls, false)
    }

    fn over(tls: ClientConfig, keeps_connections: bool) -> Result<Self, ClientSetupError> {
        let direct = client(&tls, keeps_connections, None)?;
        Ok(Self { tls, keeps_connections, direct, proxied: Mutex::default() })
    }

    /// Asks a repository which ones are nearest.
    pub async fn nearest(&self, at: &RepositoryUrl, query: &NearestQuery) -> Result<NearestReply, Fault> {
        let asked = async {
            let url = format!("{at}{NEAREST_PATH}?{}", query_text(query));
            let mut response = self.direct.get(url).send().await.map_err(died)?;
            if response.status() != StatusCode::OK {
                return Err(Fault::Refused(response.status().as_u16()));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(died)? {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_ANSWER_BYTES {
                    return Err(Fault::OtherContent);
                }
            }
            serde_json::from_slice(&body).map_err(|_| Fault::OtherContent)
        };
        timeout(ASK, asked).await.unwrap_or(Err(Fault::Stalled(ASK)))
    }

    /// Whether a repository has a file: what it tells of it.
    pub async fn probe(&self, place: &Place) -> Result<About, Fault> {
        let asked = self.through(place)?.head(&place.file_url).header(ACCEPT_ENCODING, "identity").send();
        let response = timeout(ASK, asked).await.map_err(|_| Fault::Stalled(ASK))?.map_err(died)?;
        judge(response.status(), response.headers())?;
        Ok(about(response.headers(), length(response.headers())))
    }

    /// Whether a repository gives the first byte of a file: what it tells of one may be so without its disk.
    pub async fn gives(&self, place: &Place) -> Result<(), Fault> {
        let asked = async {
            let request = self.through(place)?.get(&place.file_url).header(ACCEPT_ENCODING, "identity");
            let mut response = request.header(RANGE, "bytes=0-0").send().await.map_err(died)?;
            match response.status() {
                // Of an empty file there is none.
                StatusCode::RANGE_NOT_SATISFIABLE => return Ok(()),
                StatusCode::PARTIAL_CONTENT => {}
                status => judge(status, response.headers())?,
            }
            let came = response.chunk().await.map_err(died)?;
            came.map(drop).ok_or_else(|| Fault::Died("it ended too early".to_owned()))
        };
        timeout(ASK, asked).await.unwrap_or(Err(Fault::Stalled(ASK)))
    }

    /// Whether a repository lives: whatever it answers.
    pub async fn is_alive(&self, place: &Place) -> bool {
        let Ok(client) = self.through(place) else { return false };
        let asked = client.head(format!("{}/healthz", place.url)).send();
        matches!(timeout(ALIVE, asked).await, Ok(Ok(_)))
    }

    /// Asks for a file from `from` on; `etag` is that of what is here.
    pub async fn rest(&self, place: &Place, from: u64, etag: Option<&str>) -> Result<Rest, Fault> {
        let mut request = self.through(place)?.get(&place.file_url).header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
            if let Some(etag) = etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        let response = request.send().await.map_err(died)?;
        let (status, headers) = (response.status(), response.headers());
        if status == StatusCode::PARTIAL_CONTENT {
            let (start, size) = content_range(headers).ok_or(Fault::OtherContent)?;
            let about = about(headers, Some(size));
            return if start == from { Ok(Rest { about, from, response }) } else { Err(Fault::OtherContent) };
        }
        judge(status, headers)?;
        let about = about(headers, length(headers));
        Ok(Rest { about, from: 0, response })
    }

    fn through(&self, place: &Place) -> Result<Client, Fault> {
        let Some(proxy) = &place.proxy else { return Ok(self.direct.clone()) };
        let mut proxied = self.proxied.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = proxied.get(proxy) {
            return Ok(known.clone());
        }
        let made = client(&self.tls, self.keeps_connections, Some(proxy)).map_err(died)?;
        proxied.insert(proxy.clone(), made.clone());
        Ok(made)
    }
}

/// TLS that believes the machine's certificates and those of `authorities` (PEM). Reads files, and blocks for that.
pub fn trusting(authorities: &[Vec<u8>]) -> Result<ClientConfig, ClientSetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for pem in authorities {
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(rustls_pki_types::pem::Error::NoItemsFound.into());
        }
        for certificate in certificates {
            roots.add(certificate)?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

fn client(tls: &ClientConfig, keeps_connections: bool, proxy: Option<&str>) -> Result<Client, reqwest::Error> {
    let builder = Client::builder()
        .pool_max_idle_per_host(if keeps_connections { usize::MAX } else { 0 })
        .tls_backend_preconfigured(tls.clone())
        .user_agent(USER_AGENT)
        .http1_only()
        .redirect(Policy::limited(2))
        .referer(false)
        .retry(retry::never())
        .connect_timeout(CONNECT);
    match proxy {
        Some(proxy) => builder.proxy(Proxy::all(proxy)?),
        None => builder.no_proxy(),
    }
    .build()
}

fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), Fault> {
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            let seconds = text(headers, RETRY_AFTER).and_then(|text| text.parse().ok());
            Err(Fault::NotYet(seconds.map_or(COME_BACK, Duration::from_secs)))
        }
        other => Err(Fault::Refused(other.as_u16())),
    }
}

fn about(headers: &HeaderMap, size: Option<u64>) -> About {
    let modified = text(headers, LAST_MODIFIED).and_then(|text| httpdate::parse_http_date(text).ok());
    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    // A weak one says nothing of bytes.
    let etag = text(headers, ETAG).filter(|etag| etag.starts_with('"')).map(str::to_owned);
    About { size, etag, modified }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH)?.parse().ok()
}

/// Where the bytes begin, and how long the whole is: `bytes 5-9/10`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let (range, size) = text(headers, CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name).map(http::HeaderValue::to_str).and_then(Result::<_, ToStrError>::ok)
}

pub(super) fn died(error: reqwest::Error) -> Fault {
    // What comes before the innermost cause says where in the client it was noticed.
    let (error, mut why) = (error.without_url(), String::new());
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        why = error.to_string();
        cause = error.source();
    }
    Fault::Died(why)
}

fn query_text(query: &NearestQuery) -> String {
    let NearestQuery { file, folder, ip, host, domain, site } = query;
    let pairs = [("file", file), ("folder", folder), ("ip", ip), ("host", host), ("domain", domain), ("site", site)];
    let mut text = String::new();
    for (key, value) in pairs {
        let Some(value) = value else { continue };
        text.push_str(if text.is_empty() { "" } else { "&" });
        text.push_str(key);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
                // Writing to a text can't fail.
                _ => drop(write!(text, "%{byte:02X}")),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_a_repository_tells_of_a_file_is_read_and_weak_tags_are_not() {
        let told = headers(&[(ETAG, "\"ab\""), (LAST_MODIFIED, "Sun, 13 Sep 2020 12:26:40 GMT")]);
        let expected = About { size: Some(7), etag: Some("\"ab\"".to_owned()), modified: Some(1_600_000_000) };
        assert_eq!(about(&told, Some(7)), expected);
        assert_eq!(about(&headers(&[(ETAG, "W/\"ab\"")]), None), About::default());
        assert_eq!(content_range(&headers(&[(CONTENT_RANGE, "bytes 5-9/10")])), Some((5, 10)));
        assert_eq!(content_range(&headers(&[(CONTENT_RANGE, "bytes */10")])), None);
    }

    #[test]
    fn a_question_carries_what_the_host_tells() {
        let query =
            NearestQuery { file: Some("a b.cab".to_owned()), ip: Some("::1".to_owned()), ..NearestQuery::default() };
        assert_eq!(query_text(&query), "file=a%20b.cab&ip=%3A%3A1");
    }
}
