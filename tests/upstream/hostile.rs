//! An origin that does what it is told, byte by byte: one scripted reply for each connection.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

/// Longest head of a request; a client that sends more is broken.
const MAX_REQUEST: usize = 64 << 10;

/// What a reply is made of.
#[derive(Clone)]
pub enum Part {
    Text(String),
    Bytes(Vec<u8>),
    /// Nothing more, and the connection stays open until the client closes it.
    Hold,
    /// Nothing more, until the test says so.
    Until(Arc<Notify>),
    /// The connection is reset.
    Reset,
    /// One byte after the other, this far apart.
    Drip(Vec<u8>, Duration),
    /// The same over and over, until the client closes the connection.
    Endless(&'static [u8]),
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: BTreeMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct Told {
    requests: Vec<Request>,
    /// What was sent over all connections.
    sent: u64,
}

pub struct Hostile {
    pub address: SocketAddr,
    told: Arc<Mutex<Told>>,
    _task: JoinSet<()>,
}

impl Hostile {
    /// The first connection gets the first reply; once they are used up, all others get the last.
    pub async fn start(script: Vec<Vec<Part>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, told) = (listener.local_addr().unwrap(), Arc::default());
        let mut task = JoinSet::new();
        task.spawn(serve(listener, script, Arc::clone(&told)));
        Self { address, told, _task: task }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.told.lock().unwrap().requests.clone()
    }

    pub fn sent(&self) -> u64 {
        self.told.lock().unwrap().sent
    }

    /// What each request asked for as a range.
    pub fn ranges(&self) -> Vec<Option<String>> {
        self.requests().iter().map(|request| request.header("range").map(str::to_owned)).collect()
    }
}

async fn serve(listener: TcpListener, script: Vec<Vec<Part>>, told: Arc<Mutex<Told>>) {
    let (mut next, mut connections) = (0, JoinSet::new());
    while let Ok((stream, _)) = listener.accept().await {
        let reply = script[next.min(script.len() - 1)].clone();
        next += 1;
        connections.spawn(converse(stream, reply, Arc::clone(&told)));
    }
}

async fn converse(mut stream: TcpStream, reply: Vec<Part>, told: Arc<Mutex<Told>>) {
    let Some(request) = read_request(&mut stream).await else { return };
    told.lock().unwrap().requests.push(request);
    for part in reply {
        if play(&mut stream, part, &told).await.is_err() {
            return;
        }
    }
    stream.shutdown().await.ok();
    // Closing with bytes unread would reset what was sent.
    drain(&mut stream).await;
}

async fn play(stream: &mut TcpStream, part: Part, told: &Mutex<Told>) -> std::io::Result<()> {
    match part {
        Part::Text(text) => send(stream, text.as_bytes(), told).await,
        Part::Bytes(bytes) => send(stream, &bytes, told).await,
        Part::Hold => {
            drain(stream).await;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
        Part::Until(go_on) => {
            go_on.notified().await;
            Ok(())
        }
        Part::Reset => {
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
        Part::Drip(bytes, pause) => {
            for byte in bytes {
                send(stream, &[byte], told).await?;
                tokio::time::sleep(pause).await;
            }
            Ok(())
        }
        Part::Endless(bytes) => loop {
            send(stream, bytes, told).await?;
        },
    }
}

async fn send(stream: &mut TcpStream, bytes: &[u8], told: &Mutex<Told>) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    told.lock().unwrap().sent += bytes.len() as u64;
    Ok(())
}

async fn drain(stream: &mut TcpStream) {
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(head.len() < MAX_REQUEST, "an endless request");
        head.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head).unwrap();
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let fields = lines.filter_map(|line| line.split_once(':'));
    let headers = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Some(Request { method, target, headers })
}
