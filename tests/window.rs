//! When missing files travel: the window of a secondary, what is not bound by it, and how it opens and closes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod harness;
mod processes;

use harness::{Place, TestNode, join, link::Link};
use processes::{Node, immutable, noise, wait};
use sha1::Digest;
use wuasync::sync::{mirroring::Mirroring, pull::ParentAddress};

const CLOSED: Mirroring = Mirroring { only_held: false, is_open: false };

/// An edition and what WAPT writes beside it.
fn write_edition(main: &Node, seed: u64) -> Vec<u8> {
    let cab = noise(seed, 90_000);
    let digest = data_encoding::HEXLOWER.encode(&sha1::Sha1::digest(&cab));
    main.write_old("wsusscn2.cab", &cab);
    main.write_old("wsusscn2.cab.sha1", digest.as_bytes());
    cab
}

/// Waits until a file lies in a node's folder; nobody asks for it.
fn has(node: &Node, name: &str, bytes: &[u8]) {
    let path = node.folder().join(name);
    wait(&format!("{name} has come"), || std::fs::read(&path).is_ok_and(|found| found == bytes).then_some(()));
}

#[test]
fn while_the_window_is_closed_only_the_edition_and_what_hosts_ask_for_comes_and_a_reload_opens_it() {
    let main = Node::main("paris").start();
    let (asked, large, small) = (noise(1, 400_000), noise(2, 500_000), noise(3, 300));
    let names = [("asked", &asked), ("large", &large), ("small", &small)].map(|(stem, bytes)| immutable(stem, bytes));
    for (name, bytes) in names.iter().zip([&asked, &large, &small]) {
        main.write(name, bytes);
    }
    let first = write_edition(&main, 4);
    let lyon = Node::secondary("lyon").with("[mirror]\nwindow = \"20:30-05:30\"\n").at_wall_time("12:00:00").start();
    lyon.joins(&main);
    has(&lyon, "wsusscn2.cab", &first);
    lyon.serves(&names[0], &asked);
    // Files come in the order of their names: whoever brings this one has gone by the others.
    let second = write_edition(&main, 5);
    has(&lyon, "wsusscn2.cab", &second);
    wait("the sidecar has come", || (lyon.status()["folders"][0]["missing_files"] == 2).then_some(()));
    let content = (asked.len() + first.len() + second.len() + 80) as u64;
    assert!(lyon.metric("received_bytes_total") <= content);
    assert!(names[1..].iter().all(|name| !lyon.folder().join(name).exists()));

    let mirror = lyon.status()["mirror"].clone();
    assert_eq!((&mirror["is_open"], &mirror["window"]), (&false.into(), &"20:30-05:30".into()));
    let page = lyon.ok("status").out;
    assert!(page.contains("window 20:30-05:30: closed, opens in 8 h") && page.contains("2 files"), "{page}");
    let story = lyon.ok(&format!("status {}", names[1])).out;
    assert!(story.contains("when the window 20:30-05:30 opens, in 8 h"), "{story}");
    let synced = lyon.ok("sync").out;
    assert!(synced.contains("2 files with") && synced.contains("wait until the window opens"), "{synced}");

    lyon.reconfigure("20:30-05:30", "20:30-5:30");
    lyon.reload();
    wait("the mistake is told", || lyon.tells("the settings stay as they were").then_some(()));
    assert_eq!(lyon.status()["mirror"]["window"], "20:30-05:30");
    lyon.reconfigure("20:30-5:30", "11:00-13:00");
    lyon.reload();
    lyon.catches_up_with(&main);
    has(&lyon, &names[1], &large);
    has(&lyon, &names[2], &small);
    assert!(!lyon.tells("the settings stay as they were"));
    assert_eq!(lyon.status()["mirror"]["is_open"], true);
}

#[test]
fn the_clock_on_the_wall_opens_the_window() {
    let main = Node::main("paris").start();
    let bytes = noise(1, 200_000);
    main.write(&immutable("kb", &bytes), &bytes);
    let window = "[mirror]\nwindow = \"23:30-00:05\"\n";
    let lyon = Node::secondary("lyon").with(window).at_wall_time("23:29:48").start();
    lyon.joins(&main);
    has(&lyon, &immutable("kb", &bytes), &bytes);
    let log = lyon.log();
    let (closed, open) = (log.find("may travel: closed").unwrap(), log.find("may travel: open").unwrap());
    assert!(closed < open, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_under_way_when_the_window_closes_goes_on_from_there_when_it_opens() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (large, cab) = (noise(1, 12_000_000), noise(2, 70_000));
    main_place.write(&immutable("large", &large), &large);
    let main = TestNode::main(&main_place, "paris");
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let link = Link::to(main.address).await;
    link.slow_down_to(4_000_000);
    let parent = ParentAddress { addresses: vec![link.address.to_string()], ..parent };
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    harness::wait("some of it has come", || (lyon.received() > 1_000_000).then_some(())).await;

    lyon.shared.mirror_as(CLOSED);
    harness::wait("nothing is under way", || lyon.shared.transfers().is_empty().then_some(())).await;
    let before = lyon.received();
    assert!(before < large.len() as u64 && before.is_multiple_of(65_536), "{before}");
    main_place.write_old("wsusscn2.cab", &cab);
    lyon.serves("wsusscn2.cab", &cab).await;
    assert_eq!(lyon.received(), before + cab.len() as u64);
    assert_eq!(lyon.root_of(&immutable("large", &large)), None);

    link.slow_down_to(0);
    lyon.shared.mirror_as(Mirroring::default());
    lyon.serves(&immutable("large", &large), &large).await;
    assert_eq!(lyon.received(), (large.len() + cab.len()) as u64, "nothing of it came twice");
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_here_needs_no_open_window() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (seeded, other) = (noise(1, 300_000), noise(2, 300_000));
    main_place.write(&immutable("seeded", &seeded), &seeded);
    main_place.write(&immutable("other", &other), &other);
    lyon_place.write(&immutable("seeded", &seeded), &seeded);
    let main = TestNode::main(&main_place, "paris");
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", None);
    lyon.shared.mirror_as(CLOSED);
    let lyon = lyon.following(parent);
    lyon.serves(&immutable("seeded", &seeded), &seeded).await;
    assert_eq!((lyon.received(), lyon.root_of(&immutable("other", &other))), (0, None));
    main.stop().await;
    lyon.stop().await;
}

#[test]
fn the_parent_is_asked_for_its_head_when_that_is_due_and_whether_it_is_there_is_told() {
    let main = Node::main("paris").start();
    let bytes = noise(1, 3_000);
    main.write(&immutable("kb", &bytes), &bytes);
    let lyon = Node::secondary("lyon").start();
    let alone = lyon.cli("jobs run pull");
    assert!(alone.exit == 1 && (alone.out.clone() + &alone.err).contains("wuasync join"), "{alone:?}");
    lyon.joins(&main);
    lyon.catches_up_with(&main);
    let told = lyon.json("jobs run pull");
    assert_eq!((&told["run"]["outcome"], &told["run"]["failed"]), (&"nothing is new".into(), &false.into()));
    let early = lyon.json("jobs run pull --due");
    assert!(early["why_not"].as_str().unwrap().contains("its period"), "{early}");
    let refused = main.cli("jobs run pull");
    assert_eq!(refused.exit, 4, "{refused:?}");
}
