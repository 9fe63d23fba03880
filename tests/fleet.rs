//! The fleet as stock agents and the main's administrator see it: a site that lags gives its hosts to others, and the
//! main says when it will be whole, and that it is late.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod line;
mod processes;

use line::{Line, name};
use processes::{Node, http, immutable, noise, wait};
use serde_json::Value;
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    time::{Duration, SystemTime},
};

/// A site that lacks two files is passed over.
const LAG: &str = "[nearest]\nmax_lag_files = 1\n";
/// Nothing is written any more.
const FULL: &str = "[limits]\ndisk_reserve = \"900 TiB\"\n";
/// A minute for what is published.
const THIN: &str = "[bandwidth]\nlimit = \"2 Mbit/s\"\n";

/// With the folder that stock agents probe.
fn with_packages(node: Node) -> Node {
    let path = node.place().join("www/wapt");
    fs::create_dir_all(&path).unwrap();
    node.with(&format!("[[folder]]\nname = \"wapt\"\npath = {path:?}\n"))
}

/// A list of no packages, which all of these have from then on.
fn put_packages(line: &Line) {
    let packages = line.main.place().join("www/wapt/Packages");
    fs::write(&packages, "x").unwrap();
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    fs::File::options().append(true).open(&packages).unwrap().set_modified(an_hour_ago).unwrap();
    for node in line.sites.iter().chain([&line.main]) {
        wait("Packages is there", || answers(node.http()).then_some(()));
    }
}

/// Whether a repository answers the probe of a stock agent.
fn answers(at: SocketAddr) -> bool {
    if TcpStream::connect(at).is_err() {
        return false;
    }
    let (status, head, _) = http(at, "HEAD", "/wapt/Packages");
    (200..300).contains(&status) && head.to_ascii_lowercase().contains("last-modified: ")
}

/// As WAPT's agent chooses: the first repository of the rules that match which answers the probe, else that of its ini.
fn chosen(rules: &[SocketAddr], ini: SocketAddr) -> SocketAddr {
    rules.iter().copied().find(|at| answers(*at)).unwrap_or(ini)
}

#[test]
fn rules_of_stock_agents_fall_through_past_a_site_that_lags_or_died_until_it_has_caught_up() {
    let sites = [1, 2].map(|n| with_packages(Node::secondary(&name(n)).with(LAG)));
    let mut line = Line::start(with_packages(Node::main("paris").with(LAG)), sites.into());
    put_packages(&line);
    let at = |node: &Node| node.http();
    let (main, neighbour) = (at(&line.main), at(&line.sites[1]));
    let first = line.publish("kb1", &noise(1, 100_000), &[1, 2]);
    assert_eq!(chosen(&[at(&line.sites[0]), neighbour], main), at(&line.sites[0]));

    line.sites[0].stop();
    let late = line.sites.remove(0).with(FULL).start();
    line.sites.insert(0, late);
    for seed in [2, 3] {
        line.main.write(&immutable("kb", &noise(seed, 100_000)), &noise(seed, 100_000));
    }
    line.wait_for_place(&first, 1, |places| places[0]["name"] == name(2));
    wait("its hosts go to the next rule", || {
        (chosen(&[at(&line.sites[0]), neighbour], main) == neighbour).then_some(())
    });
    let told = line.main.json(&format!("repositories nearest 10.1.0.9 --file {first}"));
    let why = told["passed_over"][0]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("2 files"), "{why}");

    line.sites[1].kill();
    assert_eq!(chosen(&[at(&line.sites[0]), neighbour], main), main, "no rule is left");
    line.sites[0].stop();
    line.sites[0].reconfigure(FULL, "");
    line.sites[0].start_again();
    wait("its hosts come back", || (chosen(&[at(&line.sites[0])], main) == at(&line.sites[0])).then_some(()));
    line.wait_for_place(&first, 1, |places| places[0]["name"] == name(1));
}

#[test]
fn a_main_says_when_a_site_will_be_whole_and_that_it_is_late_until_it_is_whole() {
    let within = "[nearest]\ncomplete_within = \"6s\"\n";
    let line = Line::start(Node::main("paris").with(within), vec![Node::secondary("site1")]);
    line.publish("kb0", &noise(1, 10_000), &[1]);
    let site = &line.sites[0];
    site.reconfigure("[http]", &format!("{THIN}\n[http]"));
    site.reload();
    wait("the line is thin", || site.status()["rates"]["limit_bits_per_second"].is_u64().then_some(()));
    for seed in 2..5 {
        line.main.write(&immutable("kb", &noise(seed, 5_000_000)), &noise(seed, 5_000_000));
    }
    let row = || line.main.json("status")["repositories"][1].clone();
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap();
    let soon = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 600;
    let late = wait("it is late, and what arrives says when it will be whole", || {
        let row = row();
        (row["is_late"] == true && row["whole_at"].as_u64().is_some_and(|at| at < soon())).then_some(row)
    });
    assert!(number(&late, "lag_files") > 0 && number(&late, "arriving_bytes_per_second") > 0, "{late}");
    assert!(line.main.tells("site1 lacks "), "an alarm");
    let metric = |name: &str| {
        line.main.metric(&format!("{name}{{repository=\"site1\",site=\"{}\"}}", late["site"].as_str().unwrap()))
    };
    assert_eq!(metric("repository_late"), 1);
    assert!(metric("repository_lag_bytes") > 0);
    let page = line.main.ok("status").out;
    assert!(page.contains("will not hold everything within 6.0 s") && page.contains(": late"), "{page}");

    site.reconfigure(THIN, "");
    site.reload();
    wait("it is whole", || (number(&row(), "lag_files") == 0).then_some(()));
    wait("the alarm is over", || (!line.main.tells("site1 lacks ")).then_some(()));
    assert_eq!((metric("repository_late"), row()["is_late"] == false), (0, true));
}
