//! A UDP path between two nodes that can be counted, slowed down, cut and led elsewhere. As on a line between sites,
//! what Ethernet does not carry is lost, though both ends' own link would let it through.

use std::time::Duration;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};
use tokio::{
    net::UdpSocket,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// What a slow link lets through at once after a rest, in time.
const BURST: Duration = Duration::from_millis(5);

/// A frame of Ethernet, without the heads of IPv4 and UDP.
const LARGEST_PACKET: usize = 1_472;

struct State {
    target: Mutex<SocketAddr>,
    cut: AtomicBool,
    bytes: AtomicU64,
    /// Bytes a second toward whoever connects; 0 for as many as there are.
    rate: AtomicU64,
    /// Which ways are in use: those of earlier ones lead nowhere.
    generation: AtomicU64,
}

/// Dropping it ends it.
pub struct Link {
    pub address: SocketAddr,
    state: Arc<State>,
    _task: JoinSet<()>,
}

impl Link {
    pub async fn to(target: SocketAddr) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let state = State {
            target: Mutex::new(target),
            cut: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        };
        let state = Arc::new(state);
        let mut tasks = JoinSet::new();
        tasks.spawn(forward(socket, state.clone()));
        Self { address, state, _task: tasks }
    }

    /// So many bytes a second go toward whoever connects; what is sent faster waits, and is lost beyond that.
    pub fn slow_down_to(&self, bytes_a_second: u64) {
        self.state.rate.store(bytes_a_second, Relaxed);
    }

    /// Everything is lost from here on.
    pub fn cut(&self) {
        self.state.cut.store(true, Relaxed);
    }

    pub fn heal(&self) {
        self.state.cut.store(false, Relaxed);
    }

    /// New connections go there.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.state.target.lock().unwrap() = target;
    }

    /// Every node behind the link gets another source port, as behind a NAT that forgot; what is sent to
    /// the old ones is lost.
    pub fn rebind(&self) {
        self.state.generation.fetch_add(1, Relaxed);
    }

    /// Bytes that went through in both directions, without UDP and IP headers.
    pub fn bytes(&self) -> u64 {
        self.state.bytes.load(Relaxed)
    }
}

async fn forward(socket: Arc<UdpSocket>, state: Arc<State>) {
    let mut ways: BTreeMap<(SocketAddr, SocketAddr, u64), Arc<UdpSocket>> = BTreeMap::new();
    let mut back = JoinSet::new();
    let mut packet = vec![0; 65_536];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut packet).await else { continue };
        if length > LARGEST_PACKET {
            continue;
        }
        let target = *state.target.lock().unwrap();
        let generation = state.generation.load(Relaxed);
        let way = match ways.entry((from, target, generation)) {
            Entry::Occupied(way) => way.into_mut(),
            Entry::Vacant(place) => {
                let way = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                way.connect(target).await.unwrap();
                back.spawn(send_back(way.clone(), socket.clone(), from, state.clone(), generation));
                place.insert(way)
            }
        };
        if !state.cut.load(Relaxed) {
            state.bytes.fetch_add(length as u64, Relaxed);
            way.send(&packet[..length]).await.ok();
        }
    }
}

async fn send_back(way: Arc<UdpSocket>, socket: Arc<UdpSocket>, to: SocketAddr, state: Arc<State>, generation: u64) {
    let mut packet = vec![0; 65_536];
    let mut free_at = Instant::now();
    loop {
        let Ok(length) = way.recv(&mut packet).await else { continue };
        if length > LARGEST_PACKET {
            continue;
        }
        let rate = state.rate.load(Relaxed);
        if rate > 0 {
            // The socket's own buffer is the queue. Short sleeps last too long, so that a little goes at once.
            free_at = free_at.max(Instant::now() - BURST) + Duration::from_secs_f64(length as f64 / rate as f64);
            sleep_until(free_at).await;
        }
        if state.generation.load(Relaxed) != generation {
            return;
        }
        if !state.cut.load(Relaxed) {
            state.bytes.fetch_add(length as u64, Relaxed);
            socket.send_to(&packet[..length], to).await.ok();
        }
    }
}
