use super::super::testing::{
    OLD, Place, adopt, differences, fetch, folder, follow, immutable, indexed, is_held, is_listed, is_missing, name,
    rescan, seq,
};
use super::*;
use crate::repository::Alarm;
use std::fs;

/// A main with these files and a secondary that has them all.
fn pair(files: &[&str]) -> (Place, Repository, Place, Repository) {
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    files.iter().for_each(|name| place.write(name, name.as_bytes()));
    adopt(&main, files).unwrap();
    follow(&main, &child).unwrap();
    fetch(&main, &child).unwrap();
    (place, main, below, child)
}

fn remove(place: &Place, main: &Repository, file: &str) {
    fs::remove_file(place.path(file)).unwrap();
    main.remove_gone(&folder(), &[name(file)]).unwrap();
}

/// The main's log since the child's head, as numbered changes.
fn log(main: &Repository, child: &Repository) -> Vec<Change> {
    let rows = main.state().index.read().unwrap().log_after(seq(child), 1_000).unwrap();
    let change = |row: crate::catalog::LogRow| {
        let LogRecord { namespace, key, body } = row.record;
        Change { seq: Some(row.seq), namespace, key, body }
    };
    rows.into_iter().map(change).collect()
}

#[test]
fn the_same_head_again_is_followed_and_changes_nothing() {
    let (_place, main, _below, child) = pair(&["a"]);
    follow(&main, &child).unwrap();
    main.sign_again().unwrap();
    follow(&main, &child).unwrap();
    assert_eq!(child.head().unwrap(), main.head().unwrap());
}

#[test]
fn an_older_head_is_refused() {
    let (place, main, _below, child) = pair(&["a"]);
    let old = main.head().unwrap();
    place.write("b", b"b");
    adopt(&main, &["b"]).unwrap();
    follow(&main, &child).unwrap();
    let refused = child.follow(old, &[]);
    assert!(matches!(refused, Err(FollowError::Older { seq: 1, .. })), "{refused:?}");
    assert_eq!(seq(&child), 2);
}

#[test]
fn two_mains_of_one_line_and_another_line_are_refused() {
    let (place, main, _below, child) = pair(&["a"]);
    let copy = Place::new();
    fs::create_dir_all(copy.state("keys")).unwrap();
    let mut twin = Place { top: copy.top, clock: copy.clock, seed: 90 };
    let stranger = Place { seed: 50, ..Place::new() }.main();
    assert!(child.judge(&stranger.head().unwrap().to_bytes(), &main.line().unwrap()).is_err());
    let refused = child.follow(stranger.head().unwrap(), &[]);
    assert!(matches!(refused, Err(FollowError::Head(VerifyHeadError::OtherLine { .. }))), "{refused:?}");
    fs::copy(place.state(crate::store::layout::LINE_KEY), twin.state(crate::store::layout::LINE_KEY)).unwrap();
    twin.seed = 91;
    let refused = child.follow(twin.main().head().unwrap(), &[]);
    assert!(matches!(refused, Err(FollowError::Forked { .. })), "{refused:?}");
    assert!(is_listed(&child, "a"));
}

#[test]
fn changes_that_do_not_lead_to_the_signed_state_change_nothing() {
    let (place, main, _below, child) = pair(&["a"]);
    place.write("b", b"b");
    remove(&place, &main, "a");
    adopt(&main, &["b"]).unwrap();
    let before = child.head().unwrap();
    let mut changes = differences(&main, &child);
    changes.pop();
    let refused = child.follow(main.head().unwrap(), &changes);
    assert!(matches!(refused, Err(FollowError::OtherRoot(_))), "{refused:?}");
    assert_eq!(child.head().unwrap(), before);
    assert!(is_held(&child, "a") && indexed(&child, "a").is_some() && indexed(&child, "b").is_none());
    follow(&main, &child).unwrap();
}

#[test]
fn a_tombstone_moves_the_file_to_the_trash() {
    let (place, main, below, child) = pair(&["a", "b"]);
    remove(&place, &main, "a");
    follow(&main, &child).unwrap();
    assert_eq!((below.read("a"), below.read("b")), (None, Some(b"b".to_vec())));
    assert_eq!(below.trashed(), [b"a"]);
    assert!(!is_held(&child, "a"));
    assert!(child.state().index.read().unwrap().intents_after(None, 9).unwrap().is_empty());
}

#[test]
fn a_removal_that_was_cut_short_is_carried_out_at_the_next_start() {
    let (_place, _main, below, child) = pair(&["a", "b"]);
    let folder = folder();
    child
        .state
        .index
        .write(|batch| {
            batch.files.remove_holding(&folder, &name("a"))?;
            batch.files.put_intent(&folder, &name("a"))?;
            batch.files.put_intent(&folder, &name("never-there"))
        })
        .unwrap();
    drop(child);
    let child = below.secondary();
    assert_eq!((below.read("a"), below.trashed()), (None, vec![b"a".to_vec()]));
    assert!(child.state().index.read().unwrap().intents_after(None, 9).unwrap().is_empty());
}

#[test]
fn a_file_that_was_received_anew_is_not_taken_by_an_old_intent() {
    let (_place, main, below, child) = pair(&["a"]);
    child.state.index.write(|batch| batch.files.put_intent(&folder(), &name("a"))).unwrap();
    fs::remove_file(below.path("a")).unwrap();
    child.mend(&folder(), &name("a")).unwrap();
    assert_eq!(fetch(&main, &child).unwrap(), ["a"]);
    drop(child);
    let child = below.secondary();
    assert!(is_held(&child, "a") && below.read("a").is_some());
}

#[test]
fn what_is_dropped_without_tombstone_is_kept_as_unlisted_and_listed_again_without_transfer() {
    let (place, main, below, child) = pair(&["a", "b"]);
    drop(main);
    fs::remove_file(place.state("index.redb")).unwrap();
    fs::rename(place.path("a"), place.top.path().join("a")).unwrap();
    let main = place.main();
    rescan(&main);
    follow(&main, &child).unwrap();
    assert!(is_held(&child, "a") && !is_listed(&child, "a") && is_listed(&child, "b"));
    assert!(below.read("a").is_some() && !is_missing(&child, "a"));
    assert_eq!(child.state.index.read().unwrap().totals(&folder()).unwrap().unlisted_files, 1);
    fs::rename(place.top.path().join("a"), place.path("a")).unwrap();
    rescan(&main);
    follow(&main, &child).unwrap();
    assert!(is_listed(&child, "a"));
    assert_eq!(fetch(&main, &child).unwrap(), [""; 0]);
}

#[test]
fn numbered_changes_are_passed_on_and_others_start_the_log_over() {
    let (place, main, _below, child) = pair(&["a"]);
    let base = |child: &Repository| child.state.index.read().unwrap().log_base().unwrap();
    let seqs = |child: &Repository| {
        let rows = child.state.index.read().unwrap().log_after(base(child), 10).unwrap();
        rows.iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    assert_eq!((base(&child), seqs(&child)), (1, vec![]));
    for file in ["b", "c"] {
        place.write(file, b"x");
        adopt(&main, &[file]).unwrap();
    }
    child.follow(main.head().unwrap(), &log(&main, &child)).unwrap();
    assert_eq!((base(&child), seqs(&child)), (1, vec![2, 3]));
    place.write("d", b"d");
    adopt(&main, &["d"]).unwrap();
    let mut lying = log(&main, &child);
    lying[0].seq = Some(u64::MAX);
    child.follow(main.head().unwrap(), &lying).unwrap();
    assert_eq!((base(&child), seqs(&child)), (4, vec![]));
}

#[test]
fn thousands_of_removed_files_are_carried_out_over_many_groups() {
    let (_place, _main, below, child) = pair(&["a"]);
    let names: Vec<_> = (0..1_200).map(|n| name(&format!("f{n}"))).collect();
    names.iter().for_each(|name| below.write_at(name.as_str(), b"x", OLD));
    let put = |batch: &mut Batch<'_>| names.iter().try_for_each(|name| batch.files.put_intent(&folder(), name));
    child.state.index.write(put).unwrap();
    child.bury().unwrap();
    assert_eq!(below.trashed().len(), 1_200);
    assert!(child.state.index.read().unwrap().intents_after(None, 1).unwrap().is_empty());
}

#[test]
fn one_file_that_cannot_be_moved_keeps_its_intent_and_holds_up_nobody() {
    let (_place, _main, below, child) = pair(&["a", "b"]);
    let put = |batch: &mut Batch<'_>| {
        batch.files.put_intent(&folder(), &name("a"))?;
        batch.files.put_intent(&FolderName::new("unknown").unwrap(), &name("x"))
    };
    child.state.index.write(put).unwrap();
    let trash = below.stage("trash");
    fs::remove_dir(&trash).unwrap();
    fs::write(&trash, "in the way").unwrap();
    child.bury().unwrap();
    assert!(child.attention.stands(&Alarm::Failing("moving removed files to the trash")));
    assert!(below.read("a").is_some());
    fs::remove_file(&trash).unwrap();
    fs::create_dir(&trash).unwrap();
    child.bury().unwrap();
    assert!(!child.attention.stands(&Alarm::Failing("moving removed files to the trash")));
    assert_eq!(below.trashed(), [b"a"]);
}

#[test]
fn a_head_that_names_immutable_files_of_any_time_keeps_shared_inodes_apart_from_faults() {
    let bytes = b"equal content";
    let (one, two) = (immutable("one", bytes), immutable("two", bytes));
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    place.write_at(&one, bytes, OLD);
    place.write_at(&two, bytes, OLD + 100);
    adopt(&main, &[&one, &two]).unwrap();
    follow(&main, &child).unwrap();
    assert_eq!(fetch(&main, &child).unwrap().len(), 1, "the second is a link");
    for _ in 0..2 {
        assert_eq!(rescan(&child), 0);
        assert_eq!(fetch(&main, &child).unwrap(), [""; 0]);
        assert!(is_listed(&child, &one) && is_listed(&child, &two));
        assert_eq!(child.state.index.read().unwrap().totals(&folder()).unwrap().missing_files, 0);
    }
}

#[test]
fn thousands_of_changes_at_once_lead_where_the_same_ones_lead_in_parts() {
    let (place, [at_once, in_parts]) = (Place::new(), [Place::new(), Place::new()]);
    let (main, at_once, in_parts) = (place.main(), at_once.secondary(), in_parts.secondary());
    let names: Vec<_> = (0..TWO_THREADS_FROM + 10).map(|n| format!("f{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.iter().for_each(|name| place.write(name, name.as_bytes()));
    for part in names.chunks(TWO_THREADS_FROM / 2) {
        adopt(&main, part).unwrap();
        follow(&main, &in_parts).unwrap();
    }
    follow(&main, &at_once).unwrap();
    let known = |child: &Repository| {
        let index = child.state.index.read().unwrap();
        (index.missing_after(&folder(), None, usize::MAX).unwrap(), index.totals(&folder()).unwrap())
    };
    assert_eq!(known(&at_once).0.len(), names.len());
    assert_eq!(known(&at_once), known(&in_parts));
    assert_eq!(differences(&main, &at_once), []);
}

#[test]
fn what_the_index_names_is_counted_once_whatever_became_of_it() {
    let (place, main, _below, child) = pair(&["a", "b"]);
    let indexed = |child: &Repository| {
        let totals = child.state.index.read().unwrap().totals(&folder()).unwrap();
        (totals.files, totals.bytes)
    };
    assert_eq!(indexed(&child), (2, 2));
    place.write("a", b"longer");
    adopt(&main, &["a"]).unwrap();
    follow(&main, &child).unwrap();
    assert_eq!(indexed(&child), (2, 7));
    remove(&place, &main, "a");
    follow(&main, &child).unwrap();
    assert_eq!(indexed(&child), (1, 1));
}
