//! Hosts that ask: one thread, many connections that stay open, answers whose bytes are counted and
//! thrown away. The same for every server, and leaner than any of them.

use rustix::event::epoll;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

/// Bytes taken from a socket in one go: little enough to stay in a core's cache.
const TAKE_BYTES: usize = 128 * 1024;
/// Longer than any server here is silent.
const SILENCE: Duration = Duration::from_secs(300);
const HEAD_END: &[u8] = b"\r\n\r\n";

/// One of the listeners of a server.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// What is sent, and how long the body of the answer has to be.
#[derive(Clone)]
pub(crate) struct Request {
    head: Vec<u8>,
    body: u64,
}

impl Request {
    pub(crate) fn whole(name: &str, size: u64) -> Self {
        let head = format!("GET /waptwua/{name} HTTP/1.1\r\nHost: site\r\nUser-Agent: load\r\n\r\n");
        Self { head: head.into(), body: size }
    }

    pub(crate) fn part(name: &str, range: Range<u64>) -> Self {
        let (first, last) = (range.start, range.end - 1);
        let head = format!(
            "GET /waptwua/{name} HTTP/1.1\r\nHost: site\r\nUser-Agent: load\r\nRange: bytes={first}-{last}\r\n\r\n"
        );
        Self { head: head.into(), body: range.end - range.start }
    }
}

/// When an answer came, in seconds since its request was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// The first byte of the body.
    pub(crate) first: f64,
    /// The last one.
    pub(crate) last: f64,
}

/// Connections that are open and idle.
pub(crate) struct Hosts {
    epoll: OwnedFd,
    hosts: Vec<Host>,
}

impl Hosts {
    pub(crate) fn connect(door: &Door, count: usize) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let hosts: Vec<_> = (0..count).map(|_| Host::connect(door)).collect();
        for (number, host) in hosts.iter().enumerate() {
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, &host.socket, data, epoll::EventFlags::IN).unwrap();
        }
        Self { epoll, hosts }
    }

    /// Asks for `count` of the requests in turn; whoever has its answer asks the next one.
    pub(crate) fn ask(&mut self, requests: &[Request], count: usize) -> Vec<Answer> {
        let mut turns = requests.iter().cycle().take(count);
        let mut answers = Vec::with_capacity(count);
        for host in &mut self.hosts {
            turns.next().into_iter().for_each(|request| host.send(request));
        }
        let mut buffer = vec![0; TAKE_BYTES];
        let mut events = Vec::with_capacity(256);
        let silence = rustix::event::Timespec { tv_sec: SILENCE.as_secs() as i64, tv_nsec: 0 };
        while answers.len() < count {
            events.clear();
            let came = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&silence)).unwrap();
            assert!(came > 0, "{} of {count} answers came, then nothing", answers.len());
            for event in &events {
                let host = &mut self.hosts[event.data.u64() as usize];
                if let Some(answer) = host.take(&mut buffer) {
                    answers.push(answer);
                    turns.next().into_iter().for_each(|request| host.send(request));
                }
            }
        }
        answers
    }
}

struct Host {
    socket: TcpStream,
    tls: Option<ClientConnection>,
    asked: Instant,
    /// Of the answer under way: what came of its head.
    head: Vec<u8>,
    /// Of the answer under way: when its body began.
    first: Option<f64>,
    expected: u64,
    left: u64,
}

impl Host {
    fn connect(door: &Door) -> Self {
        let mut socket = TcpStream::connect(door.address).unwrap();
        socket.set_nodelay(true).unwrap();
        let tls = door.tls.clone().map(|config| {
            let mut tls = ClientConnection::new(config, ServerName::try_from("site").unwrap()).unwrap();
            while tls.is_handshaking() {
                tls.complete_io(&mut socket).unwrap();
            }
            tls
        });
        socket.set_nonblocking(true).unwrap();
        Self { socket, tls, asked: Instant::now(), head: vec![], first: None, expected: 0, left: 0 }
    }

    fn send(&mut self, request: &Request) {
        self.expected = request.body;
        self.asked = Instant::now();
        match &mut self.tls {
            None => self.socket.write_all(&request.head).unwrap(),
            Some(tls) => {
                tls.writer().write_all(&request.head).unwrap();
                while tls.wants_write() {
                    tls.write_tls(&mut self.socket).unwrap();
                }
            }
        }
    }

    /// Takes what is there; the answer, if that was the end of it.
    fn take(&mut self, buffer: &mut [u8]) -> Option<Answer> {
        let Some(mut tls) = self.tls.take() else {
            return match self.socket.read(buffer) {
                Ok(read) => self.on_bytes(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                Err(error) => panic!("reading an answer: {error}"),
            };
        };
        let mut answer = None;
        match tls.read_tls(&mut self.socket) {
            Ok(0) => panic!("the server closed a connection"),
            Ok(_) => {
                tls.process_new_packets().unwrap();
                loop {
                    match tls.reader().read(buffer) {
                        Ok(read) => answer = answer.or(self.on_bytes(&buffer[..read])),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("reading an answer: {error}"),
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("reading an answer: {error}"),
        }
        self.tls = Some(tls);
        answer
    }

    fn on_bytes(&mut self, bytes: &[u8]) -> Option<Answer> {
        assert!(!bytes.is_empty(), "the server closed a connection");
        let mut body = bytes.len() as u64;
        if self.left == 0 {
            let had = self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(16 * 1024)]);
            let end = self.head.windows(HEAD_END.len()).position(|four| four == HEAD_END)? + HEAD_END.len();
            check_head(&self.head[..end], self.expected);
            self.head.clear();
            body -= (end - had) as u64;
            self.left = self.expected;
        }
        if body == 0 {
            return None;
        }
        let first = *self.first.get_or_insert_with(|| self.asked.elapsed().as_secs_f64());
        assert!(body <= self.left, "an answer is longer than it said");
        self.left -= body;
        if self.left > 0 {
            return None;
        }
        self.first = None;
        Some(Answer { first, last: self.asked.elapsed().as_secs_f64() })
    }
}

fn check_head(head: &[u8], expected: u64) {
    let text = std::str::from_utf8(head).unwrap();
    let is_good = text.starts_with("HTTP/1.1 20");
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<u64>().unwrap())
    });
    assert!(is_good && length == Some(expected), "expected {expected} bytes, got {text}");
}
