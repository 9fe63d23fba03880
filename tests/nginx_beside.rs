//! A real nginx beside real daemons, as `wuasync config nginx` says; and a daemon alone on 80 and 443.
//!
//! Needs root (for a network of its own) and the programs that `tests/run` installs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod processes;
#[path = "nginx_beside/server.rs"]
mod server;

use processes::{Node, http, immutable, noise, wait};
use server::{Keys, Nginx, curl};
use std::{
    fs,
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};

const WHEN: &str = "Tue, 14 May 2024 17:00:00 GMT";
const STAMP: u64 = 1_715_706_000;

/// A node whose daemon has a port that nginx can be told.
fn node(node: Node) -> Node {
    node.with(&format!("[http]\nlisten = [\"{}\"]\n", server::free_address()))
}

fn dated(node: &Node, name: &str, bytes: &[u8]) {
    let elsewhere = node.place().join("dated");
    fs::write(&elsewhere, bytes).unwrap();
    let when = UNIX_EPOCH + Duration::from_secs(STAMP);
    fs::File::options().append(true).open(&elsewhere).unwrap().set_modified(when).unwrap();
    fs::rename(elsewhere, node.folder().join(name)).unwrap();
}

/// A header of an answer, in the name's usual case.
fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// What agents go by.
fn facts(head: &str) -> Vec<Option<String>> {
    ["Content-Length", "Content-Type", "Last-Modified", "Accept-Ranges"].map(|name| header(head, name)).to_vec()
}

fn served(node: &Node) -> u64 {
    node.metric("http_requests_total")
}

#[test]
fn hits_are_the_daemons_bytes_and_dates_and_misses_are_the_daemons() {
    let main = Node::main("paris");
    let (file, cab) = (noise(1, 300_000), noise(2, 50_000));
    let name = immutable("windows10.0-kb1-x64", &file);
    dated(&main, &name, &file);
    dated(&main, "wsusscn2.cab", &cab);
    let main = main.start();
    let lyon = node(Node::secondary("lyon")).start();
    lyon.joins(&main);
    wait("the main knows both", || (main.status()["folders"][0]["files"] == 2).then_some(()));
    lyon.catches_up_with(&main);

    let nginx = Nginx::beside(&lyon, &["--hits", "nginx"], None);
    let at = nginx.plain;
    for name in [name.as_str(), "wsusscn2.cab"] {
        let path = format!("/waptwua/{name}");
        let (own, over) = (http(lyon.http(), "GET", &path), http(at, "GET", &path));
        assert_eq!((over.0, &over.2), (200, &own.2), "{name}");
        assert_eq!(facts(&over.1), facts(&own.1), "{name}: {}", over.1);
        assert_eq!(header(&over.1, "Last-Modified").as_deref(), Some(WHEN));
        assert_eq!(facts(&http(at, "HEAD", &path).1), facts(&own.1), "{name}");
    }
    assert_eq!(nginx.served_itself(), [name.clone(), name.clone()], "the mutable one is the daemon's");

    let heard = served(&lyon);
    http(at, "GET", &format!("/waptwua/{name}"));
    wait("the daemon hears of a hit", || (served(&lyon) > heard).then_some(()));

    let url = format!("http://{at}/waptwua/{name}");
    assert_eq!(curl(&["-r", "100-199", &url]), file[100..200]);
    assert_eq!(curl(&["-r", "1-2,5-6", &url]), file, "several ranges are the whole, as the daemon has it");
    let not_modified = curl(&["-z", WHEN, "-o", "/dev/null", "-w", "%{http_code}", &url]);
    assert_eq!(not_modified, b"304");

    for (path, status) in [
        (format!("/waptwua/{}", immutable("never", b"told")), 404),
        ("/waptwua/".to_owned(), 404),
        ("/waptwua/../state/ledger.redb".to_owned(), 404),
        ("/waptwua/.stfolder/x".to_owned(), 400),
        ("/api/v1/status".to_owned(), 404),
        ("/wuasync-asked".to_owned(), 404),
    ] {
        assert_eq!(http(at, "GET", &path).0, status, "{path}");
    }
}

#[test]
fn links_edits_and_removals_are_never_served_by_nginx_beyond_their_moment() {
    let lyon = node(Node::main("lyon")).start();
    let bytes = noise(3, 10_000);
    let (name, link) = (immutable("kb", &bytes), immutable("link", b"secret"));
    lyon.write(&name, &bytes);
    lyon.serves(&name, &bytes);
    let secret = lyon.place().join("secret");
    fs::write(&secret, "secret").unwrap();
    std::os::unix::fs::symlink(&secret, lyon.folder().join(&link)).unwrap();
    let nginx = Nginx::beside(&lyon, &["--hits", "nginx"], None);
    assert_eq!(http(nginx.plain, "GET", &format!("/waptwua/{name}")).0, 200);
    assert_ne!(http(nginx.plain, "GET", &format!("/waptwua/{link}")).0, 200, "a link is never followed");
    fs::remove_file(lyon.folder().join(&name)).unwrap();
    wait("a removed file is gone", || (http(nginx.plain, "GET", &format!("/waptwua/{name}")).0 != 200).then_some(()));
}

#[test]
fn a_file_that_is_on_its_way_passes_nginx_while_it_comes() {
    let main = Node::main("paris").start();
    let lyon = node(Node::secondary("lyon").with("[mirror]\nmode = \"on-miss\"\n")).start();
    lyon.joins(&main);
    let bytes = noise(4, 20_000_000);
    let name = immutable("large", &bytes);
    main.write(&name, &bytes);
    main.serves(&name, &bytes);
    let nginx = Nginx::beside(&lyon, &[], None);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = || http(nginx.plain, "GET", &format!("/waptwua/{name}"));
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|(status, _, body)| *status == 200 && *body == bytes));
    wait("it lies here", || lyon.folder().join(&name).exists().then_some(()));
    assert!(lyon.metric("received_bytes_total") < 21_000_000, "it came once");
    assert_eq!(http(nginx.plain, "GET", &format!("/waptwua/{name}")).2, bytes);
    assert_eq!(nginx.served_itself().last(), Some(&name), "and is nginx's from there on");
}

#[test]
fn beside_a_program_that_writes_in_place_nothing_unfinished_is_served() {
    let main = node(Node::main("paris")).start();
    let bytes = noise(5, 90_000);
    let name = immutable("kb5", &bytes);
    main.write(&name, &bytes[..40_000]);
    wait("it is known as incomplete", || (main.status()["folders"][0]["incomplete"] == 1).then_some(()));
    let nginx = Nginx::beside(&main, &["--hits", "daemon"], None);
    assert_ne!(http(nginx.plain, "GET", &format!("/waptwua/{name}")).0, 200);
    main.write(&name, &bytes);
    wait("it is whole", || (http(nginx.plain, "GET", &format!("/waptwua/{name}")).2 == bytes).then_some(()));
    assert!(nginx.served_itself().is_empty());
}

#[test]
fn only_hosts_with_a_certificate_get_anything_where_certificates_are_asked_for() {
    let keys = Keys::new();
    let lyon = node(Node::main("lyon"));
    let bytes = noise(6, 10_000);
    let name = immutable("kb6", &bytes);
    lyon.write(&name, &bytes);
    lyon.write_old("wsusscn2.cab", b"cab");
    let lyon = lyon.start();
    lyon.serves(&name, &bytes);
    lyon.serves("wsusscn2.cab", b"cab");
    let nginx = Nginx::beside(&lyon, &["--hits", "nginx", "--client-certificates"], Some(&keys));
    for path in [format!("/waptwua/{name}"), "/waptwua/wsusscn2.cab".to_owned(), "/waptwua/none".to_owned()] {
        let url = format!("https://localhost:{}{path}", nginx.tls.port());
        let status = |with: &[&str]| {
            let with = with.iter().chain(&["-o", "/dev/null", "-w", "%{http_code}", &url]).copied().collect::<Vec<_>>();
            String::from_utf8(curl(&[&["--cacert", keys.ca().as_str()], with.as_slice()].concat())).unwrap()
        };
        assert_eq!(status(&[]), "403", "{path}");
        assert_eq!(http(nginx.plain, "GET", &path).0, 403, "{path}");
        let (cert, key) = keys.of_host();
        let known = if path.ends_with("none") { "404" } else { "200" };
        assert_eq!(status(&["--cert", &cert, "--key", &key]), known, "{path}");
    }
}

#[test]
fn hosts_behind_nginx_are_told_apart_and_nobody_else_can_claim_to_be_another() {
    let main = Node::main("paris").start();
    let quota = "[limits]\nmiss_per_client_per_day = \"1 KiB\"\n";
    let lyon = node(Node::secondary("lyon").with("[mirror]\nmode = \"on-miss\"\n").with(quota)).start();
    lyon.joins(&main);
    let files: Vec<_> = (10..13).map(|seed| noise(seed, 5_000)).collect();
    let names: Vec<_> = files.iter().map(|bytes| immutable("quota", bytes)).collect();
    for (name, bytes) in names.iter().zip(&files) {
        main.write(name, bytes);
        main.serves(name, bytes);
    }
    wait("lyon knows them", || (lyon.status()["folders"][0]["files"] == 3).then_some(()));
    let nginx = Nginx::beside(&lyon, &[], None);
    let ask = |from: &str, claims: &str, name: &str| {
        let claims = format!("X-Forwarded-For: {claims}");
        let url = format!("http://{}/waptwua/{name}", nginx.plain);
        let status = curl(&["--interface", from, "-H", &claims, "-o", "/dev/null", "-w", "%{http_code}", &url]);
        String::from_utf8(status).unwrap()
    };
    assert_eq!(ask("127.0.0.2", "10.1.1.1", &names[0]), "200");
    assert_eq!(ask("127.0.0.2", "10.2.2.2", &names[1]), "429", "a claim makes nobody somebody else");
    assert_eq!(ask("127.0.0.3", "10.1.1.1", &names[2]), "200", "another host has a quota of its own");
}

#[test]
fn a_daemon_alone_serves_hosts_on_80_and_443() {
    let keys = Keys::new();
    let (cert, key) = keys.of_server();
    let settings = format!("[http]\nlisten = [\"0.0.0.0:80\"]\n[http.tls]\ncert = {cert:?}\nkey = {key:?}\n");
    let mut lyon = Node::main("lyon").with(&settings);
    let bytes = noise(7, 10_000);
    let name = immutable("kb7", &bytes);
    lyon.write(&name, &bytes);
    let network = server::Network::new();
    lyon.start_with(network.prefix());
    let get = |url: &str, with: &[&str]| {
        let arguments = [network.prefix(), vec!["curl".to_owned(), "-q".to_owned(), "-sS".to_owned()]].concat();
        let output =
            std::process::Command::new(&arguments[0]).args(&arguments[1..]).args(with).arg(url).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    wait("it is served", || (get(&format!("http://127.0.0.1/waptwua/{name}"), &[]) == bytes).then_some(()));
    let ca = keys.ca();
    assert_eq!(get(&format!("https://localhost/waptwua/{name}"), &["--cacert", &ca]), bytes);
    let http: Vec<SocketAddr> = serde_json::from_value(lyon.ready()["http"].clone()).unwrap();
    assert_eq!(http.iter().map(SocketAddr::port).collect::<Vec<_>>(), [80, 443]);
}
