use super::super::testing::{NOW, Place, adopt, folder, indexed, is_held, is_missing, name, rescan, seq};
use super::*;
use std::fs;

fn main_of(files: usize) -> (Place, Repository) {
    let place = Place::new();
    let main = place.main();
    let names: Vec<_> = (0..files).map(|n| format!("f{n:03}")).collect();
    names.iter().for_each(|name| place.write(name, name.as_bytes()));
    assert_eq!(rescan(&main), 0);
    assert_eq!(seq(&main), files as u64);
    (place, main)
}

fn drop_files(place: &Place, numbers: std::ops::Range<usize>) -> Vec<FileName> {
    let names: Vec<_> = numbers.map(|n| format!("f{n:03}")).collect();
    names.iter().for_each(|name| fs::remove_file(place.path(name)).unwrap());
    names.iter().map(|text| name(text)).collect()
}

fn withheld() -> Alarm {
    Alarm::DeletionsWithheld(folder())
}

#[test]
fn deletions_under_the_cap_become_tombstones() {
    let (place, main) = main_of(20);
    let gone = drop_files(&place, 0..4);
    main.remove_gone(&folder(), &gone).unwrap();
    assert_eq!(seq(&main), 24);
    assert!(gone.iter().all(|name| indexed(&main, name.as_str()).is_none() && !is_held(&main, name.as_str())));
    assert!(!main.attention.stands(&withheld()));
}

#[test]
fn deletions_above_the_cap_are_withheld_until_they_are_accepted() {
    let (place, main) = main_of(20);
    let gone = drop_files(&place, 0..5);
    assert_eq!(rescan(&main), 5);
    assert!(main.attention.stands(&withheld()));
    assert!(gone.iter().all(|name| indexed(&main, name.as_str()).is_some() && is_missing(&main, name.as_str())));
    assert_eq!(seq(&main), 20);
    drop(main);
    let main = place.main();
    assert!(main.attention.stands(&withheld()), "a restart forgets no alarm");
    assert_eq!(main.accept_deletions(&folder()).unwrap(), 5);
    assert!(gone.iter().all(|name| indexed(&main, name.as_str()).is_none() && !is_missing(&main, name.as_str())));
    assert_eq!(seq(&main), 25);
    assert!(!main.attention.stands(&withheld()));
}

#[test]
fn files_that_come_back_end_the_alarm() {
    let (place, main) = main_of(20);
    drop_files(&place, 0..5);
    rescan(&main);
    (0..5).map(|n| format!("f{n:03}")).for_each(|name| place.write(&name, name.as_bytes()));
    assert_eq!(rescan(&main), 0);
    assert!(!main.attention.stands(&withheld()));
    assert_eq!(seq(&main), 20, "nothing changed after all");
}

#[test]
fn many_small_deletions_are_one_large_and_an_hour_later_they_are_not() {
    let (place, main) = main_of(20);
    for n in 0..3 {
        main.remove_gone(&folder(), &drop_files(&place, n..n + 1)).unwrap();
    }
    assert_eq!(seq(&main), 23);
    main.remove_gone(&folder(), &drop_files(&place, 3..5)).unwrap();
    assert!(main.attention.stands(&withheld()));
    main.accept_deletions(&folder()).unwrap();
    place.clock.set(NOW + DELETION_WINDOW);
    main.remove_gone(&folder(), &drop_files(&place, 5..8)).unwrap();
    assert!(!main.attention.stands(&withheld()));
}

#[test]
fn names_that_nobody_knew_count_for_nothing() {
    let (_place, main) = main_of(5);
    let strangers: Vec<_> = (0..1_000).map(|n| name(&format!("download-{n}.part"))).collect();
    main.remove_gone(&folder(), &strangers).unwrap();
    assert!(!main.attention.stands(&withheld()));
    assert_eq!(seq(&main), 5);
}

#[test]
fn an_emptied_folder_signs_nothing_however_often_it_is_looked_at() {
    let (place, main) = main_of(30);
    drop_files(&place, 0..30);
    assert_eq!(rescan(&main), 30);
    assert_eq!(rescan(&main), 0);
    assert!(main.attention.stands(&withheld()));
    assert_eq!(seq(&main), 30);
}

#[test]
fn in_a_folder_in_anothers_place_rows_rest_and_nothing_is_signed() {
    let (place, main) = main_of(10);
    let replaced = Alarm::FolderReplaced(folder());
    drop(main);
    fs::rename(place.path(""), place.top.path().join("right")).unwrap();
    fs::create_dir(place.path("")).unwrap();
    let main = place.main();
    assert_eq!(rescan(&main), 10);
    assert_eq!(rescan(&main), 10);
    assert!(main.attention.stands(&replaced));
    assert_eq!(seq(&main), 10);
    drop(main);
    fs::remove_dir(place.path("")).unwrap();
    fs::rename(place.top.path().join("right"), place.path("")).unwrap();
    let main = place.main();
    let mut differing = 0;
    main.scan(&folder(), &mut |_, _| differing += 1).unwrap();
    assert_eq!(differing, 0, "nothing is read again");
    assert!(!main.attention.stands(&replaced));
}

#[test]
fn a_folder_that_is_swapped_while_the_daemon_runs_raises_the_alarm() {
    let (place, main) = main_of(10);
    fs::rename(place.path(""), place.top.path().join("right")).unwrap();
    fs::create_dir(place.path("")).unwrap();
    rescan(&main);
    assert!(main.attention.stands(&Alarm::FolderReplaced(folder())));
    fs::remove_dir(place.path("")).unwrap();
    fs::rename(place.top.path().join("right"), place.path("")).unwrap();
    rescan(&main);
    assert!(!main.attention.stands(&Alarm::FolderReplaced(folder())));
}

#[test]
fn a_replaced_folder_is_taken_over_when_the_deletions_are_accepted() {
    let (place, main) = main_of(10);
    drop(main);
    fs::rename(place.path(""), place.top.path().join("old")).unwrap();
    fs::create_dir(place.path("")).unwrap();
    place.write("f000", b"f000");
    let main = place.main();
    rescan(&main);
    assert_eq!(main.accept_deletions(&folder()).unwrap(), 9);
    rescan(&main);
    assert!(!main.attention.stands(&Alarm::FolderReplaced(folder())));
    assert!(is_held(&main, "f000") && indexed(&main, "f001").is_none());
}

#[test]
fn a_secondary_signs_nothing() {
    let place = Place::new();
    let child = place.secondary();
    assert!(matches!(child.sign_again(), Err(RepositoryError::NotMain)));
    adopt(&child, &[]).unwrap();
}

#[test]
fn a_directory_that_is_gone_takes_what_was_beneath_it_under_one_cap() {
    let (place, main) = main_of(20);
    let files = ["d/a", "d/e/b", "d-c", "d.c"];
    files.iter().for_each(|name| place.write(name, name.as_bytes()));
    adopt(&main, &files).unwrap();
    fs::remove_dir_all(place.path("d")).unwrap();
    main.remove_gone(&folder(), &[name("d"), name("d/a")]).unwrap();
    assert_eq!(files.map(|name| indexed(&main, name).is_some()), [false, false, true, true]);
    assert_eq!(seq(&main), 26);
    let many: Vec<_> = (0..6).map(|n| format!("many/{n}")).collect();
    many.iter().for_each(|name| place.write(name, name.as_bytes()));
    adopt(&main, &many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    fs::remove_dir_all(place.path("many")).unwrap();
    main.remove_gone(&folder(), &[name("many")]).unwrap();
    assert!(many.iter().all(|name| indexed(&main, name).is_some()) && main.attention.stands(&withheld()));
}
