//! Transfers under kills, cuts and changes of address: what had arrived is not sent again.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that fails is to fail its test, and tells why"
)]

#[path = "harness/link.rs"]
#[expect(dead_code, unreachable_pub, reason = "each test file uses its own part")]
mod link;
mod processes;

use link::Link;
use processes::{Node, contents, immutable, noise, wait};
use std::fs;

/// Streams lose at most the group that was being written.
const GROUP_BYTES: u64 = 64 * 1024;
const FILES: usize = 4;
const FILE_BYTES: usize = 80_000_000;
const KILLS: u64 = 8;

/// Steps of a seeded generator (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A secondary between whose lives is counted what it keeps.
struct Receiver {
    node: Node,
    names: Vec<String>,
    /// Where the log of this life, or of this connection, begins.
    log_from: usize,
    /// What `received` said then.
    received_from: u64,
}

impl Receiver {
    fn received(&self) -> u64 {
        self.node.metric("received_bytes_total") - self.received_from
    }

    /// Waits until every file is whole or on its way; answers with what was here of them before.
    fn kept(&self) -> u64 {
        wait("every file is on its way or whole", || {
            let status = self.node.status();
            let under_way = status["transfers"].as_array().unwrap().len();
            let held = status["folders"][0]["held_files"].as_u64().unwrap() as usize;
            (under_way + held >= FILES).then_some(())
        });
        let log = self.node.log();
        self.names.iter().map(|name| kept_of(&log[self.log_from..], name, &self.node)).sum()
    }

    fn is_done(&self) -> bool {
        self.names.iter().all(|name| self.node.folder().join(name).exists())
    }

    fn begin_count(&mut self, received_from: u64) {
        self.log_from = self.node.log().len();
        self.received_from = received_from;
    }
}

/// As the log says it, or all of it where it is whole and no transfer began.
fn kept_of(log: &str, name: &str, node: &Node) -> u64 {
    let line = log.lines().rfind(|line| line.contains("goes on where it was") && line.contains(name));
    match line.and_then(|line| line.split("here=").nth(1)) {
        Some(rest) => rest.split(' ').next().unwrap().parse().unwrap(),
        None if node.folder().join(name).exists() => FILE_BYTES as u64,
        None => 0,
    }
}

fn only_whole(node: &Node, whole: &[blake3::Hash]) {
    for (name, hash) in contents(&node.folder()) {
        assert!(whole.contains(&hash), "{name} is not whole");
    }
}

fn partials(node: &Node) -> usize {
    fs::read_dir(node.place().join("www/.wuasync/waptwua/partials")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_either_side_at_any_moment_cost_at_most_a_group_of_each_stream() {
    let mut dice = Dice(0x5eed);
    let link = Link::to("127.0.0.1:1".parse().unwrap()).await;
    let mut main = Node::main("paris");
    let (mut names, mut whole) = (vec![], vec![]);
    for seed in 0..FILES {
        let bytes = noise(seed as u64, FILE_BYTES);
        let name = immutable(&format!("f{seed}"), &bytes);
        main.write(&name, &bytes);
        whole.push(blake3::hash(&bytes));
        names.push(name);
    }
    main.start_again();
    wait("the main knows its files", || (main.status()["folders"][0]["files"] == FILES).then_some(()));
    let direct = main.ready()["sync"].as_str().unwrap().to_owned();
    link.lead_to(direct.parse().unwrap());
    let node = Node::secondary("lyon");
    node.joins(&main);
    let parent = node.state().join("parent.toml");
    let text = fs::read_to_string(&parent).unwrap();
    assert!(text.contains(&direct), "{text}");
    fs::write(&parent, text.replace(&direct, &link.address.to_string())).unwrap();
    let mut lyon = Receiver { node, names, log_from: 0, received_from: 0 };
    lyon.node.start_again();

    // What certainly had arrived and verified before, and everything that arrived in all lives.
    let (mut arrived, mut received, mut kills) = (0, 0, 0);
    while kills < KILLS {
        let kept = lyon.kept();
        assert!(kept + kills * FILES as u64 * GROUP_BYTES >= arrived, "{kept} of {arrived} bytes after {kills} kills");
        let enough = dice.below(30_000_000);
        wait("some more arrives", || (lyon.received() >= enough || lyon.is_done()).then_some(()));
        assert!(!lyon.is_done(), "all is here after {kills} kills");
        kills += 1;
        if dice.below(2) == 0 {
            let count = lyon.received();
            lyon.node.kill();
            only_whole(&lyon.node, &whole);
            (arrived, received) = (kept + count, received + count);
            lyon.begin_count(0);
            lyon.node.start_again();
        } else {
            main.kill();
            main.start_on_its_ports();
            wait("the connection is over", || {
                (lyon.node.log()[lyon.log_from..].contains("not connected to the parent")).then_some(())
            });
            // Counted before anything of the next connection is: its transfers begin with a reading of the partials.
            let all = lyon.node.metric("received_bytes_total");
            let count = all - lyon.received_from;
            (arrived, received) = (kept + count, received + count);
            lyon.begin_count(all);
        }
    }
    wait("every file is whole", || lyon.is_done().then_some(()));
    lyon.node.catches_up_with(&main);
    received += lyon.received();
    let size = (FILES * FILE_BYTES) as u64;
    assert!(received <= size + FILES as u64 * GROUP_BYTES * kills, "{received} bytes of content for {size}");
    assert_eq!(contents(&lyon.node.folder()), contents(&main.folder()));
    assert_eq!((main.ok("check").exit, lyon.node.ok("check").exit, partials(&lyon.node)), (0, 0, 0));
}
