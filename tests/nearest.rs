//! Five sites and their hosts: real daemons, real HTTP, and hosts that tell addresses of their sites.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod line;
mod origin;
mod processes;

use line::{Line, ask, name, nearest};
use origin::Nginx;
use processes::{Node, immutable, noise, wait};
use std::{
    io::Read,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};
use wuasync::{
    agent::{
        client::AgentClient,
        course::{Fault, Place},
        pull::{Leg, Pulled, Settings, Watch, pull},
    },
    base::clock::SystemClock,
    domain::{
        name::{FileName, FolderName},
        nearest::{NearestQuery, RepositoryUrl},
    },
};

/// From the death of a repository to the first byte of another.
const CHANGE: Duration = Duration::from_secs(5);

/// A host of site `n` that pulls; whatever happens meanwhile is `watch`'s to see.
fn host(main: SocketAddr, n: usize, number: usize, file: &str, watch: &mut dyn Watch) -> (Pulled, Vec<u8>) {
    let place = tempfile::tempdir().unwrap();
    let pulled = host_at(place.path(), main, (n, number), file, watch);
    (pulled, std::fs::read(place.path().join(file)).unwrap())
}

/// The same, with a place of its own.
fn host_at(place: &Path, main: SocketAddr, (n, number): (usize, usize), file: &str, watch: &mut dyn Watch) -> Pulled {
    let settings = Settings {
        from: vec![RepositoryUrl::new(&format!("http://{main}")).unwrap()],
        host: NearestQuery { ip: Some(format!("10.{n}.0.{number}")), ..NearestQuery::default() },
        stall: Duration::from_secs(3),
        least_rate: 0,
        patience: Duration::from_secs(60),
    };
    let client = AgentClient::new(&[]).unwrap();
    let (folder, name) = (FolderName::new("waptwua").unwrap(), FileName::new(file).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(pull(&client, &SystemClock, &settings, (&folder, &name), place, watch)).unwrap()
}

/// Whether a file has these bytes; it may be larger than what many hosts can hold in memory.
fn has(path: &Path, bytes: &[u8]) -> bool {
    let mut file = std::fs::File::open(path).unwrap();
    let mut block = vec![0; 1 << 20];
    let same = bytes.chunks(block.len()).all(|chunk| {
        let block = &mut block[..chunk.len()];
        file.read_exact(block).is_ok() && block == chunk
    });
    same && file.read(&mut block).unwrap() == 0
}

/// Sees nothing.
struct Nobody;

impl Watch for Nobody {
    fn on_bytes(&mut self, _: u64, _: Option<u64>) {}
    fn on_left(&mut self, _: &Place, _: &Fault) {}
    fn on_wait(&mut self, _: Duration, _: Duration) {}
}

/// Sees who was left, and why.
#[derive(Default)]
struct Left(Vec<String>);

impl Watch for Left {
    fn on_bytes(&mut self, _: u64, _: Option<u64>) {}
    fn on_left(&mut self, place: &Place, fault: &Fault) {
        self.0.push(format!("{:?} {fault}", place.name));
    }
    fn on_wait(&mut self, _: Duration, _: Duration) {}
}

/// Kills a node once so many bytes are here, and sees when the next byte came after that.
struct Killer<'k> {
    victim: &'k mut Node,
    at: u64,
    killed: Option<Instant>,
    left: bool,
    gap: Option<Duration>,
}

impl Watch for Killer<'_> {
    fn on_bytes(&mut self, have: u64, _: Option<u64>) {
        match self.killed {
            None if have >= self.at => {
                self.victim.kill();
                self.killed = Some(Instant::now());
            }
            Some(killed) if self.left && self.gap.is_none() => self.gap = Some(killed.elapsed()),
            _ => {}
        }
    }

    fn on_left(&mut self, _: &Place, _: &Fault) {
        self.left = true;
    }

    fn on_wait(&mut self, _: Duration, _: Duration) {}
}

#[test]
fn each_host_ends_at_its_own_site_and_finishes_elsewhere_byte_for_byte_when_that_dies() {
    let sites = (1..=5).map(|n| Node::secondary(&name(n))).collect();
    let mut line = Line::start(Node::main("paris"), sites);
    let bytes = noise(7, 48_000_000);
    let file = line.publish("kb1", &bytes, &[1, 2, 3, 4, 5]);
    let main = line.main.http();
    std::thread::scope(|scope| {
        for n in 1..=5 {
            for number in 1..=4 {
                let (file, bytes) = (&file, &bytes);
                scope.spawn(move || {
                    let (pulled, got) = host(main, n, number, file, &mut Nobody);
                    assert!(&got == bytes);
                    let from: Vec<_> = pulled.legs.iter().map(|leg| leg.name.clone().unwrap()).collect();
                    assert_eq!((from, pulled.wasted), (vec![name(n)], 0));
                });
            }
        }
    });
    let told = line.main.metric("http_bytes_total");
    assert!(told < 1_000_000, "not a byte of the 20 pulls came from the main: {told}");

    let mut killer = Killer { victim: &mut line.sites[0], at: 8_000_000, killed: None, left: false, gap: None };
    let (pulled, got) = host(main, 1, 9, &file, &mut killer);
    assert!(got == bytes);
    let from: Vec<_> = pulled.legs.iter().map(|leg| leg.name.clone().unwrap()).collect();
    assert_eq!(from, ["site1", "site2"], "its neighbour at a declared distance goes on");
    assert_eq!((pulled.legs[0].to, pulled.wasted), (pulled.legs[1].from, 0), "where it stopped");
    assert!(pulled.legs[0].to >= 8_000_000 && killer.gap.unwrap() < CHANGE, "{:?}", killer.gap);

    // Whoever asks afterwards is sent past the dead one as soon as it is silent for too long, and meanwhile finds out.
    let (pulled, got) = host(main, 1, 10, &file, &mut Nobody);
    assert!(got == bytes && pulled.legs[0].name.as_deref() == Some("site2"));

    line.main.ok("pair revoke site4");
    line.wait_for_place(&file, 4, |places| places.as_array().unwrap().iter().all(|place| place["name"] != "site4"));
}

#[test]
fn questions_that_make_no_sense_are_refused_and_a_secondary_answers_for_itself() {
    let line = Line::start(Node::main("paris"), vec![Node::secondary("site1")]);
    let bytes = noise(5, 100_000);
    let file = line.publish("kb1", &bytes, &[1]);
    let path = "/api/v1/repositories/nearest";
    for (query, status) in [("?file=..%2Fx", 400), ("?ip=10.0.0.300", 400), ("?host=%00", 400), ("", 200)] {
        assert_eq!(ask(line.main.http(), &format!("{path}{query}"), "").0, status, "{query}");
    }
    // Where the main is reached, a secondary hears a moment before it hears what the main has.
    let told = wait("the secondary knows that both have the file", || {
        let told = nearest(line.sites[0].http(), &file, "10.1.0.9");
        let places = told["places"].as_array().unwrap();
        let is_so = |place: usize, name: &str| places[place]["name"] == name && places[place]["holds"] == true;
        (places.len() == 2 && is_so(0, "site1") && is_so(1, "paris")).then_some(told)
    });
    assert!(told.get("passed_over").is_none());
    let listed = line.main.json("repositories list");
    assert_eq!((&listed[1]["name"], &listed[1]["lag_files"]), (&"site1".into(), &0.into()));
    assert_eq!(line.main.cli(&format!("repositories test 10.1.0.9 --file {file}")).exit, 0);
    let rules = line.main.json("repositories rules list");
    assert_eq!(rules["rules"][0]["to"], "site1");
    assert_eq!(line.sites[0].cli("repositories rules remove r1").exit, 4);

    let to = line.main.place().join("pulled");
    let command = format!("agent pull {file} --from http://{} --ip 10.1.0.9 --to {}", line.main.http(), to.display());
    let pulled = line.main.json(&command);
    assert_eq!((&pulled["legs"][0]["name"], &pulled["is_proven"]), (&"site1".into(), &true.into()));
    assert!(std::fs::read(to.join(&file)).unwrap() == bytes);
    assert_eq!(line.main.json(&command)["was_here"], true);
}

#[test]
fn a_host_behind_nginx_is_known_by_whom_nginx_names() {
    let line = Line::start(Node::main("paris"), vec![Node::secondary("site1"), Node::secondary("site2")]);
    let file = line.publish("kb1", &noise(6, 100_000), &[1, 2]);
    let to = format!(
        "location / {{ proxy_pass http://{}; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }}",
        line.main.http()
    );
    let nginx = Nginx::start("wapt.example", &to);
    wait("nginx answers", || TcpStream::connect(nginx.address).ok());
    for n in [1, 2] {
        let told = nearest(nginx.address, &file, &format!("10.{n}.7.7"));
        assert_eq!(told["places"][0]["name"], name(n), "{told}");
    }
    let told = nearest(nginx.address, &file, "192.0.2.1");
    assert_eq!(told["places"][0]["name"], "paris", "whom no rule knows stays: {told}");
}

#[test]
fn a_secondary_of_a_secondary_is_known_to_the_main_with_what_it_lacks_and_where_it_is_reached() {
    let line = Line::start(Node::main("paris"), vec![Node::secondary("site1")]);
    let mut below = Node::secondary("below").start();
    let at = line.sites[0].ready()["sync"].as_str().unwrap().to_owned();
    let token = line.main.token(&format!("pair invite below --via site1 --address {at}"));
    below.ok(&format!("join {token}"));
    line.main.ok("repositories rules add b --to below --agent-ip 10.7.0.0/16");
    let file = immutable("kb1", &noise(10, 100_000));
    line.main.write(&file, &noise(10, 100_000));
    line.wait_for_place(&file, 7, |places| {
        places[0]["name"] == "below"
            && places[0]["holds"] == true
            && places[0]["url"] == format!("http://{}", below.http())
    });
    let told = wait("it knows the main through its parent", || {
        let told = nearest(below.http(), &file, "10.7.0.9");
        (told["places"].as_array().unwrap().len() == 3).then_some(told)
    });
    let names: Vec<_> = told["places"].as_array().unwrap().iter().map(|place| place["name"].clone()).collect();
    assert_eq!(names, ["below", "paris", "site1"]);

    // It is reached elsewhere from its next start on; whoever is between only passes on what it signed.
    below.stop();
    below.reconfigure("[http]\n", "[http]\npublic_url = \"http://below.example\"\n");
    below.start_again();
    line.wait_for_place(&file, 7, |places| places[0]["name"] == "below" && places[0]["url"] == "http://below.example");
    line.main.ok("pair revoke below");
    line.wait_for_place(&file, 7, |places| places.as_array().unwrap().iter().all(|place| place["name"] != "below"));
}

/// A number that the environment may set, for measurements.
fn number(key: &str, usual: usize) -> usize {
    std::env::var(key).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What may come to a site twice: what was on its way to its mirror when its first host asked, which a stream's window
/// (1 MiB) bounds, and the step of 256 KiB that was being verified.
const ON_ITS_WAY: u64 = 1_280 << 10;

/// `NEAREST_HOSTS` at each site pull a file of `NEAREST_MB` that no site has yet, `NEAREST_AT_ONCE` of all hosts at one
/// time: each lets its copy go when it has compared it.
#[test]
fn all_hosts_of_five_sites_cost_the_main_one_copy_for_each_site() {
    let (hosts, megabytes) = (number("NEAREST_HOSTS", 4), number("NEAREST_MB", 12));
    let at_once = number("NEAREST_AT_ONCE", 20);
    let sites = (1..=5).map(|n| Node::secondary(&name(n))).collect();
    let line = Line::start(Node::main("paris"), sites);
    line.publish("kb0", &noise(8, 10_000), &[1, 2, 3, 4, 5]);
    let bytes = noise(9, megabytes << 20);
    let file = immutable("kb1", &bytes);
    let sent = || line.main.metric("sent_bytes_total") + line.main.metric("http_bytes_total");
    let before = sent();
    line.main.write(&file, &bytes);
    line.main.serves(&file, &bytes);
    let main = line.main.http();
    let (before, begun) = (before + bytes.len() as u64, Instant::now());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            let (file, bytes, next) = (&file, &bytes, &next);
            // The sites take turns, so that each has its first hosts at one time.
            let turn = move || Some(next.fetch_add(1, Relaxed)).filter(|at| *at < 5 * hosts);
            scope.spawn(move || {
                while let Some(at) = turn() {
                    let (n, number, mut left) = (1 + at % 5, at / 5, Left::default());
                    let place = tempfile::tempdir().unwrap();
                    let pulled = host_at(place.path(), main, (n, number % 250), file, &mut left);
                    assert!(has(&place.path().join(file), bytes));
                    let is_own = |leg: &Leg| leg.name.as_deref() == Some(&name(n));
                    assert!(pulled.legs.iter().all(is_own), "site {n}: {pulled:?} {:?}", left.0);
                }
            });
        }
    });
    let (each, most) = ((sent() - before) / 5, bytes.len() as u64 * 11 / 10 + ON_ITS_WAY);
    let copies = each as f64 / bytes.len() as f64;
    eprintln!("{} hosts, {megabytes} MiB: {copies:.3} copies for each site, {:?}", 5 * hosts, begun.elapsed());
    assert!(each <= most, "{copies} copies for each site");
}
