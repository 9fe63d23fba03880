//! Two and three nodes keep real folders the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod harness;

use harness::{Place, TestNode, files_below, immutable, join, link::Link, noise, wait};
use wuasync::{domain::member::Role, repository::DeletionCap, sync::pull::ParentAddress};

/// A main and a secondary that has joined it.
async fn pair(main_place: &Place, lyon_place: &Place) -> (TestNode, TestNode) {
    let main = TestNode::main(main_place, "paris");
    let parent = join(lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(lyon_place, "lyon", Some(parent));
    (main, lyon)
}

fn remove(place: &Place, name: &str) {
    std::fs::remove_file(place.folder().join(name)).unwrap();
}

/// Files in the trash, by content.
fn trash(place: &Place) -> Vec<Vec<u8>> {
    let in_trash = |path: &std::path::PathBuf| path.components().any(|part| part.as_os_str() == "trash");
    let www = files_below(&place.root.path().join("www"));
    www.into_iter().filter(in_trash).map(|path| std::fs::read(path).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_mirrors_what_the_main_adopted_and_what_is_dropped_later() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (big, small, old) = (noise(1, 5_000_001), noise(2, 3_000), noise(3, 70_000));
    main_place.write(&immutable("big", &big), &big);
    main_place.write(&immutable("sub/small", &small), &small);
    main_place.write_old("wsusscn2.cab", &old);
    main_place.write(&immutable("empty", b""), b"");
    let main = TestNode::main(&main_place, "paris");
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    lyon.serves(&immutable("big", &big), &big).await;
    lyon.serves(&immutable("sub/small", &small), &small).await;
    lyon.serves("wsusscn2.cab", &old).await;
    lyon.serves(&immutable("empty", b""), b"").await;
    assert_eq!(lyon_place.read(&immutable("big", &big)), Some(big));

    let late = noise(4, 200_000);
    main_place.write(&immutable("late", &late), &late);
    lyon.serves(&immutable("late", &late), &late).await;
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_of_a_secondary_joins_through_it_and_gets_everything_from_it() {
    let (main_place, lyon_place, bron_place) = (Place::new(1), Place::new(2), Place::new(3));
    let (big, small) = (noise(1, 3_000_000), noise(2, 3_000));
    main_place.write(&immutable("big", &big), &big);
    main_place.write(&immutable("small", &small), &small);
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    lyon.catches_up_with(&main).await;

    let parent = join(&bron_place, main.invite("bron", Some(&lyon))).await;
    assert_eq!(parent.key, lyon.key);
    let bron = TestNode::secondary(&bron_place, "bron", Some(parent.clone()));
    bron.serves(&immutable("big", &big), &big).await;
    bron.serves(&immutable("small", &small), &small).await;

    let late = noise(3, 10_000_000);
    main_place.write(&immutable("late", &late), &late);
    bron.serves(&immutable("late", &late), &late).await;
    remove(&main_place, &immutable("small", &small));
    bron.holds_nothing_under(&immutable("small", &small)).await;

    bron.stop().await;
    main.stop().await;
    std::fs::remove_file(bron_place.folder().join(immutable("big", &big))).unwrap();
    let bron = TestNode::secondary(&bron_place, "bron", Some(parent));
    bron.serves(&immutable("big", &big), &big).await;
    assert_eq!(bron.received(), big.len() as u64);
    bron.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_file_rests_in_the_trash_a_renamed_one_is_not_transferred_again_and_a_replaced_one_is_new() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (gone, moved, old, new) = (noise(1, 70_000), noise(2, 900_000), noise(3, 500_000), noise(4, 400_000));
    main_place.write(&immutable("gone", &gone), &gone);
    main_place.write(&immutable("before", &moved), &moved);
    main_place.write_old("wsusscn2.cab", &old);
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    lyon.serves(&immutable("gone", &gone), &gone).await;
    lyon.serves("wsusscn2.cab", &old).await;
    lyon.catches_up_with(&main).await;
    let received = lyon.received();

    remove(&main_place, &immutable("gone", &gone));
    lyon.holds_nothing_under(&immutable("gone", &gone)).await;
    wait("the trash has it", || (trash(&lyon_place) == [gone.clone()]).then_some(())).await;

    let after = main_place.folder().join(immutable("after", &moved));
    std::fs::rename(main_place.folder().join(immutable("before", &moved)), after).unwrap();
    lyon.serves(&immutable("after", &moved), &moved).await;
    lyon.holds_nothing_under(&immutable("before", &moved)).await;
    assert_eq!(lyon.received(), received, "content under a new name is not sent again");

    main.stop().await;
    main_place.write_old("wsusscn2.cab", &new);
    let main = TestNode::main(&main_place, "paris");
    let lyon_key = lyon.key;
    lyon.stop().await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(main.as_parent(&main)));
    assert_eq!(lyon.key, lyon_key);
    lyon.serves("wsusscn2.cab", &new).await;
    assert_eq!(lyon.received(), new.len() as u64);
    assert_eq!(lyon_place.read("wsusscn2.cab"), Some(new));
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_small_files_arrive_and_a_restart_costs_a_greeting() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let mut total = 0;
    for i in 0..2_000 {
        let bytes = noise(i, 100 + (i as usize * 37) % 8_000);
        total += bytes.len() as u64;
        main_place.write(&immutable(&format!("f{i}"), &bytes), &bytes);
    }
    for i in 0..4 {
        let bytes = noise(10_000 + i, 1_500_000);
        total += bytes.len() as u64;
        main_place.write(&immutable(&format!("big{i}"), &bytes), &bytes);
    }
    let main = TestNode::main(&main_place, "paris");
    wait("all is adopted", || {
        let snapshot = main.repository.state().index.read().unwrap();
        (snapshot.totals(&harness::folder()).unwrap().files == 2_004).then_some(())
    })
    .await;
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent.clone()));
    lyon.catches_up_with(&main).await;
    assert_eq!(lyon.received(), total);
    lyon.stop().await;

    let link = Link::to(main.address).await;
    let through = ParentAddress { addresses: vec![link.address.to_string()], ..parent };
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(through));
    wait("lyon is connected", || lyon.shared.parent().connected_since).await;
    lyon.catches_up_with(&main).await;
    assert_eq!(lyon.received(), 0);
    // The handshake with its padding and the search for the largest packet; a state of 2,004 files has 200 KB.
    assert!(link.bytes() < 20_000, "{} bytes for nothing new", link.bytes());
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_that_comes_back_to_an_unchanged_main_knows_that_it_is_current() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    lyon.catches_up_with(&main).await;
    lyon.stop().await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(main.as_parent(&main)));
    wait("lyon is current", || lyon.shared.parent().is_current.then_some(())).await;
    lyon.stop().await;
    main.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_that_was_away_catches_up_by_the_log_and_by_comparing_trees() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let first = noise(1, 1_000);
    main_place.write(&immutable("first", &first), &first);
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    lyon.serves(&immutable("first", &first), &first).await;
    let parent = main.as_parent(&main);
    lyon.stop().await;
    for trimmed in [false, true] {
        lyon_stays_away(&main, &main_place, trimmed).await;
        let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent.clone()));
        lyon.catches_up_with(&main).await;
        let head = main.repository.head().unwrap();
        let snapshot = lyon.repository.state().index.read().unwrap();
        for (namespace, root) in &head.head().roots {
            assert_eq!(snapshot.root_of(namespace).unwrap(), *root);
        }
        assert_eq!(snapshot.log_base().unwrap() == head.head().seq, trimmed, "by trees if the log was trimmed");
        drop(snapshot);
        lyon.stop().await;
    }
    main.stop().await;
}

/// The main gets a file, loses one, and perhaps forgets its log.
async fn lyon_stays_away(main: &TestNode, main_place: &Place, trimmed: bool) {
    let seed = 100 + main.repository.head().unwrap().head().seq;
    let bytes = noise(seed, 5_000);
    main_place.write(&immutable("next", &bytes), &bytes);
    main.serves(&immutable("next", &bytes), &bytes).await;
    if trimmed {
        let seq = main.repository.head().unwrap().head().seq;
        main.repository.state().index.write(|batch| batch.clear_log(seq)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_main_that_lost_its_index_costs_no_transfer_and_no_file() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let files: Vec<_> = (0..30).map(|i| noise(i, 20_000)).collect();
    for bytes in &files {
        main_place.write(&immutable("f", bytes), bytes);
    }
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    for bytes in &files {
        lyon.serves(&immutable("f", bytes), bytes).await;
    }
    let epoch = main.repository.head().unwrap().head().epoch;
    main.stop().await;
    lyon.stop().await;
    std::fs::remove_file(main_place.state().join("index.redb")).unwrap();
    // The lost index was ahead of the tree: one file exists at the secondary only.
    remove(&main_place, &immutable("f", &files[0]));
    let main = TestNode::main(&main_place, "paris");
    for bytes in &files[1..] {
        main.serves(&immutable("f", bytes), bytes).await;
    }
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(main.as_parent(&main)));
    lyon.catches_up_with(&main).await;
    assert!(lyon.repository.head().unwrap().head().epoch > epoch);
    assert_eq!(lyon.received(), 0);
    for bytes in &files {
        lyon.serves(&immutable("f", bytes), bytes).await;
    }
    assert!(trash(&lyon_place).is_empty());
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_seeded_by_hand_transfers_only_the_state() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (big, small, mutable) = (noise(1, 2_000_000), noise(2, 3_000), noise(3, 300_000));
    for place in [&main_place, &lyon_place] {
        place.write(&immutable("big", &big), &big);
        place.write(&immutable("small", &small), &small);
        place.write_old("wsusscn2.cab", &mutable);
    }
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    lyon.serves(&immutable("big", &big), &big).await;
    lyon.serves(&immutable("small", &small), &small).await;
    lyon.serves("wsusscn2.cab", &mutable).await;
    lyon.catches_up_with(&main).await;
    assert_eq!(lyon.received(), 0);
    main.stop().await;
    lyon.stop().await;
}

/// A new member that reaches the main only through the link.
async fn join_through_a_link(place: &Place, main: &TestNode) -> (ParentAddress, Link) {
    let parent = join(place, main.invite("lyon", None)).await;
    let link = Link::to(main.address).await;
    (ParentAddress { addresses: vec![link.address.to_string()], ..parent }, link)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_cut_goes_on_where_it_was() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let big = noise(1, 60_000_000);
    main_place.write(&immutable("big", &big), &big);
    let main = TestNode::main(&main_place, "paris");
    main.serves(&immutable("big", &big), &big).await;
    let (parent, link) = join_through_a_link(&lyon_place, &main).await;

    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent.clone()));
    wait("some arrives", || (lyon.received() > 4_000_000).then_some(())).await;
    main.stop().await;
    let main = TestNode::main(&main_place, "paris");
    link.lead_to(main.address);
    wait("more arrives", || (lyon.received() > 20_000_000).then_some(())).await;
    assert!(lyon.root_of(&immutable("big", &big)).is_none());
    link.cut();
    let before = lyon.received();
    lyon.stop().await;
    link.heal();

    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    lyon.serves(&immutable("big", &big), &big).await;
    let all = before + lyon.received();
    assert!(all < big.len() as u64 + 4_000_000, "{all} bytes for a file of {}", big.len());
    assert_eq!(lyon_place.read(&immutable("big", &big)), Some(big));
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_address_and_a_cut_in_mid_transfer_cost_nothing_that_had_arrived() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let big = noise(1, 120_000_000);
    main_place.write(&immutable("big", &big), &big);
    let main = TestNode::main(&main_place, "paris");
    main.serves(&immutable("big", &big), &big).await;
    let (parent, link) = join_through_a_link(&lyon_place, &main).await;

    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    wait("lyon is connected", || lyon.shared.parent().connected_since).await;
    for _ in 0..3 {
        let (before, since) = (lyon.received(), lyon.shared.parent().connected_since);
        wait("some arrives", || (lyon.received() > before + 3_000_000).then_some(())).await;
        link.rebind();
        let before = lyon.received();
        wait("it goes on from another address", || (lyon.received() > before + 3_000_000).then_some(())).await;
        assert_eq!(lyon.shared.parent().connected_since, since, "on the same connection");
    }
    assert!(lyon.root_of(&immutable("big", &big)).is_none());
    link.cut();
    wait("the connection is lost", || lyon.shared.parent().connected_since.is_none().then_some(())).await;
    link.heal();
    lyon.serves(&immutable("big", &big), &big).await;
    // One stream, one cut.
    assert!(lyon.received() <= big.len() as u64 + 65_536, "{} bytes for a file of {}", lyon.received(), big.len());
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_at_the_main_in_mid_transfer_is_given_up_for_its_new_content() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (old, new) = (noise(1, 150_000_000), noise(2, 20_000_000));
    main_place.write_old("wsusscn2.cab", &old);
    let main = TestNode::main(&main_place, "paris");
    main.serves("wsusscn2.cab", &old).await;
    let (parent, link) = join_through_a_link(&lyon_place, &main).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    wait("some arrives", || (lyon.received() > 4_000_000).then_some(())).await;
    link.cut();
    main_place.write_old(".next", &new);
    std::fs::rename(main_place.folder().join(".next"), main_place.folder().join("wsusscn2.cab")).unwrap();
    main.serves("wsusscn2.cab", &new).await;
    link.heal();
    lyon.serves("wsusscn2.cab", &new).await;
    assert!(lyon.received() < old.len() as u64, "the rest of {} bytes was fetched: {}", old.len(), lyon.received());
    wait("nothing is left of the old one", || partials(&lyon_place).is_empty().then_some(())).await;
    assert_eq!(lyon_place.read("wsusscn2.cab"), Some(new));
    assert!(trash(&lyon_place).is_empty());
    main.stop().await;
    lyon.stop().await;
}

fn partials(place: &Place) -> Vec<std::path::PathBuf> {
    files_below(&place.root.path().join("www/.wuasync/waptwua/partials"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_secondaries_mirror_at_once_and_what_is_done_to_their_files_is_undone() {
    let (main_place, lyon_place, nice_place) = (Place::new(1), Place::new(2), Place::new(3));
    let (one, two) = (noise(1, 500_000), noise(2, 2_000));
    main_place.write(&immutable("one", &one), &one);
    main_place.write(&immutable("two", &two), &two);
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    let parent = join(&nice_place, main.invite("nice", None)).await;
    let nice = TestNode::secondary(&nice_place, "nice", Some(parent));
    for node in [&lyon, &nice] {
        node.serves(&immutable("one", &one), &one).await;
        node.serves(&immutable("two", &two), &two).await;
    }
    let connected = || main.shared.children().iter().map(|child| child.name.clone()).collect::<Vec<_>>();
    assert_eq!(connected(), ["lyon", "nice"]);

    remove(&lyon_place, &immutable("one", &one));
    nice_place.write(&immutable("two", &two), b"edited");
    wait("the deleted file is back", || (lyon_place.read(&immutable("one", &one))? == one).then_some(())).await;
    wait("the edited file is back", || (nice_place.read(&immutable("two", &two))? == two).then_some(())).await;
    wait("the edit is in the trash", || (trash(&nice_place) == [b"edited".to_vec()]).then_some(())).await;
    for node in [main, lyon, nice] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_on_a_secondary_is_reported_by_its_child_and_healed_from_the_main() {
    let (main_place, lyon_place, bron_place) = (Place::new(1), Place::new(2), Place::new(3));
    let (big, small) = (noise(1, 3_000_000), noise(2, 3_000));
    main_place.write(&immutable("big", &big), &big);
    main_place.write(&immutable("small", &small), &small);
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    lyon.catches_up_with(&main).await;
    lyon.serves(&immutable("big", &big), &big).await;
    lyon_place.rot(&immutable("big", &big), 1_000_000);
    lyon_place.rot(&immutable("small", &small), 10);
    let parent = join(&bron_place, main.invite("bron", Some(&lyon))).await;
    let bron = TestNode::secondary(&bron_place, "bron", Some(parent));
    bron.serves(&immutable("big", &big), &big).await;
    bron.serves(&immutable("small", &small), &small).await;
    lyon.serves(&immutable("big", &big), &big).await;
    assert!(lyon.alarms(&immutable("big", &big)));
    assert_eq!(lyon_place.read(&immutable("big", &big)), Some(big));
    for node in [main, lyon, bron] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_on_the_main_stays_there_raises_an_alarm_and_holds_nobody_up() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (bad, good) = (noise(1, 3_000_000), noise(2, 3_000));
    main_place.write(&immutable("a-bad", &bad), &bad);
    main_place.write(&immutable("z-good", &good), &good);
    let main = TestNode::main(&main_place, "paris");
    main.serves(&immutable("a-bad", &bad), &bad).await;
    main_place.rot(&immutable("a-bad", &bad), 2_000_000);
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    lyon.serves(&immutable("z-good", &good), &good).await;
    main.raises(&immutable("a-bad", &bad)).await;
    assert!(lyon.repository.missing_after(&harness::folder(), None, 9).unwrap().len() == 1, "it is missed");
    let since = lyon.shared.parent().connected_since;
    assert!(since.is_some(), "the connection stands");
    assert_eq!(lyon_place.read(&immutable("a-bad", &bad)), None);
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_can_not_be_written_fails_alone() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let files: Vec<_> = (0..20).map(|i| noise(i, 2_000)).collect();
    for (i, bytes) in files.iter().enumerate() {
        main_place.write(&immutable(&format!("{i}"), bytes), bytes);
    }
    let blocked = noise(99, 2_000);
    main_place.write(&format!("dir/{}", immutable("x", &blocked)), &blocked);
    let main = TestNode::start(
        &main_place,
        main_place.open_capped(Role::Main, DeletionCap { max_percent: 100, min_files: 100 }),
        "paris",
        None,
    );
    lyon_place.write("dir", b"a file where a directory has to be");
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    for (i, bytes) in files.iter().enumerate() {
        lyon.serves(&immutable(&format!("{i}"), bytes), bytes).await;
    }
    lyon.raises("dir/x_").await;
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_that_asks_its_parent_has_its_newest_state_once_it_is_answered() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    for seed in 0..20 {
        let bytes = noise(seed, 2_000);
        main_place.write(&immutable("kb", &bytes), &bytes);
        main.serves(&immutable("kb", &bytes), &bytes).await;
        let signed = main.repository.head().unwrap();
        lyon.shared.ask_parent().await;
        assert!(lyon.repository.head().unwrap().head().seq >= signed.head().seq);
    }
    main.stop().await;
    let away = tokio::time::timeout(std::time::Duration::from_millis(200), lyon.shared.ask_parent()).await;
    assert!(away.is_err(), "nobody is there to answer");
    lyon.stop().await;
}
