//! Whole answers over HTTP: the listener for hosts, its API and its index as a main has them, asked over connections
//! that stay open. Times are those of the host that waits; processor time is that of all threads but the hosts'.

use super::{FILES, MEMBERS, RULES, file, judge, say, site, time_in};
use crate::harness::{Place, TestNode, folder, wait};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use wuasync::{
    base::clock::SystemClock,
    daemon::{HostsNearest, World, config},
    domain::{
        key::NodeKey,
        member::{MemberRecord, NodeName, Role},
        nearest::{Declared, NEAREST_PATH, RepositoryUrl, SlotSet},
    },
    front::{
        api::Apis,
        handler::Front,
        server::{FrontConfig, Listener, Server},
    },
    sync::fleet::{FolderHoldings, Known, Via},
};

const ANSWERS: usize = 20_000;
/// Hosts that ask at one time, besides one alone.
const CROWD: usize = 16;

/// Asks a main that knows all of it.
pub(crate) fn measure(declared: &Declared, lacking: &[SlotSet]) {
    let place = Place::new(7);
    (0..FILES).for_each(|n| place.write_old(file(n).as_str(), file(n).as_str().as_bytes()));
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // A thread that ends takes its processor time with it.
    let builder = builder.worker_threads(1).thread_keep_alive(Duration::from_secs(3_600)).enable_all();
    let runtime = builder.build().expect("threads");
    let _entered = runtime.enter();
    let main = TestNode::main(&place, "node0");
    let adopted = || main.repository.state().index.read().ok()?.totals(&folder()).ok();
    runtime.block_on(wait("all is adopted", || adopted().filter(|totals| totals.files == u64::from(FILES))));
    sign(&main, declared);
    let world = World::new(main.shared.clone(), main.key, &config::Nearest::default());
    let (server, shutdown) = listen(&main, world);
    let at = server.addresses()[0];
    for hosts in [1, CROWD] {
        tell(&main, lacking);
        let (begun, bytes) = (all_threads(), Host::connect(at).ask(0));
        let ask = |number: usize| -> Vec<Duration> {
            let mut host = Host::connect(at);
            let mut answer = |n: usize| {
                let asked = Instant::now();
                host.ask(number * 1_000 + n);
                asked.elapsed()
            };
            (0..ANSWERS / hosts).map(&mut answer).collect()
        };
        let times: Vec<_> = thread::scope(|scope| {
            let asking: Vec<_> = (0..hosts).map(|number| scope.spawn(move || ask(number))).collect();
            asking.into_iter().flat_map(|host| host.join().expect("a host ends")).collect()
        });
        // Those of the hosts are gone by then.
        let all = all_threads().saturating_sub(begun);
        say(&format!("over HTTP, {MEMBERS} members, {RULES} rules, {hosts} at one time, bodies of {bytes} bytes"));
        judge(times, all, hosts == 1);
    }
    shutdown.cancel();
    runtime.block_on(server.stopped());
}

fn key(n: u32) -> NodeKey {
    let mut key = [9; 32];
    key[..4].copy_from_slice(&n.to_be_bytes());
    NodeKey(key)
}

fn member(main: &TestNode, n: u32) -> MemberRecord {
    MemberRecord {
        key: if n == 0 { main.key } else { key(n) },
        name: NodeName::new(&format!("node{n}")).expect("a name"),
        site: site(n),
        folders: vec![],
        addresses: vec![],
        role: if n == 0 { Role::Main } else { Role::Secondary },
        joined_at: 0,
        expires_at: None,
    }
}

/// Members, where they are reached, rules and distances.
fn sign(main: &TestNode, declared: &Declared) {
    let (repository, members) = (&main.repository, (0..MEMBERS).map(|n| member(main, n)));
    let mut urls = Vec::new();
    for (n, member) in members.enumerate() {
        repository.admit(&member).expect("a member is admitted");
        urls.push((member.key, RepositoryUrl::new(&format!("https://node{n}.example")).ok()));
    }
    repository.put_urls(&urls).expect("addresses are signed");
    repository.put_repository_rules(&declared.rules).expect("rules are signed");
    for (pair, distance) in declared.distances.pairs() {
        repository.put_distance(pair, Some(distance)).expect("distances are signed");
    }
}

/// What members told a moment ago.
fn tell(main: &TestNode, lacking: &[SlotSet]) {
    let head = main.repository.head().expect("a state");
    let at = (head.head().epoch, head.head().seq);
    for (n, lacking) in (0..).zip(lacking) {
        let holdings =
            FolderHoldings { at, missing_files: 1_000, missing_bytes: 1 << 30, lacking: Arc::new(lacking.clone()) };
        let known = Known {
            heard: Instant::now(),
            url: None,
            word: None,
            load_bytes: u64::from(n) << 18,
            arriving_bytes: 0,
            can_fetch: true,
            folders: BTreeMap::from([(folder(), holdings)]),
            via: Via::Child(key(n)),
        };
        main.shared.fleet.set(member(main, n).key, known);
    }
}

fn listen(main: &TestNode, world: Arc<World>) -> (Server, CancellationToken) {
    let front = Front {
        source: main.supply.clone(),
        health: Arc::new(serde_json::Map::new),
        apis: Apis::new(vec![Arc::new(HostsNearest(world))]),
        usher: None,
        is_trusted: Arc::new(|_| true),
        clock: Arc::new(SystemClock),
    };
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let shutdown = CancellationToken::new();
    let server = Server::start(FrontConfig::default(), vec![Listener { socket, tls: None }], front, shutdown.clone());
    (server.expect("it listens"), shutdown)
}

/// A host whose connection stays open.
struct Host(BufReader<TcpStream>);

impl Host {
    fn connect(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).expect("it answers");
        stream.set_nodelay(true).expect("a socket");
        Self(BufReader::new(stream))
    }

    /// Asks for one of the files, every other time as a host of the last rule; the length of what comes.
    fn ask(&mut self, n: usize) -> usize {
        let (name, net, last) = (file(n as u32 % FILES), if n.is_multiple_of(2) { 10 } else { 11 }, n % 250);
        let seen = format!("X-Forwarded-For: {net}.1.243.{last}");
        let request = format!("GET {NEAREST_PATH}?file={name} HTTP/1.1\r\nHost: site\r\n{seen}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).expect("it takes questions");
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            self.0.read_line(&mut line).expect("it answers");
            assert!(!line.starts_with("HTTP") || line.contains(" 200 "), "{line}");
            let text = line.strip_prefix("content-length: ").map(str::trim);
            length = text.and_then(|text| text.parse().ok()).unwrap_or(length);
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        assert!(body.windows(13).any(|window| window == b"\"holds\":true,"), "{}", body.escape_ascii());
        length
    }
}

/// The processor time of every thread that lives.
fn all_threads() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux tells").flatten();
    threads.filter_map(|thread| time_in(&Path::new(&thread.path()).join("schedstat"))).sum()
}
