//! Wants: what administrators ask the main for, with real daemons and the real command line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod processes;

use processes::{Node, immutable};
use serde_json::{Value, json};
use std::fs;

const UPDATE: &str = "0fa1201d-4330-4fa8-8ae9-b877473b6441_204";
const OTHER: &str = "e6cf1350-c01b-414d-a61f-263d14d133b4_1";
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A main that fetches nothing.
fn main() -> Node {
    Node::main("paris").with("[upstream]\nenabled = false\n").start()
}

fn wants(node: &Node) -> Vec<Value> {
    node.json_lines("want list")
}

fn names(wants: &[Value]) -> Vec<&str> {
    wants.iter().map(|want| want["name"].as_str().unwrap()).collect()
}

#[test]
fn wants_are_added_listed_and_forgotten_and_outlive_a_restart() {
    let mut main = main();
    assert_eq!(main.status()["wants"], Value::Null);
    let kb = immutable("kb1", b"content");
    let (url, other_path) = (format!("http://h/c/{kb}"), format!("http://other/d/{kb}"));
    main.ok(&format!("want add --url {url} --update {UPDATE} --size 7"));
    let again = main.json(&format!("want add --url {other_path} --update {OTHER} --sha256 {SHA256}"));
    assert_eq!(again, json!({"files": [{"folder": "waptwua", "name": kb, "outcome": "known"}]}));
    main.kill();
    main.start_again();
    let wanted = wants(&main);
    assert_eq!(names(&wanted), [kb.as_str()]);
    let want = &wanted[0];
    assert_eq!(want["urls"].as_array().unwrap().len(), 2);
    assert_eq!(want["updates"], json!([UPDATE, OTHER]));
    assert_eq!((&want["size"], &want["sha256"], &want["times"]), (&json!(7), &json!(SHA256), &json!(2)));
    assert_eq!((&want["state"], &want["error"]), (&json!("due"), &Value::Null));
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(want["who"], json!([format!("uid {uid}")]));
    assert_eq!(main.status()["wants"], json!({"files": 1, "open": 1, "conflicts": 0}));
    let table = main.ok("want list").out;
    assert!(table.contains(&kb) && table.contains(&format!("{UPDATE} +1")), "{table}");
    assert!(main.ok("status").out.contains("1 files are wanted, 1 of them not here yet"));
    main.ok(&format!("want forget {UPDATE}"));
    assert_eq!(wants(&main)[0]["updates"], json!([OTHER]), "the other update still needs it");
    main.ok(&format!("want forget {kb}"));
    assert_eq!(wants(&main), Vec::<Value>::new());
    let nobody = main.cli(&format!("want forget {kb}"));
    assert_eq!(nobody.exit, 1, "{nobody:?}");
    let (_, _, audit) = processes::http_get(main.admin(), "/api/v1/audit");
    let audit: Value = serde_json::from_slice(&audit).unwrap();
    let acts: Vec<_> = audit.as_array().unwrap().iter().map(|act| act["what"].as_str().unwrap()).collect();
    let expected = [
        format!("forgot the want for waptwua/{kb}"),
        format!("forgot the want for update {UPDATE}"),
        format!("wanted waptwua/{kb}"),
    ];
    assert_eq!(acts[..3], expected);
}

#[test]
fn a_file_that_arrives_is_held_without_anybody_forgetting_its_want() {
    let main = main();
    let kb = immutable("kb1", b"content");
    main.ok(&format!("want add --url http://h/{kb}"));
    main.write(&kb, b"content");
    processes::wait("the want is held", || (wants(&main)[0]["state"] == "held").then_some(()));
    assert_eq!(main.status()["wants"], json!({"files": 1, "open": 0, "conflicts": 0}));
    let reply = main.json(&format!("want add --url http://h/{kb}"));
    assert_eq!(reply["files"][0]["outcome"], "held");
}

#[test]
fn another_content_under_one_name_is_refused_and_listed() {
    let main = main();
    main.ok(&format!("want add --url http://h/x.msu --sha256 {SHA256}"));
    let refused = main.cli(&format!("want add --url http://evil/x.msu --sha256 {}", "0".repeat(64)));
    assert_eq!(refused.exit, 4, "{refused:?}");
    assert!(refused.out.contains("x.msu is known with another SHA-256; the first stays"), "{refused:?}");
    let want = &wants(&main)[0];
    assert_eq!((&want["sha256"], &want["urls"]), (&json!(SHA256), &json!(["http://h/x.msu"])));
    assert_eq!(want["conflicts"][0]["url"], "http://evil/x.msu");
    assert!(main.ok("want list --conflicts").out.contains("http://evil/x.msu"));
    assert_eq!(main.status()["wants"]["conflicts"], 1);
    let promised = main.cli(&format!("want add --url http://h/{} --sha1 {}", immutable("kb", b"x"), "0".repeat(40)));
    assert_eq!(promised.exit, 2, "{promised:?}");
    assert!(promised.err.contains("in its name"), "{promised:?}");
    let unvouched = main.ok("want add --url http://h/y.msu");
    assert!(unvouched.out.contains("no digest vouches for it"), "{unvouched:?}");
}

#[test]
fn a_list_is_taken_whole_and_one_with_a_mistake_not_at_all() {
    let main = main();
    let list = main.place().join("wants.json");
    let files: Vec<_> = (0..1_200)
        .map(|n| {
            let kb = immutable(&format!("kb{n:04}"), &[n as u8, (n >> 8) as u8]);
            json!({"url": format!("http://h/{kb}"), "updates": [UPDATE], "size": n})
        })
        .collect();
    fs::write(&list, serde_json::to_string_pretty(&files).unwrap()).unwrap();
    let from = format!("want add --from {}", list.display());
    let added = main.ok(&from);
    assert_eq!(added.out, "1200 wanted\n");
    assert_eq!(wants(&main).len(), 1_200, "more than one page");
    assert_eq!(main.ok(&from).out, "1200 wanted before\n");
    main.ok(&format!("want forget {UPDATE}"));
    assert_eq!(wants(&main).len(), 0);
    for (wrong, place) in [
        ("[\n{\"url\": \"http://h/x.cab\"},\n{\"url\": \"gopher://h/x.cab\"}\n]", "line 3 column"),
        ("[\n{\"url\": \"http://h/x.cab\", \"sha265\": \"\"}]", "line 2 column"),
        ("not json", "line 1 column"),
    ] {
        fs::write(&list, wrong).unwrap();
        let refused = main.cli(&from);
        assert_eq!(refused.exit, 2, "{refused:?}");
        assert!(refused.err.contains("wants.json") && refused.err.contains(place), "{refused:?}");
    }
    let large = fs::File::create(&list).unwrap();
    large.set_len(1 << 40).unwrap();
    let refused = main.cli(&from);
    assert!(refused.exit == 2 && refused.err.contains("more than 16.0 MiB"), "{refused:?}");
    assert_eq!(wants(&main).len(), 0);
    let input = format!("[{{\"url\": \"http://h/{}\"}}]", immutable("kb", b"x"));
    assert_eq!(main.cli_with_input("want add --from -", &input).exit, 0);
    assert_eq!(main.cli("want add --from /no/such/file").exit, 1);
}

#[test]
fn a_secondary_says_that_wants_belong_to_the_main() {
    let lyon = Node::secondary("lyon").start();
    let refused = lyon.cli("want scan");
    assert!(refused.exit == 4 && refused.err.contains("run `wuasync want scan` there"), "{refused:?}");
    let refused = lyon.cli("want add --url http://h/x.cab");
    assert_eq!(refused.exit, 4, "{refused:?}");
    assert!(refused.err.contains("only the main fetches from Microsoft"), "{refused:?}");
    assert_eq!(wants(&lyon), Vec::<Value>::new());
}
