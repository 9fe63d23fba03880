//! The harness: a server on 127.0.0.1, a source of made-up files, a raw client.

use crate::front::{
    api::{ApiAnswer, ApiRequest, Apis, HostsApi},
    counters::FrontCounters,
    handler::Front,
    server::{FrontConfig, Listener, Server},
    tls::TlsReloader,
};
use crate::{
    base::{clock::SystemClock, future::BoxFuture, read_at::ReadAt},
    domain::digest::Root,
    supply::source::{Answer, Ask, HeldFile, Source},
};
use rustix::net::{SendFlags, send};
use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    ops::Range,
    os::fd::BorrowedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub(super) const MODIFIED: i64 = 1_600_000_000;
pub(super) const DATE: &str = "Sun, 13 Sep 2020 12:26:40 GMT";
pub(super) const ROOT: Root = Root([0x5a; 32]);
pub(super) const MIB: u64 = 1 << 20;

/// A file that claims `size` bytes, has `length`, and tells when nobody holds it.
struct Pattern {
    length: u64,
    is_sendable: bool,
    read: Arc<AtomicU64>,
    dropped: mpsc::UnboundedSender<()>,
}

impl ReadAt for Pattern {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = self.length.saturating_sub(offset).min(buf.len() as u64) as usize;
        buf[..n].iter_mut().zip(offset..).for_each(|(byte, at)| *byte = (at % 251) as u8);
        self.read.fetch_add(n as u64, SeqCst);
        Ok(n)
    }

    fn is_sendable(&self, _range: &Range<u64>) -> bool {
        self.is_sendable
    }

    /// At most 100,000 bytes at a time.
    fn send_at(&self, socket: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<usize> {
        let end = self.length.min(offset + len.min(100_000) as u64);
        if offset >= end { Ok(0) } else { Ok(send(socket, &pattern(offset, end), SendFlags::NOSIGNAL)?) }
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        let _ = self.dropped.send(());
    }
}

/// What every [`Pattern`] holds from `start` to `end`.
pub(super) fn pattern(start: u64, end: u64) -> Vec<u8> {
    (start..end).map(|at| (at % 251) as u8).collect()
}

enum Entry {
    File {
        size: u64,
        length: u64,
        root: Option<Root>,
    },
    /// What the kernel can send by itself.
    Direct {
        size: u64,
        length: u64,
    },
    NotYet(Duration),
    Stuck,
}

/// Answers for the folder `waptwua`.
struct Files {
    entries: BTreeMap<&'static str, Entry>,
    read: Arc<AtomicU64>,
    dropped: mpsc::UnboundedSender<()>,
}

impl Files {
    fn pattern(&self, length: u64, is_sendable: bool) -> Arc<Pattern> {
        Arc::new(Pattern { length, is_sendable, read: self.read.clone(), dropped: self.dropped.clone() })
    }
}

impl Source for Files {
    fn find<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let entry = self.entries.get(ask.name.as_str()).filter(|_| ask.folder.as_str() == "waptwua");
            match entry {
                None => Answer::Unknown,
                Some(Entry::NotYet(retry_after)) => Answer::NotYet { retry_after: *retry_after },
                Some(Entry::Stuck) => {
                    let _held = self.pattern(0, false);
                    std::future::pending().await
                }
                Some(Entry::File { size, length, root }) => {
                    let bytes = self.pattern(*length, false);
                    Answer::Held(HeldFile { size: *size, modified: MODIFIED, root: *root, bytes })
                }
                Some(Entry::Direct { size, length }) => {
                    let bytes = self.pattern(*length, true);
                    Answer::Held(HeldFile { size: *size, modified: MODIFIED, root: Some(ROOT), bytes })
                }
            }
        })
    }
}

/// Answers with what it was asked.
struct Echo;

impl HostsApi for Echo {
    fn serves(&self, path: &str) -> bool {
        path == "/api/v1/echo"
    }

    fn answer(&self, request: ApiRequest) -> BoxFuture<'_, ApiAnswer> {
        let ApiRequest { method, path, query, client, body, .. } = request;
        let asked = format!("{method} {path} {query:?} {client} {}", body.len());
        Box::pin(async move { ApiAnswer::json(http::StatusCode::ACCEPTED, &asked.into()) })
    }
}

fn files() -> BTreeMap<&'static str, Entry> {
    let whole = |size| Entry::File { size, length: size, root: Some(ROOT) };
    BTreeMap::from([
        ("empty.msu", whole(0)),
        ("small.cab", whole(4096)),
        ("large.msu", whole(3 * MIB + 17)),
        ("huge.msu", whole(1 << 40)),
        ("unhashed.msu", Entry::File { size: 4096, length: 4096, root: None }),
        ("short.msu", Entry::File { size: 4096, length: 100, root: Some(ROOT) }),
        ("truncated.msu", Entry::File { size: 3 * MIB, length: MIB, root: Some(ROOT) }),
        ("direct.msu", Entry::Direct { size: 3 * MIB + 17, length: 3 * MIB + 17 }),
        ("direct-small.cab", Entry::Direct { size: 4096, length: 4096 }),
        ("direct-huge.msu", Entry::Direct { size: 1 << 40, length: 1 << 40 }),
        ("direct-truncated.msu", Entry::Direct { size: 3 * MIB, length: MIB + 5 }),
        ("later.cab", Entry::NotYet(Duration::from_millis(1500))),
        ("soon.cab", Entry::NotYet(Duration::ZERO)),
        ("stuck.cab", Entry::Stuck),
    ])
}

/// A running server.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    pub(super) counters: Arc<FrontCounters>,
    server: Server,
    shutdown: CancellationToken,
    /// One message for every file that was let go.
    pub(super) dropped: mpsc::UnboundedReceiver<()>,
    read: Arc<AtomicU64>,
}

impl Site {
    pub(super) fn start() -> Self {
        Self::with(FrontConfig::default(), None)
    }

    pub(super) fn with(config: FrontConfig, tls: Option<Arc<TlsReloader>>) -> Self {
        let (sender, dropped) = mpsc::unbounded_channel();
        let read = Arc::<AtomicU64>::default();
        let front = Front {
            source: Arc::new(Files { entries: files(), read: read.clone(), dropped: sender }),
            health: Arc::new(serde_json::Map::new),
            apis: Apis::new(vec![Arc::new(Echo)]),
            usher: None,
            is_trusted: Arc::new(|_| false),
            clock: Arc::new(SystemClock),
        };
        let shutdown = CancellationToken::new();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(config, vec![Listener { socket, tls }], front, shutdown.clone()).unwrap();
        let (address, counters) = (server.addresses()[0], server.counters());
        Self { address, counters, server, shutdown, dropped, read }
    }

    pub(super) async fn connect(&self) -> Client<TcpStream> {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), unread: Vec::new() }
    }

    /// One request on a connection of its own.
    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        let mut client = self.connect().await;
        client.ask(method, path, headers).await
    }

    /// How many bytes of files were read since this was asked last.
    pub(super) fn read(&self) -> u64 {
        self.read.swap(0, SeqCst)
    }

    /// Stops, and fails if anything is left running.
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        soon(self.server.stopped()).await;
    }
}

/// A test that waits this long hangs.
pub(super) async fn soon<T>(wait: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), wait).await.expect("it hangs")
}

pub(super) struct Client<S> {
    pub(super) stream: S,
    pub(super) unread: Vec<u8>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(super) async fn ask(&mut self, method: &str, path: &str, headers: &[&str]) -> Reply {
        self.send(&request(method, path, headers)).await;
        self.reply(method).await
    }

    /// Reads one response to its end.
    pub(super) async fn reply(&mut self, method: &str) -> Reply {
        let mut reply = self.head().await;
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        let has_body = method != "HEAD" && reply.status != 304;
        reply.body = self.take(if has_body { length } else { 0 }).await;
        reply
    }

    pub(super) async fn head(&mut self) -> Reply {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            assert_ne!(self.fill().await, 0, "the connection closed: {:?}", String::from_utf8_lossy(&self.unread));
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Reply { status, headers, body: Vec::new() }
    }

    pub(super) async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert_ne!(self.fill().await, 0, "the connection closed before the body was there");
        }
        self.unread.drain(..length).collect()
    }

    /// Everything until the server closes or resets the connection.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await > 0 {}
        std::mem::take(&mut self.unread)
    }

    async fn fill(&mut self) -> usize {
        soon(self.stream.read_buf(&mut self.unread)).await.unwrap_or(0)
    }
}

pub(super) fn request(method: &str, path: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: site\r\n{headers}\r\n")
}
