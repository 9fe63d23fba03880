//! Sites behind slow, long lines: real daemons and real hosts, each site in a network of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

#[path = "wan/network.rs"]
mod network;
mod processes;

use network::{Line, Network, address, arrived};
use processes::{Node, immutable, noise, wait};
use serde_json::Value;
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A site's line.
const LINE: Line = Line { delay_ms: 20, rate_mbit: 20 };
/// The line of a site that is to lag: its own ceiling.
const THIN: &str = "[bandwidth]\nlimit = \"0.25 Mbit/s\"\n";
/// Sites.
const SITES: usize = 5;
/// Of each file.
const SIZE: usize = 5_000_000;
/// A repository that lacks more is passed over: a file that is on its way everywhere is no lag, and two are.
const MAX_LAG: usize = 8_000_000;
/// Hosts at a site that pull at one time.
const HOSTS: usize = 2;
/// The longest that a host waits for its next byte when its repository dies.
const CHANGE: Duration = Duration::from_secs(5);
/// What may come over a line twice: what was on its way to the mirror when the first host asked, which a stream's window
/// (1 MiB) bounds, and the step of 256 KiB that was being verified.
const ON_ITS_WAY: u64 = 1_280 << 10;
/// Bytes that may come twice because a repository died.
const TWICE: u64 = 1_000_000;

/// A main at the bridge and a secondary at the end of each line, numbered from 1 and 2 on.
struct Sites {
    nodes: Vec<Node>,
    network: Network,
}

impl Sites {
    fn start(count: usize) -> Self {
        let mut network = Network::new();
        let mut nodes = vec![];
        for n in 0..=count {
            let place = network.place((n > 0).then_some(LINE));
            let lag = format!("[nearest]\nmax_lag = \"{MAX_LAG} B\"\n");
            let node = if n == 0 { Node::main("paris").with(&lag) } else { Node::secondary(&name(n)) };
            let mut node = node.with(&format!("[http]\nlisten = [\"{}:8080\"]\n", address(place)));
            node.reconfigure(
                "[sync]\nlisten = \"127.0.0.1:0\"",
                &format!("[sync]\nlisten = \"{}:4443\"", address(place)),
            );
            node.start_with(network.words(place));
            nodes.push(node);
        }
        let sites = Self { nodes, network };
        let main = &sites.nodes[0];
        for n in 1..=count {
            sites.nodes[n].joins(main);
            main.ok(&format!("repositories rules add r{n} --to {} --public-ip {}/32", name(n), address(n + 1)));
        }
        main.ok(&format!("repositories distance {} {} 1", name(1), name(2)));
        main.ok(&format!("repositories distance {} {} 1", name(SITES), name(SITES - 1)));
        for n in 1..=count {
            wait("the main knows the site", || {
                let told = main.json(&format!("repositories nearest {}", address(n + 1)));
                (told["places"][0]["name"] == name(n)).then_some(())
            });
        }
        sites
    }

    /// Writes a file and waits until the main has adopted it.
    fn publish(&self, stem: &str, bytes: &[u8]) -> String {
        let file = immutable(stem, bytes);
        self.nodes[0].write(&file, bytes);
        wait("the main has it", || (self.nodes[0].cli(&format!("files show {file}")).exit == 0).then_some(()));
        file
    }

    /// A host of site `n` that pulls.
    fn host(&self, n: usize, file: &str, to: &Path) -> Host {
        let words = self.network.words(n + 1);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(env!("CARGO_BIN_EXE_wuasync")).args(["--json", "agent", "pull", file, "--from"]);
        command.arg(format!("http://{}:8080", address(1))).arg("--to").arg(to);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Host { child: command.spawn().unwrap() }
    }
}

fn name(n: usize) -> String {
    format!("site{n}")
}

/// One that pulls.
struct Host {
    child: Child,
}

impl Host {
    /// Who gave it what.
    fn ended(self) -> Value {
        let output = self.child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

fn gave(pulled: &Value) -> Vec<String> {
    pulled["legs"].as_array().unwrap().iter().map(|leg| leg["name"].as_str().unwrap_or("?").to_owned()).collect()
}

/// What a host at a place of its own got.
fn is_whole(place: &tempfile::TempDir, file: &str, bytes: &[u8]) -> bool {
    std::fs::read(place.path().join(file)).unwrap() == bytes
}

#[test]
fn behind_long_lines_hosts_of_five_sites_stay_at_theirs_and_leave_it_when_it_dies_or_lags() {
    let mut sites = Sites::start(SITES);
    let places: Vec<_> = (0..SITES * HOSTS).map(|_| tempfile::tempdir().unwrap()).collect();
    sites.each_stays_and_a_line_carries_one_copy(&places);
    sites.a_dead_one_is_left_within_seconds(&places);
    sites.one_that_lags_is_passed_over(&places);
}

impl Sites {
    /// A file that no site has yet, for hosts of all of them.
    fn each_stays_and_a_line_carries_one_copy(&self, places: &[tempfile::TempDir]) {
        let bytes = noise(1, SIZE);
        let before: Vec<_> = (1..=SITES).map(|n| self.network.received(n + 1)).collect();
        let file = self.publish("kb1", &bytes);
        let site_of = |at: usize| 1 + at % SITES;
        let hosts: Vec<_> = (0..).zip(places).map(|(at, place)| self.host(site_of(at), &file, place.path())).collect();
        for (at, host) in hosts.into_iter().enumerate() {
            let pulled = host.ended();
            assert_eq!((gave(&pulled), &pulled["wasted"]), (vec![name(site_of(at))], &0.into()));
            assert!(is_whole(&places[at], &file, &bytes));
        }
        for n in 1..=SITES {
            let received = self.network.received(n + 1) - before[n - 1];
            eprintln!("{:.3} copies on the line of site {n}, for {HOSTS} hosts", received as f64 / SIZE as f64);
            // Heads of packets are a fifteenth, and hosts ask the main where to go.
            assert!(received < SIZE as u64 * 11 / 10 + ON_ITS_WAY, "{received} bytes on the line of site {n}");
        }
    }

    /// A site dies while its hosts pull what it is fetching itself.
    fn a_dead_one_is_left_within_seconds(&mut self, places: &[tempfile::TempDir]) {
        let bytes = noise(2, SIZE);
        let file = self.publish("kb2", &bytes);
        let places = &places[..HOSTS];
        let begun: Vec<_> = places.iter().map(|place| self.host(1, &file, place.path())).collect();
        let have = || places.iter().map(|place| arrived(place.path(), &file));
        wait("all have a part of it", || have().all(|have| have > SIZE as u64 / 4).then_some(()));
        self.nodes[1].kill();
        let killed = Instant::now();
        let mut had: Vec<_> = have().map(|have| (have, killed)).collect();
        assert!(had.iter().all(|(had, _)| *had < SIZE as u64), "it died too late: {had:?}");
        let mut longest = Duration::ZERO;
        wait("all are whole", || {
            for (have, (had, since)) in have().zip(&mut had) {
                if have > *had {
                    longest = longest.max(since.elapsed());
                    (*had, *since) = (have, Instant::now());
                }
            }
            had.iter().all(|(had, _)| *had == SIZE as u64).then_some(())
        });
        assert!(longest < CHANGE, "{longest:?} without a byte");
        for (place, host) in places.iter().zip(begun) {
            let pulled = host.ended();
            // The site at a declared distance, if it has the file by then; else the main has it.
            let next = [vec![name(1), name(2)], vec![name(1), "paris".to_owned()]];
            assert!(next.contains(&gave(&pulled)), "{pulled}");
            assert!(pulled["wasted"].as_u64().unwrap() <= TWICE, "{pulled}");
            assert!(is_whole(place, &file, &bytes));
        }
        eprintln!("{longest:?} at most without a byte, and {:?} from the death to the end", killed.elapsed());
    }

    /// A site has less and less of what the others have: its hosts go to its neighbour.
    fn one_that_lags_is_passed_over(&self, places: &[tempfile::TempDir]) {
        let late = &self.nodes[SITES];
        late.reconfigure("[http]", &format!("{THIN}\n[http]"));
        late.reload();
        let bytes = noise(3, SIZE);
        let file = self.publish("kb3", &bytes);
        self.publish("kb4", &noise(4, SIZE));
        let main = &self.nodes[0];
        let why = wait("it is passed over", || {
            let told = main.json(&format!("repositories nearest {} --file {file}", address(SITES + 1)));
            let is_so = told["places"][0]["name"] == name(SITES - 1) && told["places"][0]["holds"] == true;
            is_so.then(|| told["passed_over"][0].clone())
        });
        assert_eq!(why["who"], name(SITES));
        assert!(why["why"].as_str().unwrap().contains("2 files"), "{why}");
        let places = &places[..HOSTS];
        let hosts: Vec<_> = places.iter().map(|place| self.host(SITES, &file, place.path())).collect();
        for (place, host) in places.iter().zip(hosts) {
            let pulled = host.ended();
            assert_eq!((gave(&pulled), &pulled["wasted"]), (vec![name(SITES - 1)], &0.into()));
            assert!(is_whole(place, &file, &bytes));
        }
        assert!(late.json("status")["folders"][0]["missing_files"].as_u64() > Some(0), "it still lags");
    }
}
