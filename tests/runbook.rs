//! README's runbook, word for word: a main and a secondary as its setup makes them, a bad day, and the lines that stand
//! under its heading.
//!
//! Needs root (for mounting and for other users) and the programs that `tests/run` installs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod machine;
mod processes;

use machine::Machine;
use processes::{Answer, immutable, noise, wait};
use serde_json::Value;
use std::{collections::VecDeque, fs, net::UdpSocket};

const README: &str = include_str!("../README.md");

/// A line with its machine.
type Line = (String, String);

/// The blocks of lines under a heading.
fn blocks(heading: &str) -> VecDeque<Vec<Line>> {
    let section =
        README.split(&format!("### {heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading:?} in README"));
    let section = section.split("\n### ").next().unwrap().split("\nShell completions").next().unwrap();
    let (mut blocks, mut at) = (VecDeque::new(), String::new());
    for text in section.split("\n\n") {
        let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        let mut block = Vec::new();
        for line in lines {
            match line.strip_prefix("# on ") {
                Some(machine) => at = machine.split([',', ' ']).next().unwrap().to_owned(),
                None => block.push((at.clone(), line.to_owned())),
            }
        }
        if !block.is_empty() {
            blocks.push_back(block);
        }
    }
    blocks
}

/// A main and a secondary of it.
struct Pair {
    paris: Machine,
    lyon: Machine,
}

impl Pair {
    /// Both hold the same files, under names that carry their SHA-1.
    fn new() -> Self {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let pair = Self { paris: Machine::of_wapt(), lyon: Machine::of_wapt() };
        for (machine, name) in [(&pair.paris, "paris"), (&pair.lyon, "lyon")] {
            machine.with_systemctl();
            machine.write("/root/phrase", b"correct horse battery staple\n");
            let role = if name == "paris" { "main --cab-url off" } else { "secondary" };
            let listen = if name == "paris" { port } else { 0 };
            let advertise = if name == "paris" { format!(" --advertise localhost:{port}") } else { String::new() };
            machine.ok(
                &format!("setup --yes --role {role} --name {name} --listen 127.0.0.1:0 --sync-listen 127.0.0.1:{listen}{advertise}"),
                "",
            );
            machine.shell("systemctl start wuasync");
        }
        pair.put("first");
        let token = pair.paris.ok("pair invite lyon", "").out;
        pair.lyon.ok("join -", &token);
        pair.level();
        pair
    }

    /// A file for the main.
    fn put(&self, content: &str) -> String {
        let name = immutable(content, content.as_bytes());
        self.paris.write(&format!("/var/www/waptwua/{name}"), content.as_bytes());
        self.paris.shell("chown -R wapt:www-data /var/www/waptwua");
        name
    }

    fn machine(&self, name: &str) -> &Machine {
        if name == "paris" { &self.paris } else { &self.lyon }
    }

    /// Runs a block; `-` at the end of a line reads the last token that was printed.
    fn run(&self, block: &[Line]) -> Vec<Answer> {
        let mut token = String::new();
        let mut answers = Vec::new();
        for (at, line) in block {
            let answer = self.machine(at).shell_with(line, if line.ends_with(" -") { &token } else { "" });
            // A check that found something says so by 1.
            let is_check = ["doctor", "scrub", "status"].iter().any(|check| line.contains(check));
            assert!(answer.exit == 0 || is_check && answer.exit == 1, "{at}: {line}: {answer:?}");
            if line.contains("pair invite") {
                token.clone_from(&answer.out);
            }
            answers.push(answer);
        }
        answers
    }

    fn status(machine: &Machine) -> Value {
        machine.json("status", "")
    }

    /// Waits until the secondary holds all that the main signed.
    fn level(&self) {
        wait("lyon holds what paris signed", || {
            let (main, own) = (Self::status(&self.paris), Self::status(&self.lyon));
            let same = ["epoch", "seq"].iter().all(|key| own["state"][key] == main["state"][key]);
            let files = |status: &Value| status["folders"][0]["held_files"].as_u64().unwrap();
            (same && files(&own) == files(&main) && files(&own) > 0).then_some(())
        });
    }

    fn tells(machine: &Machine, words: &str) -> bool {
        Self::status(machine)["attention"].to_string().contains(words)
    }

    fn has(machine: &Machine, name: &str) -> bool {
        machine.at(&format!("/var/www/waptwua/{name}")).exists()
    }
}

#[test]
fn a_lost_main_comes_back() {
    let pair = Pair::new();
    let mut blocks = blocks("The main is lost");
    pair.run(&blocks.pop_front().unwrap());
    pair.paris.stop();
    pair.paris.shell("rm -rf /var/lib/wuasync/* /var/www/.wuasync/*; systemctl start wuasync");
    wait("another line is refused", || Pair::tells(&pair.lyon, "").then_some(()));
    let answers = pair.run(&blocks.pop_front().unwrap());
    assert!(answers.last().unwrap().out.contains("lyon"), "{answers:?}");
    let name = pair.put("after the restore");
    pair.level();
    wait("what is new arrives", || Pair::has(&pair.lyon, &name).then_some(()));
}

#[test]
fn a_main_with_another_address_is_followed_there() {
    let pair = Pair::new();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let block: Vec<_> = blocks("The main has another address, or a site moves").pop_front().unwrap();
    // The port in the book may be somebody's here.
    let block: Vec<_> = block.into_iter().map(|(at, line)| (at, line.replace("4444", &port.to_string()))).collect();
    pair.run(&block);
    let name = pair.put("from the new address");
    wait("what is new arrives", || Pair::has(&pair.lyon, &name).then_some(()));
}

#[test]
fn a_stolen_secondary_gets_nothing_and_the_new_one_takes_its_place() {
    let pair = Pair::new();
    let mut blocks = blocks("A secondary is stolen");
    pair.run(&blocks.pop_front().unwrap());
    let name = pair.put("not for thieves");
    wait("it is told", || Pair::tells(&pair.lyon, "revoked").then_some(()));
    assert!(!Pair::has(&pair.lyon, &name));
    pair.lyon.stop();
    pair.lyon.shell("rm -rf /var/lib/wuasync/* /var/www/waptwua/*; systemctl start wuasync");
    pair.run(&blocks.pop_front().unwrap());
    pair.level();
    assert!(Pair::has(&pair.lyon, &name));
}

#[test]
fn what_rotted_is_healed() {
    let pair = Pair::new();
    let name = pair.put("good bytes that rot");
    wait("it is there", || Pair::has(&pair.lyon, &name).then_some(()));
    pair.level();
    let path = pair.lyon.at(&format!("/var/www/waptwua/{name}"));
    let good = fs::read(&path).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 7).unwrap();
    file.set_modified(modified).unwrap();
    drop(file);
    pair.run(&blocks("A disk rots").pop_front().unwrap());
    wait("it is healed", || (fs::read(&path).ok()? == good).then_some(()));
}

#[test]
fn a_main_from_a_snapshot_begins_a_new_epoch() {
    let pair = Pair::new();
    pair.paris.stop();
    pair.paris.shell("cp -a /var/lib/wuasync /root/snapshot; systemctl start wuasync");
    for late in ["late one", "late two", "late three"] {
        let name = pair.put(late);
        wait("it is there", || Pair::has(&pair.lyon, &name).then_some(()));
    }
    pair.level();
    pair.paris.stop();
    pair.paris.shell("rm -rf /var/lib/wuasync /var/www/waptwua/late*");
    pair.paris.shell("cp -a /root/snapshot /var/lib/wuasync; systemctl start wuasync");
    wait("it is refused", || Pair::tells(&pair.lyon, "restore --new-epoch").then_some(()));
    pair.run(&blocks("Two mains, or one that was put back from a snapshot").pop_front().unwrap());
    pair.level();
}

#[test]
fn a_full_disk_is_named_and_what_no_index_names_gives_room() {
    let pair = Pair::new();
    pair.lyon.write("/etc/wuasync/conf.d/small.toml", b"[limits]\ndisk_reserve = \"1000 TiB\"\n");
    pair.lyon.write("/var/www/waptwua/extra.bin", &noise(2, 5_000));
    pair.lyon.shell("chown wapt /var/www/waptwua/extra.bin; touch -d '1 hour ago' /var/www/waptwua/extra.bin; systemctl restart wuasync");
    let name = pair.put("does not fit");
    wait("it is told", || Pair::tells(&pair.lyon, "room").then_some(()));
    wait("the extra is known", || (Pair::status(&pair.lyon)["folders"][0]["unlisted"] == 1).then_some(()));
    let answers = pair.run(&blocks("The disk is full").pop_front().unwrap());
    assert!(answers[0].out.contains("limits.disk_reserve keeps 1000.0 TiB free"), "{}", answers[0].out);
    assert!(answers[1].out.contains("extra.bin") && !Pair::has(&pair.lyon, "extra.bin"));
    assert!(answers[3].out.lines().nth(2).unwrap().ends_with("wrong:"), "{}", answers[3].out);
    pair.lyon.shell("rm /etc/wuasync/conf.d/small.toml; systemctl restart wuasync");
    wait("there is room", || Pair::has(&pair.lyon, &name).then_some(()));
}
