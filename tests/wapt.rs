//! The folder `wapt` beside `waptwua`: packages first, then their list, then removals, also when the secondary is
//! killed at any moment; and the probe of WAPT's agents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod processes;

use processes::{Node, http, noise, wait};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Generations of packages, each in the place of the one before.
const GENERATIONS: u64 = 3;
const PACKAGES: u64 = 12;

fn wapt_of(place: &Path) -> PathBuf {
    place.join("www/wapt")
}

/// With a second folder, of packages.
fn with_packages(node: Node) -> Node {
    let path = wapt_of(node.place());
    fs::create_dir_all(&path).unwrap();
    node.with(&format!("[[folder]]\nname = \"wapt\"\npath = {path:?}\n"))
}

/// A file that was quiet for long enough.
fn put(main: &Node, name: &str, bytes: &[u8]) {
    let elsewhere = main.place().join("elsewhere");
    fs::write(&elsewhere, bytes).unwrap();
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    fs::File::options().append(true).open(&elsewhere).unwrap().set_modified(an_hour_ago).unwrap();
    fs::rename(elsewhere, wapt_of(main.place()).join(name)).unwrap();
}

fn package(generation: u64, number: u64) -> String {
    format!("tis-p{number:02}_{generation}-1_all.wapt")
}

fn list(generation: u64) -> String {
    let paragraph = |number| {
        format!("package           : tis-p{number:02}\nfilename          : {}\n\n", package(generation, number))
    };
    (0..PACKAGES).map(paragraph).collect()
}

/// What WAPT does when every package is uploaded anew: the old one goes, the new one comes, the list is written.
fn upload(main: &Node, generation: u64) {
    for number in 0..PACKAGES {
        if generation > 0 {
            fs::remove_file(wapt_of(main.place()).join(package(generation - 1, number))).unwrap();
        }
        let size = if number % 3 == 0 { 900_000 } else { 3_000 };
        put(main, &package(generation, number), &noise(generation * 100 + number, size));
    }
    put(main, "Packages", list(generation).as_bytes());
}

fn named(list: &str) -> Vec<String> {
    list.lines().filter_map(|line| line.strip_prefix("filename          : ")).map(str::to_owned).collect()
}

/// On disk the list names what is there; whoever reads the same list before and after has seen one moment.
fn assert_tree(lyon: &Node) -> Option<String> {
    let wapt = wapt_of(lyon.place());
    let before = fs::read_to_string(wapt.join("Packages")).ok()?;
    let lacking: Vec<_> = named(&before).into_iter().filter(|name| !wapt.join(name).exists()).collect();
    let is_one_moment = fs::read_to_string(wapt.join("Packages")).ok().as_ref() == Some(&before);
    assert!(lacking.is_empty() || !is_one_moment, "{lacking:?} of {before}");
    Some(before)
}

/// As [`assert_tree`], as hosts see it.
fn assert_served(lyon: &Node) {
    let get = |name: &str| http(lyon.http(), "GET", &format!("/wapt/{name}"));
    let (status, _, before) = get("Packages");
    if status != 200 {
        assert_eq!(status, 503);
        return;
    }
    let names = named(std::str::from_utf8(&before).unwrap());
    assert_eq!(names.len() as u64, PACKAGES);
    let statuses: BTreeMap<_, _> =
        names.into_iter().map(|name| (http(lyon.http(), "HEAD", &format!("/wapt/{name}")).0, name)).collect();
    assert!(get("Packages").2 != before || statuses.keys().eq([&200]), "{statuses:?}");
}

#[test]
fn a_list_names_only_what_is_there_while_packages_change_and_the_secondary_is_killed() {
    let main = with_packages(Node::main("paris")).with("[cleanup]\nmax_delete_percent = 100\n").start();
    upload(&main, 0);
    let mut lyon = with_packages(Node::secondary("lyon")).start();
    lyon.joins(&main);
    let has = |lyon: &Node, generation: u64| {
        wait(&format!("generation {generation} is there"), || {
            let list_here = assert_tree(lyon);
            assert_served(lyon);
            (list_here? == list(generation)).then_some(())
        });
    };
    has(&lyon, 0);
    // What agents ask before they take a repository.
    let (status, head, _) = http(lyon.http(), "HEAD", "/wapt/Packages");
    assert!(status == 200 && head.to_ascii_lowercase().contains("last-modified: "), "{head}");

    for generation in 1..GENERATIONS {
        upload(&main, generation);
        for _ in 0..3 {
            let arrived = lyon.metric("received_bytes_total");
            wait("some of it has come", || {
                let is_whole = assert_tree(&lyon)? == list(generation);
                (is_whole || lyon.metric("received_bytes_total") > arrived + 500_000).then_some(())
            });
            lyon.kill();
            assert_tree(&lyon);
            lyon.start_again();
        }
        has(&lyon, generation);
        wait("what the list named before is gone", || {
            let left = fs::read_dir(wapt_of(lyon.place())).unwrap().count() as u64;
            (left == PACKAGES + 1).then_some(())
        });
    }
    let status = lyon.status();
    assert_eq!((&status["folders"][0]["unlisted"], &status["folders"][0]["missing_files"]), (&0.into(), &0.into()));
}
