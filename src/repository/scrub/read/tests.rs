use super::super::super::{
    Alarm,
    testing::{OLD, Place, adopt, fetch, folder, follow, immutable, is_held, is_missing, name, rescan},
};
use super::*;
use std::{fs, os::unix::fs::MetadataExt};

/// Flips a byte as a failing disk does: neither length nor time tell.
fn rot(place: &Place, name: &str, offset: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().read(true).write(true).open(place.path(name)).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    file.set_modified(modified).unwrap();
}

fn scrub(repository: &Repository, text: &str) -> Scrubbed {
    repository.scrub_file(&folder(), &name(text), &mut |_| true).unwrap()
}

fn damaged(repository: &Repository) -> Vec<String> {
    let damaged = repository.damaged_after(&folder(), None, 9).unwrap();
    damaged.into_iter().map(|(name, _)| name.to_string()).collect()
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 % 251) as u8).collect()
}

#[test]
fn a_whole_file_stays_and_only_a_few_groups_are_in_memory() {
    let place = Place::new();
    let main = place.main();
    place.write("a", &bytes(5_000_000));
    place.write("empty", b"");
    adopt(&main, &["a", "empty"]).unwrap();
    let mut pieces = Vec::new();
    let read = main.scrub_file(&folder(), &name("a"), &mut |bytes| {
        pieces.push(bytes);
        true
    });
    assert_eq!(read.unwrap(), Scrubbed::Whole { bytes: 5_000_000 });
    assert_eq!(pieces.iter().sum::<u64>(), 5_000_000);
    assert!(pieces.iter().all(|bytes| *bytes <= 1 << 20), "{pieces:?}");
    assert_eq!(scrub(&main, "empty"), Scrubbed::Whole { bytes: 0 });
    assert_eq!(scrub(&main, "nowhere"), Scrubbed::NotHeld);
}

#[test]
fn a_rotten_file_of_a_main_is_in_the_trash_missing_and_never_removed_from_the_index() {
    let place = Place::new();
    let main = place.main();
    let good = bytes(300_000);
    place.write("a", &good);
    place.write("b", b"b");
    adopt(&main, &["a", "b"]).unwrap();
    let head = main.head().unwrap();
    rot(&place, "a", 70_000);
    rot(&place, "a", 299_999);
    assert_eq!(scrub(&main, "a"), Scrubbed::Damaged { bytes: 300_000, groups: 2, wanted: true });
    assert!(!is_held(&main, "a") && is_missing(&main, "a") && is_held(&main, "b"));
    assert_eq!((place.read("a"), place.trashed().len()), (None, 1));
    assert_eq!(damaged(&main), ["a"]);
    assert!(matches!(main.find(&folder(), &name("a")).unwrap(), super::super::super::Found::NotYet));
    main.remove_gone(&folder(), &[name("a")]).unwrap();
    assert_eq!(rescan(&main), 0);
    assert_eq!(main.head().unwrap(), head);
    drop(main);
    let main = place.main();
    assert_eq!((damaged(&main), main.attention.standing().len()), (vec!["a".to_owned()], 0));
    place.write("a", &good);
    adopt(&main, &["a"]).unwrap();
    assert_eq!((damaged(&main), main.head().unwrap()), (vec![], head));
    let totals = main.state.index.read().unwrap().damage_totals().unwrap();
    assert_eq!((totals.found_files, totals.found_groups, totals.healed_files, totals.healed_groups), (1, 2, 1, 2));
}

#[test]
fn a_rotten_file_of_a_secondary_is_fetched_again() {
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    place.write("a", &bytes(20_000));
    adopt(&main, &["a"]).unwrap();
    follow(&main, &child).unwrap();
    fetch(&main, &child).unwrap();
    rot(&below, "a", 0);
    assert_eq!(scrub(&child, "a"), Scrubbed::Damaged { bytes: 20_000, groups: 1, wanted: true });
    assert!(is_missing(&child, "a") && below.read("a").is_none());
    assert!(child.attention.stands(&Alarm::ContentDamaged(folder(), name("a"))));
    assert_eq!(fetch(&main, &child).unwrap(), ["a"]);
    assert_eq!(damaged(&child), [""; 0]);
    assert_eq!(scrub(&child, "a"), Scrubbed::Whole { bytes: 20_000 });
    assert!(!child.attention.stands(&Alarm::ContentDamaged(folder(), name("a"))));
}

#[test]
fn a_rotten_file_that_nobody_else_has_is_in_the_trash_and_waits_for_nobody() {
    let below = Place::new();
    let child = below.secondary();
    below.write("extra", &bytes(100));
    rescan(&child);
    rot(&below, "extra", 50);
    assert_eq!(scrub(&child, "extra"), Scrubbed::Damaged { bytes: 100, groups: 1, wanted: false });
    assert!(!is_held(&child, "extra") && !is_missing(&child, "extra") && damaged(&child).is_empty());
    assert_eq!(below.trashed().len(), 1);
}

#[test]
fn second_names_of_the_rotten_bytes_go_with_it_and_a_copy_stays() {
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    let same = bytes(10_000);
    let (one, two) = (immutable("a-one", &same), immutable("b-two", &same));
    [one.as_str(), &two, "z-copy"].iter().for_each(|name| place.write(name, &same));
    adopt(&main, &[&one, &two, "z-copy"]).unwrap();
    follow(&main, &child).unwrap();
    while !fetch(&main, &child).unwrap().is_empty() {}
    let inode = |name: &str| below.path(name).metadata().unwrap().ino();
    assert_eq!((inode(&one) == inode(&two), inode(&one) == inode("z-copy")), (true, false));
    rot(&below, &one, 10);
    assert_eq!(scrub(&child, &one), Scrubbed::Damaged { bytes: 10_000, groups: 1, wanted: true });
    assert!(is_missing(&child, &one) && is_missing(&child, &two) && is_held(&child, "z-copy"));
    assert_eq!(fetch(&main, &child).unwrap(), [""; 0], "the good copy is on this disk");
    assert!(is_held(&child, &one) && is_held(&child, &two));
    for name in [&one, &two, "z-copy"] {
        assert_eq!(scrub(&child, name), Scrubbed::Whole { bytes: 10_000 });
    }
}

#[test]
fn a_file_that_was_edited_or_removed_is_no_damage() {
    let place = Place::new();
    let main = place.main();
    ["edited", "gone", "written"].iter().for_each(|name| place.write(name, &bytes(200_000)));
    adopt(&main, &["edited", "gone", "written"]).unwrap();
    place.write_at("edited", b"x", OLD + 1);
    fs::remove_file(place.path("gone")).unwrap();
    assert_eq!((scrub(&main, "edited"), scrub(&main, "gone")), (Scrubbed::Changed, Scrubbed::Changed));
    let written = main.scrub_file(&folder(), &name("written"), &mut |_| {
        place.write_at("written", &bytes(199_999), OLD + 1);
        true
    });
    assert_eq!(written.unwrap(), Scrubbed::Changed);
    assert!(place.trashed().is_empty() && damaged(&main).is_empty());
    assert_eq!(main.take_faults(&folder()), [name("edited"), name("gone"), name("written")]);
}

#[test]
fn a_file_that_was_published_anew_while_it_was_read_is_no_damage() {
    let place = Place::new();
    let main = place.main();
    place.write("a", &bytes(200_000));
    adopt(&main, &["a"]).unwrap();
    let old = main.state.index.read().unwrap().holding(&folder(), &name("a")).unwrap().unwrap();
    place.write_at("a", b"new", OLD + 1);
    adopt(&main, &["a"]).unwrap();
    assert_eq!(main.quarantine(&folder(), &name("a"), &old, 1).unwrap(), Quarantined::Changed);
    assert!(is_held(&main, "a") && place.trashed().is_empty());
}

#[test]
fn a_reading_that_is_stopped_says_nothing_of_the_file() {
    let place = Place::new();
    let main = place.main();
    place.write("a", &bytes(5_000_000));
    adopt(&main, &["a"]).unwrap();
    rot(&place, "a", 4_900_000);
    let mut pieces = 0;
    let mut stop = |_| {
        pieces += 1;
        pieces < 3
    };
    assert_eq!(main.scrub_file(&folder(), &name("a"), &mut stop).unwrap(), Scrubbed::Stopped);
    main.state.outboards.remove(main.indexed(&folder(), &name("a")).unwrap().unwrap().root).unwrap();
    assert_eq!(main.scrub_file(&folder(), &name("a"), &mut |_| false).unwrap(), Scrubbed::Stopped);
    assert!(is_held(&main, "a") && place.trashed().is_empty());
}

#[test]
fn a_rotten_hash_tree_condemns_no_good_file_and_is_made_anew() {
    let place = Place::new();
    let main = place.main();
    let good = bytes(300_000);
    place.write("a", &good);
    adopt(&main, &["a"]).unwrap();
    let root = main.indexed(&folder(), &name("a")).unwrap().unwrap().root;
    let outboard = place.state(&crate::store::layout::outboard(root));
    let mut tree = fs::read(&outboard).unwrap();
    tree[3] ^= 1;
    fs::write(&outboard, tree).unwrap();
    assert_eq!(scrub(&main, "a"), Scrubbed::Whole { bytes: 300_000 });
    assert!(main.state.outboards.read(root, 300_000).unwrap().is_none());
    assert_eq!(scrub(&main, "a"), Scrubbed::Whole { bytes: 300_000 });
    rot(&place, "a", 1);
    assert!(matches!(scrub(&main, "a"), Scrubbed::Damaged { wanted: true, .. }));
}
