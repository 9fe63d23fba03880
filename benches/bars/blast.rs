//! The limit of QUIC on this machine: bytes from memory to memory over quinn, eight streams of one
//! connection, the largest windows that help, AES-128, no files, no proof. Two processes of this program.
//!
//! With a folder: its files in place of memory, hashed with BLAKE3 and written at the other end; what
//! moving files over QUIC takes at the least, without state, resumption or durability.

use crate::meter::{Meter, Reading};
use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

const STREAMS: u64 = 8;
const WINDOW: u32 = 16 << 20;
const NAME: &str = "blast";
/// Ten packets fill one system call.
const PACKET: u16 = 6_550;

/// Bytes that are read, or hashed and written, at once.
const PIECE: usize = 256 << 10;

/// Moves `bytes` from one process to another.
pub(crate) fn measure(bytes: u64) -> Reading {
    run(None, &[bytes.to_string()])
}

/// Moves the files of a folder, each of `size` bytes, from one process to another.
pub(crate) fn measure_files(folder: &Path, size: u64) -> Reading {
    let to = tempfile::Builder::new().prefix("wuasync-blast-").tempdir().unwrap();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let names = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned());
    let arguments: Vec<String> = [size.to_string(), to.path().display().to_string()].into_iter().chain(names).collect();
    run(Some(folder), &arguments)
}

fn run(folder: Option<&Path>, arguments: &[String]) -> Reading {
    let this = std::env::current_exe().unwrap();
    let mut server = Command::new(&this).arg("--blast-server").args(folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let meter = Meter::begin(&[server.id()]);
    let client = Command::new(this).args(["--blast-client", line.trim()]).args(arguments).status();
    assert!(client.unwrap().success(), "the blast arrives");
    let reading = meter.end(None);
    server.kill().unwrap();
    server.wait().unwrap();
    reading
}

/// Serves until it is killed; says its address and its certificate.
pub(crate) fn serve(folder: Option<PathBuf>) {
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
        let endpoint = endpoint(Some(config));
        let certificate = data_encoding::HEXLOWER.encode(&certificate);
        println!("{} {certificate}", endpoint.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        while let Some(incoming) = endpoint.accept().await {
            let folder = folder.clone();
            tokio::spawn(async move {
                let connection = incoming.await.unwrap();
                while let Ok((send, receive)) = connection.accept_bi().await {
                    tokio::spawn(pour(folder.clone(), send, receive));
                }
            });
        }
    });
}

async fn pour(folder: Option<PathBuf>, mut send: quinn::SendStream, mut receive: quinn::RecvStream) {
    let asked = receive.read_to_end(256).await.unwrap();
    if let Some(folder) = folder {
        let mut file = std::fs::File::open(folder.join(String::from_utf8(asked).unwrap())).unwrap();
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            if (&mut file).take(PIECE as u64).read_to_end(&mut piece).unwrap() == 0 {
                break;
            }
            send.write_chunk(piece.into()).await.unwrap();
        }
        send.finish().unwrap();
        send.stopped().await.ok();
        return;
    }
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

/// Takes from the server that `server` names (an address and a certificate) so many bytes; or, with a
/// folder and names, files of so many bytes each.
pub(crate) fn client(server: &str, arguments: &[String]) {
    let bytes: u64 = arguments[0].parse().unwrap();
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
        let endpoint = endpoint(None);
        let connection = endpoint.connect_with(config, address.parse().unwrap(), NAME).unwrap().await.unwrap();
        let mut streams = tokio::task::JoinSet::new();
        match &arguments[1..] {
            [] => (0..STREAMS).for_each(|_| _ = streams.spawn(drain(connection.clone(), bytes / STREAMS))),
            [folder, names @ ..] => {
                let names = Arc::new(Mutex::new(names.to_vec()));
                for _ in 0..STREAMS {
                    streams.spawn(keep(connection.clone(), PathBuf::from(folder), names.clone(), bytes));
                }
            }
        }
        while let Some(ended) = streams.join_next().await {
            ended.unwrap();
        }
        connection.close(0u32.into(), b"");
    });
}

/// Files, one after the other, until there are no more names.
async fn keep(connection: quinn::Connection, folder: PathBuf, names: Arc<Mutex<Vec<String>>>, size: u64) {
    let next = || names.lock().unwrap().pop();
    while let Some(name) = next() {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(name.as_bytes()).await.unwrap();
        send.finish().unwrap();
        let mut file = std::fs::File::create(folder.join(name)).unwrap();
        let mut hasher = blake3::Hasher::new();
        let (mut chunks, mut piece, mut total) = (vec![Bytes::new(); 64], Vec::with_capacity(2 * PIECE), 0);
        loop {
            let count = receive.read_chunks(&mut chunks).await.unwrap();
            chunks[..count.unwrap_or(0)].iter_mut().for_each(|chunk| piece.extend_from_slice(&std::mem::take(chunk)));
            if piece.len() >= PIECE || count.is_none() {
                hasher.update(&piece);
                file.write_all(&piece).unwrap();
                total += piece.len() as u64;
                piece.clear();
            }
            if count.is_none() {
                break;
            }
        }
        std::hint::black_box(hasher.finalize());
        assert_eq!(total, size);
    }
}

async fn drain(connection: quinn::Connection, bytes: u64) {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&bytes.to_be_bytes()).await.unwrap();
    send.finish().unwrap();
    let mut chunks = vec![Bytes::new(); 64];
    let mut total = 0;
    while let Some(count) = receive.read_chunks(&mut chunks).await.unwrap() {
        total += chunks[..count].iter_mut().map(|chunk| std::mem::take(chunk).len() as u64).sum::<u64>();
    }
    assert_eq!(total, bytes);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn endpoint(server: Option<quinn::ServerConfig>) -> quinn::Endpoint {
    let mut config = quinn::EndpointConfig::default();
    config.max_udp_payload_size(PACKET).unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    quinn::Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime)).unwrap()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn transport() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    let mut packets = quinn::MtuDiscoveryConfig::default();
    packets.upper_bound(PACKET);
    transport
        .stream_receive_window(WINDOW.into())
        .receive_window((4 * WINDOW).into())
        .send_window(u64::from(2 * WINDOW))
        .mtu_discovery_config(Some(packets));
    Arc::new(transport)
}
