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
/// Of each file.
const SIZE: usize = 8_000_000;
/// Hosts at a site that pull at one time.
const HOSTS: usize = 3;
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
            let node = if n == 0 { Node::main("paris") } else { Node::secondary(&name(n)) };
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

#[test]
fn behind_long_lines_hosts_stay_at_their_site_a_line_carries_one_copy_and_a_dead_site_is_left_within_seconds() {
    let mut sites = Sites::start(2);
    let places: Vec<_> = (0..2 * HOSTS).map(|_| tempfile::tempdir().unwrap()).collect();

    // No site has it yet.
    let bytes = noise(1, SIZE);
    let before = [1, 2].map(|n| sites.network.received(n + 1));
    let file = sites.publish("kb1", &bytes);
    let hosts: Vec<_> = (0..2 * HOSTS).map(|at| sites.host(1 + at % 2, &file, places[at].path())).collect();
    for (at, host) in hosts.into_iter().enumerate() {
        let pulled = host.ended();
        assert_eq!((gave(&pulled), &pulled["wasted"]), (vec![name(1 + at % 2)], &0.into()));
        assert!(std::fs::read(places[at].path().join(&file)).unwrap() == bytes);
    }
    for n in [1, 2] {
        let received = sites.network.received(n + 1) - before[n - 1];
        eprintln!("{:.3} copies on the line of site {n}, for {HOSTS} hosts", received as f64 / SIZE as f64);
        // Heads of packets are a fifteenth, and hosts ask the main where to go.
        assert!(received < SIZE as u64 * 11 / 10 + ON_ITS_WAY, "{received} bytes on the line of site {n}");
    }

    // A site dies while its hosts pull what it is fetching itself.
    let bytes = noise(2, SIZE);
    let file = sites.publish("kb2", &bytes);
    let begun: Vec<_> = (0..HOSTS).map(|at| sites.host(1, &file, places[at].path())).collect();
    let have = |at: usize| arrived(places[at].path(), &file);
    wait("all have a part of it", || (0..HOSTS).all(|at| have(at) > SIZE as u64 / 4).then_some(()));
    sites.nodes[1].kill();
    let killed = Instant::now();
    let mut had: Vec<_> = (0..HOSTS).map(|at| (have(at), killed)).collect();
    assert!(had.iter().all(|(had, _)| *had < SIZE as u64), "it died too late: {had:?}");
    let mut longest = Duration::ZERO;
    wait("all are whole", || {
        for (at, (had, since)) in had.iter_mut().enumerate() {
            let have = have(at);
            if have > *had {
                longest = longest.max(since.elapsed());
                (*had, *since) = (have, Instant::now());
            }
        }
        had.iter().all(|(had, _)| *had == SIZE as u64).then_some(())
    });
    assert!(longest < CHANGE, "{longest:?} without a byte");
    for (at, host) in begun.into_iter().enumerate() {
        let pulled = host.ended();
        // The site at a declared distance, if it has the file by then; else the main has it.
        let next = [vec![name(1), name(2)], vec![name(1), "paris".to_owned()]];
        assert!(next.contains(&gave(&pulled)), "{pulled}");
        assert!(pulled["wasted"].as_u64().unwrap() <= TWICE, "{pulled}");
        assert!(std::fs::read(places[at].path().join(&file)).unwrap() == bytes);
    }
    eprintln!("{longest:?} at most without a byte, and {:?} from the death to the end", killed.elapsed());
}
