//! Nodes that drifted apart come together again, at the cost of what differs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod harness;

use harness::{Place, TestNode, folder, immutable, join, link::Link, name, noise, wait};
use std::{fs, process::Command};
use wuasync::{
    domain::{member::Role, state::Namespace},
    repository::{FollowError, LogLimit},
    sync::pull::ParentAddress,
};

fn files_of(main: &TestNode) -> u64 {
    main.repository.state().index.read().unwrap().totals(&folder()).unwrap().files
}

async fn knows(main: &TestNode, files: u64) {
    wait(&format!("the main knows {files} files"), || (files_of(main) == files).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_that_was_away_longer_than_the_log_pays_for_the_differences_alone() {
    const ALL: u64 = 3_000;
    const CHANGED: u64 = 40;
    let (mut main_place, lyon_place) = (Place::new(1), Place::new(2));
    main_place.log_limit = LogLimit { rows: 20, ..LogLimit::default() };
    let stem = |n: u64| format!("windows-kb{n:07}-x64");
    for n in 0..ALL {
        let bytes = noise(n, 200);
        main_place.write(&immutable(&stem(n), &bytes), &bytes);
    }
    let main = TestNode::main(&main_place, "paris");
    knows(&main, ALL).await;
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent.clone()));
    lyon.catches_up_with(&main).await;
    lyon.stop().await;

    let before = main.repository.head().unwrap().head().seq;
    for n in 0..CHANGED {
        fs::remove_file(main_place.folder().join(immutable(&stem(n), &noise(n, 200)))).unwrap();
        let bytes = noise(ALL + n, 200);
        main_place.write(&immutable(&stem(ALL + n), &bytes), &bytes);
    }
    wait("the main signed them", || {
        let seq = main.repository.head()?.head().seq;
        (seq >= before + 2 * CHANGED && files_of(&main) == ALL).then_some(())
    })
    .await;
    let base = main.repository.state().index.read().unwrap().log_base().unwrap();
    assert!(base > before, "the log reaches back to {base}, lyon stands at {before}");

    let link = Link::to(main.address).await;
    let through = ParentAddress { addresses: vec![link.address.to_string()], ..parent };
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(through));
    lyon.catches_up_with(&main).await;
    assert_eq!(lyon.received(), CHANGED * 200);
    // 64 inner nodes of 2 KiB, 80 buckets of one or two entries, the greeting; the whole state has 450 KB.
    assert!(link.bytes() < 220_000, "{} bytes for {} changes", link.bytes(), 2 * CHANGED);
    assert_eq!(lyon_place.read(&immutable(&stem(7), &noise(7, 200))), None);
    main.stop().await;
    lyon.stop().await;
}

/// `rsync` as an administrator runs it.
fn rsync(options: &[&str], from: &Place, to: &Place) {
    let from = format!("{}/", from.folder().display());
    let output = Command::new("rsync").args(options).arg(from).arg(to.folder()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_seeded_with_rsync_transfers_state_alone_whatever_the_times() {
    for options in [&["-a"][..], &["-r", "--no-times"]] {
        let (main_place, lyon_place) = (Place::new(1), Place::new(2));
        let mut total = 0;
        for n in 0..60 {
            let bytes = noise(n, 30_000 + n as usize * 1_000);
            total += bytes.len() as u64;
            main_place.write(&immutable(&format!("sub{}/f{n}", n % 3), &bytes), &bytes);
        }
        let mutable = noise(77, 300_000);
        main_place.write_old("wsusscn2.cab", &mutable);
        let main = TestNode::main(&main_place, "paris");
        knows(&main, 61).await;
        rsync(options, &main_place, &lyon_place);
        if options == ["-r", "--no-times"] {
            // A mutable file that was written a moment ago rests until it was quiet; from the disk it is older.
            let file = fs::File::options().append(true).open(lyon_place.folder().join("wsusscn2.cab")).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000)).unwrap();
        }
        let parent = join(&lyon_place, main.invite("lyon", None)).await;
        let link = Link::to(main.address).await;
        let through = ParentAddress { addresses: vec![link.address.to_string()], ..parent };
        let lyon = TestNode::secondary(&lyon_place, "lyon", Some(through));
        lyon.catches_up_with(&main).await;
        lyon.serves("wsusscn2.cab", &mutable).await;
        assert_eq!(lyon.received(), 0, "with {options:?}");
        assert!(link.bytes() < total / 20, "{} bytes for a state beside {total} of content", link.bytes());
        let times = |place: &Place| fs::metadata(place.folder().join("wsusscn2.cab")).unwrap().modified().unwrap();
        let seconds = |place| times(place).duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds(&lyon_place), seconds(&main_place));
        main.stop().await;
        lyon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_and_half_files_of_a_seed_are_fetched_and_nothing_else_is() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let mut names = Vec::new();
    for n in 0..40 {
        let bytes = noise(n, 100_000);
        names.push(immutable(&format!("f{n}"), &bytes));
        main_place.write(&names[n as usize], &bytes);
    }
    let main = TestNode::main(&main_place, "paris");
    knows(&main, 40).await;
    rsync(&["-a"], &main_place, &lyon_place);
    let seeded = |at: usize| lyon_place.folder().join(&names[at]);
    // A flipped byte; a half file; an empty one; one that is longer; what an interrupted rsync leaves.
    let mut bytes = fs::read(seeded(3)).unwrap();
    bytes[50_000] ^= 1;
    fs::write(seeded(3), bytes).unwrap();
    fs::File::options().write(true).open(seeded(11)).unwrap().set_len(50_000).unwrap();
    fs::write(seeded(12), b"").unwrap();
    fs::File::options().write(true).open(seeded(20)).unwrap().set_len(100_001).unwrap();
    fs::rename(seeded(21), lyon_place.folder().join(format!(".{}.Xa1b2C", names[21]))).unwrap();
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    lyon.catches_up_with(&main).await;
    for (n, text) in names.iter().enumerate() {
        lyon.serves(text, &noise(n as u64, 100_000)).await;
        assert_eq!(lyon_place.read(text), Some(noise(n as u64, 100_000)));
    }
    assert_eq!(lyon.received(), 5 * 100_000, "five files were not whole");
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_mains_with_one_state_are_told_apart_where_they_differ() {
    let (main_place, twin_place, lyon_place) = (Place::new(1), Place::new(1), Place::new(2));
    let small = noise(1, 3_000);
    main_place.write(&immutable("small", &small), &small);
    let main = TestNode::main(&main_place, "paris");
    knows(&main, 1).await;
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    main.stop().await;
    for part in ["state", "www"] {
        fs::remove_dir_all(twin_place.root.path().join(part)).ok();
        let from = main_place.root.path().join(part);
        assert!(Command::new("cp").arg("-a").arg(from).arg(twin_place.root.path()).status().unwrap().success());
    }

    // Both go on by one change, each with its own.
    let (ours, theirs) = (noise(2, 3_000), noise(3, 3_000));
    main_place.write(&immutable("ours", &ours), &ours);
    twin_place.write(&immutable("theirs", &theirs), &theirs);
    let (main, twin) = (TestNode::main(&main_place, "paris"), TestNode::main(&twin_place, "paris"));
    knows(&main, 2).await;
    knows(&twin, 2).await;
    let seq = |node: &TestNode| node.repository.head().unwrap().head().seq;
    assert_eq!(seq(&main), seq(&twin));
    let link = Link::to(main.address).await;
    let through = ParentAddress { addresses: vec![link.address.to_string()], ..parent };
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(through.clone()));
    lyon.catches_up_with(&main).await;
    lyon.stop().await;
    link.lead_to(twin.address);
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(through));
    lyon.raises("two mains sign this line").await;
    let cures: Vec<_> = lyon.repository.attention.standing().into_iter().map(|standing| standing.cure).collect();
    assert!(cures.iter().any(|cure| cure.contains("restore --new-epoch")), "{cures:?}");
    lyon.serves(&immutable("ours", &ours), &ours).await;
    assert_eq!(lyon.root_of(&immutable("theirs", &theirs)), None);
    let judged = lyon.repository.follow(twin.repository.head().unwrap(), &[]);
    assert!(matches!(judged, Err(FollowError::Forked { .. })), "{judged:?}");
    for node in [main, twin, lyon] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_of_another_line_in_the_parents_place_is_refused_and_the_cure_is_told() {
    let (main_place, mut rome_place, lyon_place) = (Place::new(1), Place::new(9), Place::new(2));
    let small = noise(1, 3_000);
    main_place.write(&immutable("small", &small), &small);
    let main = TestNode::main(&main_place, "paris");
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let link = Link::to(main.address).await;
    let through = ParentAddress { addresses: vec![link.address.to_string()], ..parent };
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(through.clone()));
    lyon.serves(&immutable("small", &small), &small).await;
    lyon.stop().await;
    let line = main.repository.line().unwrap();
    let member = main.repository.members().unwrap().remove(0);
    main.stop().await;
    // The same transport key and members, and a line key of its own.
    let repository = rome_place.open(Role::Main);
    rome_place.key = main_place.key;
    let rome = TestNode::start(&rome_place, repository, "rome", None);
    assert_ne!(rome.repository.line(), Some(line));
    rome.repository.admit(&member).unwrap();
    link.lead_to(rome.address);
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(through));
    lyon.raises("a head of line").await;
    let cures: Vec<_> = lyon.repository.attention.standing().into_iter().map(|standing| standing.cure).collect();
    assert!(cures.iter().any(|cure| cure.contains("join --adopt-line")), "{cures:?}");
    assert_eq!(lyon.repository.line(), Some(line));
    lyon.serves(&immutable("small", &small), &small).await;
    rome.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_lost_epoch_are_unlisted_and_served_and_listed_again_without_a_transfer() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let files: Vec<_> = (0..10).map(|n| noise(n, 20_000)).collect();
    for bytes in &files {
        main_place.write(&immutable("f", bytes), bytes);
    }
    let main = TestNode::main(&main_place, "paris");
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    knows(&main, 10).await;
    lyon.catches_up_with(&main).await;
    main.stop().await;
    lyon.stop().await;
    fs::remove_file(main_place.state().join("index.redb")).unwrap();
    let lost = immutable("f", &files[4]);
    fs::rename(main_place.folder().join(&lost), main_place.root.path().join("found")).unwrap();
    let main = TestNode::main(&main_place, "paris");
    knows(&main, 9).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(main.as_parent(&main)));
    lyon.catches_up_with(&main).await;
    lyon.serves(&lost, &files[4]).await;
    let unlisted = |lyon: &TestNode| {
        let snapshot = lyon.repository.state().index.read().unwrap();
        (snapshot.totals(&folder()).unwrap().unlisted_files, snapshot.holding(&folder(), &name(&lost)).unwrap())
    };
    assert!(matches!(unlisted(&lyon), (1, Some(held)) if !held.listed));
    assert_eq!(lyon.repository.plan_prune().unwrap().examples, [(folder(), name(&lost))]);
    fs::rename(main_place.root.path().join("found"), main_place.folder().join(&lost)).unwrap();
    knows(&main, 10).await;
    lyon.catches_up_with(&main).await;
    wait("it is listed again", || matches!(unlisted(&lyon), (0, Some(held)) if held.listed).then_some(())).await;
    assert_eq!(lyon.received(), 0);
    let snapshot = main.repository.state().index.read().unwrap();
    assert!(snapshot.namespaces().unwrap().contains(&Namespace::folder(&folder())));
    drop(snapshot);
    main.stop().await;
    lyon.stop().await;
}
