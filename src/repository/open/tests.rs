use super::super::testing::{
    NOW, Place, adopt, fetch, folder, follow, immutable, indexed, is_held, name, rescan, root_of, seq,
};
use super::*;
use crate::store::partial::Partial;
use std::fs;

fn epoch(main: &Repository) -> u64 {
    main.head().unwrap().head().epoch
}

#[test]
fn a_main_draws_a_line_and_keeps_it() {
    let place = Place::new();
    let main = place.main();
    let (line, head) = (main.line().unwrap(), main.head().unwrap());
    assert_eq!((epoch(&main), seq(&main)), (NOW * 1_000, 0));
    drop(main);
    let main = place.main();
    assert_eq!((main.line().unwrap(), main.head().unwrap()), (line, head));
}

#[test]
fn a_secondary_has_no_line_before_its_first_head() {
    let child = Place::new().secondary();
    assert!(child.line().is_none() && child.head().is_none());
}

#[test]
fn a_main_that_lost_its_index_starts_a_greater_epoch_and_secondaries_keep_every_file() {
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    let kb = immutable("kb", b"kb");
    place.write(&kb, b"kb");
    place.write("gone", b"gone");
    adopt(&main, &[&kb, "gone"]).unwrap();
    follow(&main, &child).unwrap();
    fetch(&main, &child).unwrap();
    let (before, line) = (epoch(&main), main.line());
    drop(main);
    fs::remove_file(place.state("index.redb")).unwrap();
    fs::remove_file(place.path("gone")).unwrap();
    place.clock.set(NOW - 1_000);
    let main = place.main();
    assert!(epoch(&main) > before, "even where the clock went back");
    assert_eq!(main.line(), line);
    rescan(&main);
    follow(&main, &child).unwrap();
    assert_eq!(fetch(&main, &child).unwrap(), [""; 0]);
    assert!(is_held(&child, "gone") && below.read("gone").is_some());
    assert!(indexed(&child, "gone").is_none() && !super::super::testing::is_listed(&child, "gone"));
}

#[test]
fn an_index_from_an_older_copy_starts_a_new_epoch() {
    let place = Place::new();
    let main = place.main();
    place.write("a", b"a");
    adopt(&main, &["a"]).unwrap();
    let before = epoch(&main);
    drop(main);
    fs::copy(place.state("index.redb"), place.state("copy")).unwrap();
    let main = place.main();
    assert_eq!(epoch(&main), before);
    place.write("b", b"b");
    adopt(&main, &["b"]).unwrap();
    drop(main);
    fs::rename(place.state("copy"), place.state("index.redb")).unwrap();
    assert!(epoch(&place.main()) > before);
}

#[test]
fn a_damaged_index_is_set_aside_and_rebuilt() {
    let place = Place::new();
    let main = place.main();
    place.write("a", b"a");
    rescan(&main);
    drop(main);
    fs::write(place.state("index.redb"), vec![7; 100_000]).unwrap();
    let main = place.main();
    assert!(main.state().index_was_lost);
    assert!(fs::exists(place.state(&format!("index.redb.damaged-{NOW}"))).unwrap());
    rescan(&main);
    assert!(is_held(&main, "a"));
}

#[test]
fn a_newer_state_is_refused_untouched() {
    let place = Place::new();
    drop(place.main());
    fs::write(place.state("version"), "2\n").unwrap();
    let before = fs::read(place.state("index.redb")).unwrap();
    let refused = place.open(Role::Main).err().unwrap();
    assert!(matches!(refused, OpenRepositoryError::State(OpenStateError::Newer { found, .. }) if found == "2"));
    assert_eq!(fs::read(place.state("index.redb")).unwrap(), before);
}

/// The state folder's files with their bytes.
fn state_files(place: &Place) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for folder in ["", "keys"] {
        let entries = fs::read_dir(place.state(folder)).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        found.extend(
            files.map(|entry| (format!("{folder}/{}", entry.file_name().display()), fs::read(entry.path()).unwrap())),
        );
    }
    found.sort();
    found
}

#[test]
fn a_main_that_lost_its_line_key_is_refused_with_the_cure_and_nothing_is_written() {
    for lost in [
        &["keys/line"][..],
        &["keys/line", "index.redb"],
        &["keys/line", "index.redb", "accepted"],
        &["keys/line", "index.redb", "keys/epoch"],
        &["keys/line", "accepted", "keys/epoch"],
    ] {
        let place = Place::new();
        drop(place.main());
        lost.iter().for_each(|file| fs::remove_file(place.state(file)).unwrap());
        let before = state_files(&place);
        let refused = place.open(Role::Main).err().unwrap();
        assert!(
            matches!(&refused, OpenRepositoryError::State(error @ OpenStateError::LineKeyMissing { .. })
                if error.to_string().contains("keys/line is missing: restore it from the backup")),
            "{lost:?}: {refused:?}"
        );
        let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&state_files(&place)), names(&before), "{lost:?}");
    }
}

#[test]
fn a_line_key_of_another_line_is_refused() {
    let (place, mut other) = (Place::new(), Place::new());
    other.seed = 99;
    drop((place.main(), other.main()));
    fs::copy(other.state("keys/line"), place.state("keys/line")).unwrap();
    let refuses =
        || matches!(place.open(Role::Main), Err(OpenRepositoryError::State(OpenStateError::OtherLineKey { .. })));
    assert!(refuses());
    fs::remove_file(place.state("accepted")).unwrap();
    assert!(refuses(), "the stored head says so, too");
}

#[test]
fn a_state_folder_has_one_opener() {
    let place = Place::new();
    let main = place.main();
    let refused = place.open(Role::Main).err().unwrap();
    assert!(matches!(refused, OpenRepositoryError::State(OpenStateError::InUse { .. })));
    drop(main);
    place.main();
}

#[test]
fn partials_of_what_is_missing_stay_and_stale_ones_are_swept() {
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    let bytes = vec![3; 100_000];
    place.write("wanted", &bytes);
    adopt(&main, &["wanted"]).unwrap();
    follow(&main, &child).unwrap();
    let staging = child.staging(&folder()).unwrap();
    for root in [root_of(&bytes), root_of(b"stale")] {
        Partial::open(staging, root, 100_000).unwrap();
    }
    drop(child);
    let child = below.secondary();
    let left = partial_roots(child.staging(&folder()).unwrap()).unwrap();
    assert_eq!(left, [root_of(&bytes)].into());
    assert!(child.missing_after(&folder(), None, 1).unwrap()[0].0 == name("wanted"));
}
