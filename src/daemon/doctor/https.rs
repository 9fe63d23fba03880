//! HTTPS as hosts speak it: the name is looked up, and the certificate has to be one for that name, of somebody who is
//! believed, at this time.

use super::ask::{Asked, look_up};
use crate::{
    agent::client::{ClientSetupError, trusting},
    base::chain::chain,
    cabinet::authenticode,
    daemon::config::Config,
};
use http::Uri;
use rustls::{AlertDescription, CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use std::{error::Error, fs, io, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

const USUAL_PORT: u16 = 443;

/// Why a web server gives no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// Nobody takes the connection, or it breaks off.
    Silent(String),
    /// Its name has no address.
    Nameless(String),
    /// Nobody who is believed signed the certificate.
    Untrusted,
    /// The certificate is for these names.
    OtherName(Vec<String>),
    /// The certificate has ended.
    Ended,
    /// The certificate has not begun.
    NotBegun,
    /// It answers only hosts with a certificate.
    WantsCertificate,
    /// TLS goes wrong in another way.
    Tls(String),
}

impl NoAnswer {
    /// By its causes: what TLS says lies beneath what HTTP says.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(found) = cause {
            let inner = found.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
            if let Some(error) = inner.or_else(|| found.downcast_ref()) {
                return Self::of_tls(error);
            }
            cause = found.source();
        }
        Self::Silent(chain(error))
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(wrong) => match wrong {
                // The other one: an authority that has the name of one who is believed, and another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Untrusted,
                CertificateError::NotValidForName => Self::OtherName(Vec::new()),
                CertificateError::NotValidForNameContext { presented, .. } => Self::OtherName(presented.clone()),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Ended,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotBegun,
                wrong => Self::Tls(wrong.to_string()),
            },
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => Self::WantsCertificate,
            error => Self::Tls(error.to_string()),
        }
    }
}

/// A repository's public address, and whom hosts believe.
pub(super) struct Https {
    /// As it is configured.
    url: String,
    host: String,
    port: u16,
    path: String,
    tls: Arc<ClientConfig>,
}

impl Https {
    /// The public address, where it is one of HTTPS; `Err` says why it can't be asked. Reads files.
    pub(super) fn of(config: &Config) -> Option<Result<Self, String>> {
        let url = config.http.public_url.as_ref()?;
        let uri: Uri = url.as_str().parse().ok()?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls =
            authorities(config).and_then(|found| trusting(&found).map_err(|error: ClientSetupError| chain(&error)));
        let (port, path) = (uri.port_u16().unwrap_or(USUAL_PORT), uri.path().trim_end_matches('/').to_owned());
        Some(tls.map(|tls| Self { url: url.to_string(), host, port, path, tls: Arc::new(tls) }))
    }

    /// As it is configured, a login masked.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What is asked of whom.
    pub(super) fn asked(&self, path: &str) -> Asked {
        let bracket = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let host = if self.port == USUAL_PORT { bracket } else { format!("{bracket}:{}", self.port) };
        Asked { host, path: format!("{}{path}", self.path) }
    }

    /// Shakes hands at the first address of the name that takes connections.
    pub(super) async fn connect(&self) -> Result<TlsStream<TcpStream>, NoAnswer> {
        let name = ServerName::try_from(self.host.clone()).map_err(|error| NoAnswer::Nameless(error.to_string()))?;
        let mut last = NoAnswer::Nameless("it has no address".to_owned());
        for ip in look_up(&self.host).await.map_err(NoAnswer::Nameless)? {
            match TcpStream::connect(SocketAddr::new(ip, self.port)).await {
                Ok(stream) => {
                    let shaken = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
                    return shaken.map_err(|error| NoAnswer::of(&error));
                }
                Err(error) => last = NoAnswer::Silent(error.to_string()),
            }
        }
        Err(last)
    }

    /// When the certificate ends that is shown there, in seconds since 1970 UTC.
    pub(super) async fn certificate_ends(&self) -> Option<u64> {
        let stream = self.connect().await.ok()?;
        let (_, session) = stream.get_ref();
        authenticode::expiry(session.peer_certificates()?.first()?)
    }
}

/// Whom hosts believe beside those whom this machine does.
fn authorities(config: &Config) -> Result<Vec<Vec<u8>>, String> {
    let read = |path: &std::path::PathBuf| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    config.nearest.ca.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::ask::ask_https, *};
    use http::Method;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
    use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier};
    use rustls_pki_types::PrivateKeyDer;
    use std::path::Path;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// A server with a certificate for `name` from one year on to another.
    fn server(by: &Authority, name: &str, years: (i32, i32), wants_certificate: bool) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        let certificate = params.signed_by(&key, by).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(by.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let builder =
            if wants_certificate { builder.with_client_cert_verifier(verifier) } else { builder.with_no_client_auth() };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()))
    }

    /// Serves one connection, and gives what came of asking it.
    async fn answer_of(acceptor: TlsAcceptor, ca: &Path, path: &str) -> Result<(u16, String), NoAnswer> {
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = [
            format!("http.public_url=\"https://localhost:{port}{path}\""),
            format!("nearest.ca=[{:?}]", ca.display().to_string()),
        ];
        let config = Config::without_file(&settings, "paris").unwrap();
        let serving = tokio::spawn(async move {
            let stream = listener.accept().await.unwrap().0;
            let mut stream = match acceptor.accept(stream).into_fallible().await {
                Ok(stream) => stream,
                Err((_, mut stream)) => {
                    // Closed with bytes unread it would be a reset, and what was said before is lost.
                    stream.shutdown().await.ok();
                    stream.read_to_end(&mut Vec::new()).await.ok();
                    return String::new();
                }
            };
            let mut head = vec![0; 1_000];
            let size = stream.read(&mut head).await.unwrap_or(0);
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok();
            stream.shutdown().await.ok();
            String::from_utf8_lossy(&head[..size]).into_owned()
        });
        let https = Https::of(&config).unwrap().unwrap();
        let answer = ask_https(&https, Method::HEAD, "/wapt/Packages", None).await?;
        Ok((answer.status, serving.await.unwrap().replace(&port.to_string(), "PORT")))
    }

    #[tokio::test]
    async fn each_fault_of_a_certificate_is_told_apart() {
        let (ours, others) = (authority(), authority());
        let place = tempfile::tempdir().unwrap();
        let ca = place.path().join("ca.pem");
        fs::write(&ca, ours.pem()).unwrap();
        let (this, past, future) = ((2020, 2090), (2001, 2002), (2089, 2090));
        let sound = answer_of(server(&ours, "localhost", this, false), &ca, "/x/").await.unwrap();
        assert_eq!(sound.0, 204);
        assert!(sound.1.starts_with("HEAD /x/wapt/Packages HTTP/1.1\r\nhost: localhost:PORT\r\n"), "{}", sound.1);
        for (server, fault) in [
            (server(&others, "localhost", this, false), NoAnswer::Untrusted),
            (server(&ours, "localhost", past, false), NoAnswer::Ended),
            (server(&ours, "localhost", future, false), NoAnswer::NotBegun),
            (server(&ours, "localhost", this, true), NoAnswer::WantsCertificate),
        ] {
            assert_eq!(answer_of(server, &ca, "").await.unwrap_err(), fault);
        }
        let other = answer_of(server(&ours, "wapt.example.org", this, false), &ca, "").await.unwrap_err();
        assert!(matches!(&other, NoAnswer::OtherName(names) if names[0].contains("wapt.example.org")), "{other:?}");
    }

    #[tokio::test]
    async fn a_public_address_without_tls_or_without_anybody_is_told_so() {
        let plain = Config::without_file(&["http.public_url=\"http://a\"".to_owned()], "paris").unwrap();
        assert!(Https::of(&plain).is_none());
        let port = TcpListener::bind("localhost:0").await.unwrap().local_addr().unwrap().port();
        let settings = [format!("http.public_url=\"https://localhost:{port}\"")];
        let https = Https::of(&Config::without_file(&settings, "paris").unwrap()).unwrap().unwrap();
        assert!(matches!(https.connect().await, Err(NoAnswer::Silent(_))));
        assert_eq!(https.certificate_ends().await, None);
    }
}
