//! `wuasync doctor` on a machine that was set up, sound and then spoiled in one thing after the other.
//!
//! Needs root (for mounting and for other users) and the programs that `tests/run` installs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod machine;
mod processes;

use machine::Machine;
use processes::{Node, wait};
use serde_json::Value;
use std::net::TcpListener;

/// Findings at a level, each with its check.
fn found(machine: &Machine, level: &str) -> Vec<String> {
    let answer = machine.wuasync("doctor --json", "");
    let found: Vec<Value> = serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    let is_wrong = found.iter().any(|finding| finding["level"] == "wrong");
    assert_eq!(answer.exit, i32::from(is_wrong), "{answer:?}");
    let of_level = found.iter().filter(|finding| finding["level"] == level);
    let lines = of_level.map(|it| {
        assert_eq!(it["cure"].is_string(), level != "right", "{it}");
        format!("{}: {}", it["check"].as_str().unwrap(), it["what"].as_str().unwrap())
    });
    lines.collect()
}

fn has(found: &[String], words: &str) -> bool {
    found.iter().any(|line| line.contains(words))
}

#[test]
fn a_sound_secondary_has_nothing_wrong_and_each_fault_is_found_with_its_cure() {
    let main = Node::main("paris");
    main.write_old("wsusscn2.cab", b"cab");
    main.write_old("wsusscn2.cab.sha1", b"098ea07aa4c6faf9be428797cb72b34aba30dd71");
    let mut main = main.start();
    wait("the main knows both", || (main.status()["folders"][0]["files"] == 2).then_some(()));
    let token = main.ok("pair invite lyon").out;

    let machine = Machine::of_wapt();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    machine.ok(
        &format!("setup --yes --role secondary --name lyon --listen {listen} --sync-listen 127.0.0.1:0 --token-file -"),
        &token,
    );
    machine.serve();
    wait("both are here", || machine.at("/var/www/waptwua/wsusscn2.cab.sha1").exists().then_some(()));
    wait("nothing is wrong", || found(&machine, "wrong").is_empty().then_some(()));
    let right = found(&machine, "right");
    for words in [
        "daemon: secondary lyon runs",
        "kernel: Linux",
        "rights: wapt may read and write",
        "mounts: /var/www/waptwua is there",
        "disk: ",
        &format!("ports: http.listen {listen} (TCP) is open"),
        "parent: connected to paris",
        "gives wsusscn2.cab with its exact length",
        "gives wsusscn2.cab.sha1 beside it",
    ] {
        assert!(has(&right, words), "{words:?} is not among {right:#?}");
    }
    let notes = found(&machine, "note");
    assert!(has(&notes, "answers HEAD /wapt/Packages with status 404"), "{notes:#?}");
    let page = machine.ok("doctor", "").out;
    assert!(page.contains("ok    daemon") && page.contains("mirror `wapt` as well"), "{page}");

    machine.write("/opt/wapt/wapt-get.ini", b"[repo-sync]\nenable_remote_repo = True\n");
    assert!(has(&found(&machine, "wrong"), "wapt: [repo-sync] of WAPT writes waptwua too"));
    machine.shell("rm /opt/wapt/wapt-get.ini; chmod 755 /var/lib/wuasync; chown root /var/www/waptwua");
    let wrong = found(&machine, "wrong");
    assert!(has(&wrong, "rights: /var/lib/wuasync can be entered by others"), "{wrong:#?}");
    assert!(has(&wrong, "rights: /var/www/waptwua is not readable and writable by wapt"), "{wrong:#?}");
    machine.shell("chmod 700 /var/lib/wuasync; chown wapt /var/www/waptwua");

    machine.stop();
    let wrong = found(&machine, "wrong");
    assert!(wrong.len() == 1 && has(&wrong, "daemon: no daemon answers"), "{wrong:#?}");
    let right = found(&machine, "right");
    assert!(has(&right, "answers over UDP in"), "{right:#?}");
    main.stop();
    assert!(has(&found(&machine, "wrong"), "gives no good answer over UDP"));

    machine.write("/etc/wuasync/conf.d/ours.toml", b"[http]\nlistne = []\n");
    let wrong = found(&machine, "wrong");
    assert!(wrong.len() == 1 && has(&wrong, "configuration: /etc/wuasync/conf.d/ours.toml:2: "), "{wrong:#?}");
}
