//! The limit of QUIC on this machine: bytes from memory to memory over quinn, eight streams of one
//! connection, the largest windows that help, AES-128, no files, no proof. Two processes of this program.

use crate::meter::{Meter, Reading};
use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
};

const STREAMS: u64 = 8;
const WINDOW: u32 = 16 << 20;
const NAME: &str = "blast";

/// Moves `bytes` from one process to another.
pub(crate) fn measure(bytes: u64) -> Reading {
    let this = std::env::current_exe().unwrap();
    let mut server = Command::new(&this).arg("--blast-server").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let meter = Meter::begin(&[server.id()]);
    let client = Command::new(this).args(["--blast-client", line.trim(), &bytes.to_string()]).status();
    assert!(client.unwrap().success(), "the blast arrives");
    let reading = meter.end(None);
    server.kill().unwrap();
    server.wait().unwrap();
    reading
}

/// Serves until it is killed; says its address and its certificate.
pub(crate) fn serve() {
    runtime().block_on(async {
        let signed = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let certificate = CertificateDer::from(signed.cert.der().to_vec());
        let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
        let tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        config.transport_config(transport());
        let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let certificate = data_encoding::HEXLOWER.encode(&certificate);
        println!("{} {certificate}", endpoint.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let connection = incoming.await.unwrap();
                while let Ok((send, receive)) = connection.accept_bi().await {
                    tokio::spawn(pour(send, receive));
                }
            });
        }
    });
}

async fn pour(mut send: quinn::SendStream, mut receive: quinn::RecvStream) {
    let asked = receive.read_to_end(8).await.unwrap();
    let mut left = u64::from_be_bytes(asked.try_into().unwrap());
    let block = Bytes::from(vec![0x5a; 1 << 20]);
    while left > 0 {
        let bytes = block.slice(..left.min(block.len() as u64) as usize);
        left -= bytes.len() as u64;
        send.write_chunk(bytes).await.unwrap();
    }
    send.finish().unwrap();
    send.stopped().await.ok();
}

/// Takes `bytes` from the server that `server` names: an address and a certificate.
pub(crate) fn client(server: &str, bytes: u64) {
    let (address, certificate) = server.split_once(' ').unwrap();
    let certificate = CertificateDer::from(data_encoding::HEXLOWER.decode(certificate.as_bytes()).unwrap());
    runtime().block_on(async {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        config.transport_config(transport());
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connection = endpoint.connect_with(config, address.parse().unwrap(), NAME).unwrap().await.unwrap();
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..STREAMS {
            streams.spawn(drain(connection.clone(), bytes / STREAMS));
        }
        while let Some(drained) = streams.join_next().await {
            assert_eq!(drained.unwrap(), bytes / STREAMS);
        }
        connection.close(0u32.into(), b"");
    });
}

async fn drain(connection: quinn::Connection, bytes: u64) -> u64 {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&bytes.to_be_bytes()).await.unwrap();
    send.finish().unwrap();
    let mut chunks = vec![Bytes::new(); 64];
    let mut total = 0;
    while let Some(count) = receive.read_chunks(&mut chunks).await.unwrap() {
        total += chunks[..count].iter_mut().map(|chunk| std::mem::take(chunk).len() as u64).sum::<u64>();
    }
    total
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn transport() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(WINDOW.into())
        .receive_window((4 * WINDOW).into())
        .send_window(u64::from(2 * WINDOW));
    Arc::new(transport)
}
