//! TLS: versions, client certificates, reloads, and those who do not speak it.

use super::site::*;
use crate::front::{server::FrontConfig, tls::*};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion, version};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

fn identity(name: &str, by: &Authority) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, by).unwrap();
    Identity { certificate, key }
}

fn texts(server: &Identity, client_ca: Option<&Authority>) -> PemTexts {
    PemTexts {
        certificates: server.certificate.pem().into_bytes(),
        key: server.key.serialize_pem().into_bytes(),
        client_ca: client_ca.map(|ca| ca.pem().into_bytes()),
    }
}

/// A listener whose texts a test may replace.
fn reloader(texts: PemTexts) -> (Arc<TlsReloader>, Arc<Mutex<PemTexts>>) {
    let texts = Arc::new(Mutex::new(texts));
    let read = texts.clone();
    let load: LoadPem = Box::new(move || Ok(read.lock().unwrap().clone()));
    (Arc::new(TlsReloader::new(load).unwrap()), texts)
}

fn connector(
    trusted: &Authority,
    me: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match me {
        None => builder.with_no_client_auth(),
        Some(me) => {
            let key = PrivateKeyDer::try_from(me.key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![me.certificate.der().clone()], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

impl Site {
    async fn shake_hands(&self, connector: &TlsConnector) -> io::Result<Client<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("site").unwrap();
        Ok(Client { stream: soon(connector.connect(name, stream)).await?, unread: Vec::new() })
    }

    /// Whether a file is served: in TLS 1.3 a refusal only shows after the client's side is done.
    async fn serves(&self, connector: &TlsConnector) -> bool {
        let Ok(mut client) = self.shake_hands(connector).await else { return false };
        let asked = request("GET", "/waptwua/small.cab", &["Connection: close"]);
        let _ = client.stream.write_all(asked.as_bytes()).await;
        client.rest().await.ends_with(&pattern(0, 4096))
    }
}

#[tokio::test]
async fn files_are_served_over_tls_1_2_and_1_3() {
    let ca = authority();
    let site = Site::with(FrontConfig::default(), Some(reloader(texts(&identity("site", &ca), None)).0));
    for (asked, spoken) in [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)] {
        let mut client = site.shake_hands(&connector(&ca, None, &[asked])).await.unwrap();
        let (_, session) = client.stream.get_ref();
        assert_eq!(session.protocol_version(), Some(spoken));
        assert_eq!(session.alpn_protocol(), Some(b"http/1.1".as_slice()));
        assert!(client.ask("GET", "/waptwua/large.msu", &[]).await.body == pattern(0, 3 * MIB + 17));
        assert_eq!(client.ask("GET", "/waptwua/small.cab", &["Range: bytes=1-4"]).await.body, pattern(1, 5));
    }
    site.stop().await;
}

#[tokio::test]
async fn only_a_client_with_a_certificate_of_the_client_ca_is_served() {
    let (ca, hosts, strangers) = (authority(), authority(), authority());
    let site = Site::with(FrontConfig::default(), Some(reloader(texts(&identity("site", &ca), Some(&hosts))).0));
    let (host, stranger) = (identity("host", &hosts), identity("host", &strangers));
    for versions in [&BOTH[..1], &BOTH[1..]] {
        assert!(site.serves(&connector(&ca, Some(&host), versions)).await);
        assert!(!site.serves(&connector(&ca, Some(&stranger), versions)).await);
        assert!(!site.serves(&connector(&ca, None, versions)).await);
    }
    let counters = site.counters.clone();
    site.stop().await;
    assert_eq!((counters.read().requests, counters.read().refused), (2, 4));
}

#[tokio::test]
async fn a_reload_serves_the_new_certificate_and_a_failed_one_keeps_the_old() {
    let ca = authority();
    let (old, new) = (identity("site", &ca), identity("site", &ca));
    let (tls, held) = reloader(texts(&old, None));
    let site = Site::with(FrontConfig::default(), Some(tls.clone()));
    let shown = async || {
        let client = site.shake_hands(&connector(&ca, None, &BOTH)).await.unwrap();
        let (_, session) = client.stream.get_ref();
        CertificateDer::clone(&session.peer_certificates().unwrap()[0]).into_owned()
    };
    assert_eq!(&shown().await, old.certificate.der());

    let mismatched = PemTexts { key: texts(&new, None).key, ..texts(&old, None) };
    let empty = PemTexts { certificates: b"no PEM".to_vec(), ..texts(&new, None) };
    let no_ca = PemTexts { client_ca: Some(Vec::new()), ..texts(&new, None) };
    for broken in [mismatched, empty, no_ca] {
        *held.lock().unwrap() = broken;
        tls.reload().unwrap_err();
        assert_eq!(&shown().await, old.certificate.der());
    }

    *held.lock().unwrap() = texts(&new, None);
    tls.reload().unwrap();
    assert_eq!(&shown().await, new.certificate.der());
    site.stop().await;
}

#[tokio::test]
async fn a_session_does_not_outlive_the_client_ca_that_it_began_under() {
    let (ca, hosts, others) = (authority(), authority(), authority());
    let server = identity("site", &ca);
    let (tls, held) = reloader(texts(&server, Some(&hosts)));
    let site = Site::with(FrontConfig::default(), Some(tls.clone()));
    for versions in [&BOTH[..1], &BOTH[1..]] {
        *held.lock().unwrap() = texts(&server, Some(&hosts));
        tls.reload().unwrap();
        let remembering = connector(&ca, Some(&identity("host", &hosts)), versions);
        assert!(site.serves(&remembering).await);
        *held.lock().unwrap() = texts(&server, Some(&others));
        tls.reload().unwrap();
        assert!(!site.serves(&remembering).await);
    }
    site.stop().await;
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_refused_without_hanging() {
    let ca = authority();
    let site = Site::with(FrontConfig::default(), Some(reloader(texts(&identity("site", &ca), None)).0));
    let mut client = site.connect().await;
    client.send(&request("GET", "/waptwua/small.cab", &[])).await;
    assert!(!client.rest().await.starts_with(b"HTTP"));
    site.stop().await;
}

#[tokio::test]
async fn a_stalled_handshake_is_ended_and_meanwhile_holds_up_nobody() {
    let ca = authority();
    let config = FrontConfig { handshake_timeout: Duration::from_secs(2), ..FrontConfig::default() };
    let site = Site::with(config, Some(reloader(texts(&identity("site", &ca), None)).0));
    let mut stalled = site.connect().await;
    stalled.stream.write_all(b"\x16\x03\x01").await.unwrap();
    assert!(site.serves(&connector(&ca, None, &BOTH)).await);
    assert_eq!(site.counters.read().refused, 0);
    assert_eq!(stalled.rest().await, b"");
    assert_eq!(site.counters.read().refused, 1);
    site.stop().await;
}

#[tokio::test]
async fn a_handshake_that_is_under_way_at_the_shutdown_ends_and_its_question_is_answered() {
    let ca = authority();
    let site = Site::with(FrontConfig::default(), Some(reloader(texts(&identity("site", &ca), None)).0));
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let connector = connector(&ca, None, &BOTH);
    let shaking = tokio::spawn(async move { connector.connect(ServerName::try_from("site").unwrap(), near).await });
    let mut wire = site.connect().await.stream;
    let mut beginning = [0; 9];
    far.read_exact(&mut beginning).await.unwrap();
    wire.write_all(&beginning).await.unwrap();
    while site.counters.read().connections == 0 {
        tokio::task::yield_now().await;
    }
    let asking = async {
        tokio::spawn(async move { copy_bidirectional(&mut far, &mut wire).await });
        let mut client = Client { stream: soon(shaking).await.unwrap().unwrap(), unread: Vec::new() };
        assert_eq!(client.ask("GET", "/waptwua/small.cab", &[]).await.body, pattern(0, 4096));
    };
    // The shutdown comes first.
    tokio::join!(biased; site.stop(), asking);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_when_the_time_to_drain_is_over() {
    let ca = authority();
    let config = FrontConfig { drain_timeout: Duration::from_millis(50), ..FrontConfig::default() };
    let site = Site::with(config, Some(reloader(texts(&identity("site", &ca), None)).0));
    let mut stalled = site.connect().await;
    stalled.stream.write_all(b"\x16\x03\x01").await.unwrap();
    while site.counters.read().connections == 0 {
        tokio::task::yield_now().await;
    }
    let counters = site.counters.clone();
    site.stop().await;
    assert_eq!(stalled.rest().await, b"");
    assert_eq!(counters.read().refused, 0, "it was cut before the handshake's own time was over");
}
