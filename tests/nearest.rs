//! Five sites and their hosts: real daemons, real HTTP, and hosts that tell addresses of their sites.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod origin;
mod processes;

use origin::Nginx;
use processes::{Node, http_get, immutable, noise, wait};
use serde_json::Value;
use std::{
    io::{Read, Write},
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

/// The main of `sites` secondaries that joined it, each with a rule: site `n` has the hosts of 10.n.0.0/16, and the
/// next one is its neighbour.
struct Line {
    main: Node,
    sites: Vec<Node>,
}

impl Line {
    fn start(main: Node, sites: Vec<Node>) -> Self {
        let main = main.start();
        let sites: Vec<_> = sites.into_iter().map(Node::start).collect();
        for (n, site) in (1..).zip(&sites) {
            site.joins(&main);
            let rule = format!("repositories rules add r{n} --to {} --agent-ip 10.{n}.0.0/16", name(n));
            main.ok(&rule);
            if n > 1 {
                main.ok(&format!("repositories distance {} {} 1", name(n - 1), name(n)));
            }
        }
        Self { main, sites }
    }

    /// Publishes a file and waits until the main knows that all of these sites have it.
    fn publish(&self, stem: &str, bytes: &[u8], sites: &[usize]) -> String {
        let file = immutable(stem, bytes);
        self.main.write(&file, bytes);
        for n in sites {
            self.wait_for_place(&file, *n, |places| places[0]["name"] == name(*n) && places[0]["holds"] == true);
        }
        file
    }

    /// Waits until the places that a host of site `n` is told are so.
    fn wait_for_place(&self, file: &str, n: usize, is_so: impl Fn(&Value) -> bool) {
        wait(&format!("hosts of site {n} are told what they should be"), || {
            is_so(&nearest(self.main.http(), file, &format!("10.{n}.0.9"))["places"]).then_some(())
        });
    }
}

fn name(n: usize) -> String {
    format!("site{n}")
}

/// What a host that is seen as `seen_as` is told.
fn nearest(at: SocketAddr, file: &str, seen_as: &str) -> Value {
    let path = format!("/api/v1/repositories/nearest?file={file}");
    let (status, _, body) = ask(at, &path, &format!("X-Forwarded-For: {seen_as}\r\n"));
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn ask(at: SocketAddr, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(processes::PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer.split_off(end))
}

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
fn a_site_that_lags_is_passed_over_and_its_probe_fails_until_it_has_caught_up() {
    let lag = "[nearest]\nmax_lag_files = 1\n";
    let wapt = |node: &Node| {
        let path = node.place().join("www/wapt");
        std::fs::create_dir_all(&path).unwrap();
        format!("[[folder]]\nname = \"wapt\"\npath = {path:?}\n")
    };
    let main = Node::main("paris").with(lag);
    let folder = wapt(&main);
    let main = main.with(&folder);
    let site = Node::secondary("site1").with(lag);
    let folder = wapt(&site);
    let mut line = Line::start(main, vec![site.with(&folder)]);
    let packages = line.main.place().join("www/wapt/Packages");
    std::fs::write(&packages, "x").unwrap();
    let an_hour_ago = std::time::SystemTime::now() - Duration::from_secs(3_600);
    std::fs::File::options().append(true).open(&packages).unwrap().set_modified(an_hour_ago).unwrap();
    let first = line.publish("kb1", &noise(1, 100_000), &[1]);
    let probe = |node: &Node| http_get(node.http(), "/wapt/Packages").0;
    wait("the site has Packages", || (probe(&line.sites[0]) == 200).then_some(()));

    line.sites[0].stop();
    let site = line.sites.remove(0).with("[limits]\ndisk_reserve = \"900 TiB\"\n").start();
    line.main.write(&immutable("kb2", &noise(2, 100_000)), &noise(2, 100_000));
    line.main.write(&immutable("kb3", &noise(3, 100_000)), &noise(3, 100_000));
    line.wait_for_place(&first, 1, |places| places[0]["name"] == "paris");
    wait("its probe fails", || (probe(&site) == 503).then_some(()));
    let told = line.main.json(&format!("repositories nearest 10.1.0.9 --file {first}"));
    let why = told["passed_over"][0]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("2 files"), "{why}");
    assert_eq!(line.main.cli("repositories nearest 10.1.0.9").exit, 0);
}

#[test]
fn a_main_sends_stock_agents_to_the_nearest_repository_and_keeps_those_that_come_back() {
    let main = Node::main("paris").with("[nearest]\nredirect = true\n");
    let line = Line::start(main, vec![Node::secondary("site1")]);
    let bytes = noise(4, 300_000);
    let file = line.publish("kb1", &bytes, &[1]);
    line.main.write_old("wsusscn2.cab", b"cab");
    line.main.serves("wsusscn2.cab", b"cab");
    let get = |name: &str, host: u32, headers: &str, query: &str| {
        let headers = format!("X-Forwarded-For: 10.1.0.{host}\r\nX-Forwarded-Proto: http\r\n{headers}");
        ask(line.main.http(), &format!("/waptwua/{name}{query}"), &headers)
    };
    // The first probe of the site may still be under way.
    let mut number = 0;
    let head = wait("a host is sent", || {
        number += 1;
        let (status, head, _) = get(&file, number, "", "");
        (status == 302).then_some(head)
    });
    let location = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let site = line.sites[0].http();
    assert_eq!(location, format!("http://{site}/waptwua/{file}?wuasync-sent-by=paris"));
    assert!(head.contains("cache-control: no-store"), "{head}");
    let (status, _, body) = ask(site, location.split_once(&site.to_string()).unwrap().1, "");
    assert!(status == 200 && body == bytes, "what it is sent to has the file");

    let (status, _, body) = get(&file, number, "", "");
    assert!(status == 200 && body == bytes, "whoever comes back stays");
    assert_eq!(get(&file, 100, "", "?wuasync-sent-by=rome").0, 200, "whoever was sent here stays");
    assert_eq!(get("wsusscn2.cab", 101, "", "").0, 200, "the cab never");
    assert_eq!(get(&file, 102, "", "").0, 302);
    let https = "X-Forwarded-For: 10.1.0.103\r\n".to_owned();
    assert_eq!(ask(line.main.http(), &format!("/waptwua/{file}"), &https).0, 200, "never to a weaker scheme");
    let elsewhere = "X-Forwarded-For: 10.9.0.1\r\nX-Forwarded-Proto: http\r\n";
    assert_eq!(ask(line.main.http(), &format!("/waptwua/{file}"), elsewhere).0, 200, "no rule sends it away");
    // Nobody is sent on from there.
    let (status, _, _) = ask(site, &format!("/waptwua/{file}"), "X-Forwarded-For: 10.9.0.1\r\n");
    assert_eq!(status, 200);
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
