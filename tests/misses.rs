//! A host asks for a file that is not here, and gets it while it comes from Microsoft's place, here a real
//! nginx: once, however many ask.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod origin;
mod processes;

use origin::Nginx;
use processes::{Node, http, immutable, noise, wait};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

const HOST: &str = "dl.delivery.mp.microsoft.com";
const DATE: i64 = 1_600_000_000;
const HTTP_DATE: &str = "Sun, 13 Sep 2020 12:26:40 GMT";

/// A main whose Microsoft is this nginx.
fn main_of(nginx: &Nginx) -> Node {
    Node::main("paris").with(&format!("[upstream]\nresolve = {{\"{HOST}\" = \"{}\"}}\n", nginx.address))
}

/// Puts a file at Microsoft's and tells the main where it is.
fn tell(nginx: &Nginx, main: &Node, stem: &str, bytes: &[u8]) -> String {
    let name = immutable(stem, bytes);
    nginx.put(&name, bytes, DATE);
    let told = main.json(&format!("want add --on-miss --url http://{HOST}/c/msdownload/{name}"));
    assert_eq!(told["files"][0]["outcome"], "told");
    name
}

/// A request whose answer is read when somebody wants it.
struct Request(TcpStream);

impl Request {
    fn send(at: SocketAddr, name: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "GET /waptwua/{name} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n").unwrap();
        Self(stream)
    }

    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.0.read_exact(&mut read).unwrap();
        read
    }

    /// All that comes, however the connection ends.
    fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).ok();
        rest
    }
}

fn asked(nginx: &Nginx) -> Vec<String> {
    nginx.asked().into_iter().filter(|line| line.starts_with("GET")).collect()
}

#[test]
fn fifty_hosts_on_a_missing_file_get_it_while_it_comes_from_one_request() {
    let nginx = Nginx::start(HOST, "limit_rate_after 1m; limit_rate 5m;");
    let main = main_of(&nginx).start();
    let bytes = noise(1, 20_000_000);
    let kb = tell(&nginx, &main, "kb1", &bytes);
    // All ask before anybody's thread has to wait for a processor; who reads late may find that all has come.
    let requests: Vec<_> = (0..50).map(|_| Request::send(main.http(), &kb, "")).collect();
    let early = AtomicUsize::new(0);
    thread::scope(|scope| {
        for mut request in requests {
            let (main, kb, bytes, early) = (&main, &kb, &bytes, &early);
            scope.spawn(move || {
                let head = request.head();
                assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 20000000"), "{head}");
                assert!(head.contains(&format!("last-modified: {HTTP_DATE}")) && !head.contains("etag"), "{head}");
                assert!(request.read(500_000) == bytes[..500_000]);
                early.fetch_add(usize::from(!main.folder().join(kb).exists()), Ordering::Relaxed);
                assert!(request.rest() == bytes[500_000..]);
            });
        }
    });
    assert!(early.into_inner() > 0, "the first bytes come before the last");
    main.serves(&kb, &bytes);
    assert_eq!(asked(&nginx), [format!("GET /c/msdownload/{kb} 200 - -")]);
    let wanted = main.json_lines("want list").remove(0);
    assert_eq!((&wanted["state"], &wanted["who"]), (&json!("held"), &json!(["host 127.0.0.1"])));
    assert_eq!(main.status()["attention"], json!([]));
}

#[test]
fn a_stock_agents_head_get_and_resume_of_a_missing_file_are_answered_as_of_one_that_is_here() {
    let nginx = Nginx::start(HOST, "limit_rate 8m;");
    let main = main_of(&nginx).start();
    let bytes = noise(2, 12_000_000);
    let kb = tell(&nginx, &main, "kb1", &bytes);
    let (status, head, body) = http(main.http(), "HEAD", &format!("/waptwua/{kb}"));
    assert_eq!((status, body.len()), (200, 0));
    assert!(head.contains("content-length: 12000000") && head.contains(HTTP_DATE), "{head}");
    let mut request = Request::send(main.http(), &kb, "");
    assert!(request.head().starts_with("HTTP/1.1 200"));
    let first = request.read(1_000_000);
    assert!(first == bytes[..1_000_000]);
    drop(request);
    let mut rest = Request::send(main.http(), &kb, "Range: bytes=1000000-\r\n");
    let head = rest.head();
    assert!(head.starts_with("HTTP/1.1 206") && head.contains("bytes 1000000-11999999/12000000"), "{head}");
    assert!(head.contains(HTTP_DATE), "the agent gives its file this date: {head}");
    assert!(rest.rest() == bytes[1_000_000..]);
    main.serves(&kb, &bytes);
    assert_eq!(asked(&nginx).len(), 1);
}

#[test]
fn of_a_file_that_is_not_what_its_name_promises_nobody_gets_the_end_and_nothing_is_published() {
    let nginx = Nginx::start(HOST, "");
    let main = main_of(&nginx).start();
    let bytes = noise(3, 3_000_000);
    let kb = tell(&nginx, &main, "kb1", &bytes);
    let mut wrong = bytes.clone();
    wrong[2_000_000] ^= 1;
    nginx.put(&kb, &wrong, DATE);
    let mut request = Request::send(main.http(), &kb, "");
    assert!(request.head().starts_with("HTTP/1.1 200"));
    assert!(request.rest().len() <= 3_000_000 / 65_536 * 65_536, "the last group is held back");
    let (status, head, _) = http(main.http(), "GET", &format!("/waptwua/{kb}"));
    assert_eq!(status, 503);
    assert!(head.contains("retry-after: "), "{head}");
    assert!(!main.folder().join(&kb).exists());
    let wanted = main.json_lines("want list").remove(0);
    assert!(wanted["error"].as_str().unwrap().contains("was promised, and the bytes have"), "{wanted}");
    assert_eq!(asked(&nginx).len(), 1);
}

#[test]
fn a_name_that_nobody_told_of_is_not_found_and_asks_nobody() {
    let nginx = Nginx::start(HOST, "");
    let main = main_of(&nginx).start();
    let kb = immutable("kb1", b"unknown");
    nginx.put(&kb, b"unknown", DATE);
    for method in ["HEAD", "GET"] {
        assert_eq!(http(main.http(), method, &format!("/waptwua/{kb}")).0, 404);
    }
    assert_eq!(nginx.asked(), Vec::<String>::new());
}

#[test]
fn a_flight_goes_on_when_the_one_who_asked_has_left() {
    let nginx = Nginx::start(HOST, "limit_rate 4m;");
    let main = main_of(&nginx).start();
    let bytes = noise(4, 6_000_000);
    let kb = tell(&nginx, &main, "kb1", &bytes);
    let mut request = Request::send(main.http(), &kb, "");
    request.head();
    drop(request);
    main.serves(&kb, &bytes);
    assert_eq!(asked(&nginx).len(), 1);
}

#[test]
fn a_client_that_has_had_its_share_of_a_day_waits_and_the_others_do_not() {
    let nginx = Nginx::start(HOST, "");
    let main = main_of(&nginx).with("[limits]\nmiss_per_client_per_day = \"1 MB\"\n").start();
    let (first, second) = (noise(5, 1_500_000), noise(6, 100_000));
    let (first_name, second_name) = (tell(&nginx, &main, "first", &first), tell(&nginx, &main, "second", &second));
    main.serves(&first_name, &first);
    let mut refused = Request::send(main.http(), &second_name, "");
    let head = refused.head();
    assert!(head.starts_with("HTTP/1.1 429") && head.contains("retry-after: "), "{head}");
    let mut other = Request::send(main.http(), &second_name, "X-Forwarded-For: 192.0.2.7\r\n");
    assert!(other.head().starts_with("HTTP/1.1 200"), "the proxy on this machine is believed");
    assert!(other.rest() == second);
    assert!(Request::send(main.http(), &first_name, "").rest().ends_with(&first), "what is here is free");
}

fn is_connected(node: &Node, connected: bool) {
    wait("it notices", || (node.status()["parent"]["connected"] == connected).then_some(()));
}

/// A secondary that keeps what hosts asked for.
fn on_miss(name: &str) -> Node {
    Node::secondary(name).with("[mirror]\nmode = \"on-miss\"\n")
}

/// A main, a secondary below it, and one below that.
fn tiers(nginx: &Nginx, lyon: Node, annecy: Node) -> [Node; 3] {
    let main = main_of(nginx).start();
    lyon.joins(&main);
    let lyon = lyon.start();
    is_connected(&lyon, true);
    let via = lyon.ready()["sync"].as_str().unwrap().to_owned();
    let token = main.token(&format!("pair invite annecy --via lyon --address {via}"));
    annecy.ok(&format!("join {token}"));
    let annecy = annecy.start();
    is_connected(&annecy, true);
    [main, lyon, annecy]
}

#[test]
fn fifty_hosts_on_a_file_that_three_tiers_miss_get_it_while_it_comes_from_one_request() {
    let nginx = Nginx::start(HOST, "limit_rate_after 1m; limit_rate 60m;");
    let [main, lyon, annecy] = tiers(&nginx, Node::secondary("lyon"), Node::secondary("annecy"));
    let bytes = noise(7, 200_000_000);
    let kb = tell(&nginx, &main, "kb1", &bytes);
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let mut request = Request::send(annecy.http(), &kb, "");
                let head = request.head();
                assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 200000000"), "{head}");
                assert!(head.contains(HTTP_DATE), "{head}");
                assert!(request.read(500_000) == bytes[..500_000]);
                for node in [&main, &lyon, &annecy] {
                    assert!(!node.folder().join(&kb).exists(), "its first bytes come before the last");
                }
                assert!(request.rest() == bytes[500_000..]);
            });
        }
    });
    for node in [&main, &lyon, &annecy] {
        node.serves(&kb, &bytes);
        assert_eq!(node.status()["attention"], json!([]));
    }
    assert_eq!(asked(&nginx), [format!("GET /c/msdownload/{kb} 200 - -")]);
    let wanted = main.json_lines("want list").remove(0);
    assert_eq!((&wanted["state"], &wanted["who"]), (&json!("held"), &json!(["member lyon"])));
    assert!(lyon.metric("received_bytes_total") < 210_000_000, "it comes once");
    assert!(annecy.metric("received_bytes_total") < 210_000_000, "it comes once");
}

#[test]
fn sites_that_keep_what_is_asked_for_get_that_and_nothing_else_through_each_other() {
    let nginx = Nginx::start(HOST, "");
    let [main, lyon, annecy] = tiers(&nginx, on_miss("lyon"), on_miss("annecy"));
    let (asked_for, small, other) = (noise(8, 9_000_000), noise(9, 3_000), noise(10, 100_000));
    let names = [immutable("asked", &asked_for), immutable("small", &small), immutable("other", &other)];
    for (name, bytes) in names.iter().zip([&asked_for, &small, &other]) {
        main.write(name, bytes);
        main.serves(name, bytes);
    }
    wait("annecy knows them", || (annecy.status()["folders"][0]["missing_files"] == 3).then_some(()));
    let mut request = Request::send(annecy.http(), &names[0], "Range: bytes=8000000-8000009\r\n");
    let head = request.head();
    assert!(head.starts_with("HTTP/1.1 206") && head.contains("etag: "), "what is signed has its tag: {head}");
    assert!(request.rest() == asked_for[8_000_000..8_000_010]);
    let (status, head, _) = http(annecy.http(), "HEAD", &format!("/waptwua/{}", names[1]));
    assert!(status == 200 && head.contains("content-length: 3000"), "{head}");
    for (name, bytes) in [(&names[0], &asked_for), (&names[1], &small)] {
        annecy.serves(name, bytes);
        lyon.serves(name, bytes);
        wait("it is kept", || annecy.folder().join(name).exists().then_some(()));
    }
    assert!(!annecy.folder().join(&names[2]).exists() && !lyon.folder().join(&names[2]).exists());
    assert_eq!(Request::send(annecy.http(), &immutable("none", b"none"), "").head().split(' ').nth(1), Some("404"));
    assert_eq!(nginx.asked(), Vec::<String>::new());
}

#[test]
fn what_is_asked_for_while_the_parent_is_away_comes_by_itself_when_it_is_back() {
    let nginx = Nginx::start(HOST, "");
    let mut main = main_of(&nginx).start();
    let lyon = Node::secondary("lyon");
    lyon.joins(&main);
    let mut lyon = lyon.start();
    is_connected(&lyon, true);
    let bytes = noise(11, 3_000_000);
    let kb = tell(&nginx, &main, "kb1", &bytes);
    main.stop();
    is_connected(&lyon, false);
    let (status, head, _) = lyon.get(&kb);
    assert_eq!(status, 503);
    assert!(head.contains("retry-after: "), "{head}");
    lyon.stop();
    lyon.start_again();
    assert!(!lyon.folder().join(&kb).exists());
    main.start_on_its_ports();
    wait("it is here though nobody asked again", || lyon.folder().join(&kb).exists().then_some(()));
    lyon.serves(&kb, &bytes);
    assert_eq!(asked(&nginx).len(), 1);
}

#[test]
fn a_main_that_is_killed_in_mid_flight_leaves_nothing_wrong_and_goes_on_when_it_is_back() {
    let nginx = Nginx::start(HOST, "limit_rate 6m;");
    let mut main = main_of(&nginx).start();
    let lyon = Node::secondary("lyon");
    lyon.joins(&main);
    let lyon = lyon.start();
    is_connected(&lyon, true);
    let bytes = noise(12, 30_000_000);
    let kb = tell(&nginx, &main, "kb1", &bytes);
    let mut request = Request::send(lyon.http(), &kb, "");
    assert!(request.head().starts_with("HTTP/1.1 200"));
    assert!(request.read(6_000_000) == bytes[..6_000_000]);
    main.kill();
    for node in [&main, &lyon] {
        assert!(!node.folder().join(&kb).exists());
    }
    main.start_on_its_ports();
    // Whether the response goes on or ends short, what it has is right.
    let rest = request.rest();
    assert!(rest == bytes[6_000_000..][..rest.len()]);
    lyon.serves(&kb, &bytes);
    main.serves(&kb, &bytes);
    let again = asked(&nginx).remove(1);
    assert!(again.contains(" 206 bytes=") && !again.contains("bytes=0-"), "what had arrived is kept: {again}");
}

#[test]
fn status_explains_a_file_before_while_and_after_it_comes() {
    let nginx = Nginx::start(HOST, "limit_rate 2m;");
    let main = main_of(&nginx).start();
    let bytes = noise(13, 6_000_000);
    let kb = immutable("kb1", &bytes);
    let unknown = main.cli(&format!("status {kb}"));
    assert_eq!(unknown.exit, 1);
    assert!(unknown.err.contains("nobody asked for it"), "{unknown:?}");
    tell(&nginx, &main, "kb1", &bytes);
    let story = |main: &Node| main.json(&format!("status {kb}"));
    assert_eq!(story(&main)["verdict"], "it is known, and fetched when a host asks for it");
    let mut request = Request::send(main.http(), &kb, "");
    request.head();
    let flying = story(&main);
    assert!(flying["verdict"].as_str().unwrap().contains("it is arriving from http://"), "{flying}");
    assert_eq!((&flying["flight"]["first"], &flying["flight"]["size"]), (&json!("host 127.0.0.1"), &json!(6_000_000)));
    assert_eq!(flying["flight"]["readers"], 1);
    assert!(main.ok(&format!("status {kb}")).out.contains("asked     1 times since"), "{flying}");
    assert_eq!(main.status()["transfers"][0]["name"], json!(kb));
    assert!(request.rest() == bytes);
    wait("it has landed", || story(&main)["flight"].is_null().then_some(()));
    let here = story(&main);
    assert_eq!(here["verdict"], "it is here, verified, and hosts get it");
    assert_eq!((&here["tasks"][0]["kind"], &here["tasks"][0]["status"]), (&json!("miss"), &json!("done")));
}

#[test]
fn what_microsoft_does_not_serve_is_imported_and_reaches_every_site() {
    let main = Node::main("paris").start();
    let lyon = Node::secondary("lyon");
    lyon.joins(&main);
    let lyon = lyon.start();
    let bytes = noise(14, 3_000_000);
    let (own, kb) = (main.place().join("windows-oob.msu"), immutable("kb", &bytes));
    std::fs::write(&own, &bytes).unwrap();
    let reply = main.json(&format!("files import {}", own.display()));
    assert_eq!((&reply["name"], &reply["was_here"]), (&json!("windows-oob.msu"), &json!(false)));
    assert_eq!(reply["root"], json!(blake3::hash(&bytes).to_hex().to_string()));
    let again = main.json(&format!("files import {}", own.display()));
    assert_eq!(again["was_here"], true);
    main.ok(&format!("files import {} --name {kb}", own.display()));
    for node in [&main, &lyon] {
        node.serves("windows-oob.msu", &bytes);
        node.serves(&kb, &bytes);
    }
    std::fs::write(&own, b"other bytes").unwrap();
    let taken = main.cli(&format!("files import {}", own.display()));
    assert!(taken.exit == 4 && taken.err.contains("other content"), "{taken:?}");
    let wrong = main.cli(&format!("files import {} --name {}", own.display(), immutable("x", b"x")));
    assert!(wrong.exit == 4 && wrong.err.contains("the name promises SHA-1"), "{wrong:?}");
    // More than a socket takes in before anybody reads.
    std::fs::write(&own, &bytes).unwrap();
    let there = lyon.cli(&format!("files import {}", own.display()));
    assert!(there.exit == 4 && there.err.contains("run `wuasync files import` there"), "{there:?}");
    main.serves("windows-oob.msu", &bytes);
    let staged = std::fs::read_dir(main.place().join("www/.wuasync/waptwua/downloads")).unwrap().count();
    assert_eq!(staged, 0, "what is refused leaves nothing");
    assert_eq!(main.ok("check").exit, 0);
}
