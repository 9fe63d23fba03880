//! What is wanted at the main comes from Microsoft's place, here a real nginx, and goes on to every site.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod origin;
mod processes;

use origin::Nginx;
use processes::{Node, http_get, immutable, noise, wait};
use serde_json::{Value, json};
use std::{fs, time::UNIX_EPOCH};

const HOST: &str = "dl.delivery.mp.microsoft.com";
const DATE: i64 = 1_600_000_000;

/// A main whose Microsoft is this nginx.
fn main_of(nginx: &Nginx) -> Node {
    Node::main("paris").with(&format!("[upstream]\nresolve = {{\"{HOST}\" = \"{}\"}}\n", nginx.address))
}

fn url(name: &str) -> String {
    format!("http://{HOST}/c/msdownload/{name}")
}

fn want(node: &Node) -> Value {
    node.json_lines("want list").remove(0)
}

fn nothing_lies_at(node: &Node, name: &str) {
    assert!(!node.folder().join(name).exists());
    assert_eq!(http_get(node.http(), &format!("/waptwua/{name}")).0, 503, "it failed, and is tried again");
}

/// Hosts may get a file before it has its name.
fn is_held(node: &Node) {
    wait("the want is held", || (want(node)["state"] == "held").then_some(()));
}

/// Bytes that have arrived in staging.
fn arrived(node: &Node) -> u64 {
    let files = fs::read_dir(node.place().join("www/.wuasync/waptwua/downloads")).into_iter().flatten();
    files.map(|file| file.unwrap().metadata().map_or(0, |metadata| metadata.len())).sum()
}

#[test]
fn a_wanted_file_is_fetched_once_and_served_by_every_site() {
    let nginx = Nginx::start(HOST, "");
    let main = main_of(&nginx).start();
    let lyon = Node::secondary("lyon");
    lyon.joins(&main);
    let lyon = lyon.start();
    let bytes = noise(1, 3_000_000);
    let kb = immutable("kb1", &bytes);
    nginx.put(&kb, &bytes, DATE);
    main.ok(&format!("want add --url {}", url(&kb)));
    for node in [&main, &lyon] {
        node.serves(&kb, &bytes);
        let modified = wait("it has its name", || fs::metadata(node.folder().join(&kb)).ok()).modified().unwrap();
        assert_eq!(modified.duration_since(UNIX_EPOCH).unwrap().as_secs(), DATE as u64);
    }
    is_held(&main);
    main.ok(&format!("want add --url http://{HOST}/d/another/path/{kb}"));
    assert_eq!(main.json("want scan"), json!({"open": 0}));
    assert_eq!(nginx.asked(), [format!("GET /c/msdownload/{kb} 200 - -")]);
    assert_eq!(main.ok("check").exit, 0);
    assert_eq!(main.status()["attention"], json!([]));
}

#[test]
fn what_is_not_what_was_promised_is_published_nowhere_and_the_want_says_why() {
    let nginx = Nginx::start(HOST, "");
    let main = main_of(&nginx).start();
    let kb = immutable("kb1", b"as promised");
    nginx.put(&kb, b"of another", DATE);
    main.ok(&format!("want add --url {}", url(&kb)));
    wait("the want waits", || (want(&main)["state"] == "waiting").then_some(()));
    let failed = want(&main);
    assert!(failed["error"].as_str().unwrap().contains("was promised, and the bytes have"), "{failed}");
    assert_eq!((&failed["failures"], arrived(&main)), (&json!(1), 0));
    nothing_lies_at(&main, &kb);
    let elsewhere = immutable("kb2", b"elsewhere");
    main.ok(&format!("want add --url http://microsoft.com.evil.example/{elsewhere}"));
    wait("the other waits", || (main.json_lines("want list")[1]["state"] == "waiting").then_some(()));
    let refused = main.json_lines("want list").remove(1);
    assert!(refused["error"].as_str().unwrap().contains("evil.example"), "{refused}");
}

#[test]
fn a_main_that_is_killed_in_mid_fetch_goes_on_where_it_was() {
    let nginx = Nginx::start(HOST, "limit_rate 4m;");
    let mut main = main_of(&nginx).start();
    let bytes = noise(2, 12_000_000);
    let kb = immutable("kb1", &bytes);
    nginx.put(&kb, &bytes, DATE);
    main.ok(&format!("want add --url {}", url(&kb)));
    wait("some arrives", || (arrived(&main) > 2_000_000).then_some(()));
    main.kill();
    assert!(!main.folder().join(&kb).exists());
    main.start_again();
    main.serves(&kb, &bytes);
    wait("nginx tells what was asked", || (nginx.asked().len() == 2).then_some(()));
    let again = nginx.asked().remove(1);
    assert!(again.contains(" 206 bytes=") && !again.contains("bytes=0-"), "{again}");
    is_held(&main);
}

#[test]
fn a_file_that_is_wanted_while_a_slow_one_comes_does_not_wait_for_it() {
    let nginx = Nginx::start(HOST, "location ~ slow { limit_rate 100k; }");
    let mut main = main_of(&nginx).start();
    let (slow, fast) = (noise(3, 20_000_000), noise(4, 100_000));
    let (slow_name, fast_name) = (immutable("slow", &slow), immutable("fast", &fast));
    nginx.put(&slow_name, &slow, DATE);
    nginx.put(&fast_name, &fast, DATE);
    main.ok(&format!("want add --url {}", url(&slow_name)));
    wait("the slow one comes", || (arrived(&main) > 0).then_some(()));
    main.ok(&format!("want add --url {}", url(&fast_name)));
    main.serves(&fast_name, &fast);
    is_held(&main);
    assert_eq!(main.json_lines("want list")[1]["state"], "fetching");
    main.stop();
    assert!(!main.folder().join(&slow_name).exists() && arrived(&main) > 0, "it goes on at the next start");
}
