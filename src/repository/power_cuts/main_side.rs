//! Power cuts at a main: adoption, replacement, removal, a lost index, and what it told others before.

use super::*;
use crate::{
    domain::{
        digest::Sha1,
        file::FileRecord,
        name::FileName,
        state::{SignedHead, Verdict, judge},
    },
    repository::{
        Before, Found, Pair, RepositoryError,
        testing::{indexed, rescan},
    },
    store::disk::Replace,
};
use std::cell::RefCell;

const NAMES: [&str; 2] = ["wsusscn2.cab", "sub/other.txt"];

fn www(disk: &SimulatedDisk) -> crate::store::disk::RootId {
    disk.open_root(Path::new("/srv/www/waptwua"), false).unwrap()
}

#[test]
fn what_was_adopted_is_durable_with_its_name_though_the_program_that_wrote_it_synced_nothing() {
    let work = |disk: &SimulatedDisk| -> Done {
        disk.make_directory(www(disk).at("sub"))?;
        NAMES.iter().for_each(|name| write_unsynced(disk, name, b"bytes"));
        let main = open(disk, Role::Main)?;
        Ok(adopt(&main, &NAMES)?)
    };
    // The program's own writes do not fail: the power goes later.
    let prepared = disk_with(&[]);
    let whole = prepared.crash(Lost::Nothing);
    work(&whole).unwrap();
    let opened = whole.log().iter().position(|line| line.starts_with("open_root /srv/state")).unwrap();
    for cut in whole.changes().into_iter().filter(|change| *change > opened).chain([usize::MAX]) {
        let disk = prepared.crash(Lost::Nothing);
        disk.fail_from(cut, EIO);
        let done = work(&disk).is_ok();
        for lost in [Lost::Nothing, Lost::Everything, Lost::Random(cut as u64), Lost::Random(!cut as u64)] {
            let left = disk.crash(lost);
            let main = open(&left, Role::Main).unwrap();
            for name in NAMES.iter().filter(|name| done || testing::is_held(&main, name)) {
                let file =
                    left.open(www(&left).at(name), Open::Read).unwrap_or_else(|e| panic!("{cut} {lost:?} {name}: {e}"));
                assert_eq!(bytes_of(&*file, file.stat().unwrap().size), b"bytes", "{cut} {lost:?} {name}");
                assert!(testing::is_held(&main, name));
            }
        }
    }
}

/// One step after the other, each adding what the main may have told its children: the head.
fn live(disk: &SimulatedDisk, told: &RefCell<Vec<SignedHead>>) -> Done {
    let main = open(disk, Role::Main)?;
    let tell = || told.borrow_mut().push(main.head().unwrap());
    tell();
    write(disk, "late", b"late");
    adopt(&main, &["late"])?;
    tell();
    write(disk, "replaced", b"newer");
    adopt(&main, &["replaced"])?;
    tell();
    disk.remove(www(disk).at("removed"))?;
    disk.sync_all(www(disk))?;
    main.remove_gone(&folder(), &[name("removed")])?;
    tell();
    main.sign_again()?;
    tell();
    Ok(())
}

#[test]
fn heads_that_were_told_are_only_followed_by_later_ones_after_any_power_cut() {
    let files: [(&str, &[u8]); 3] = [("replaced", b"old"), ("removed", b"removed"), ("kept", b"kept")];
    let (main, main_disk, _) = pair(&files);
    drop(main);
    let whole = main_disk.crash(Lost::Nothing);
    live(&whole, &RefCell::default()).unwrap();
    let own = |line: &String| !line.contains("/srv/www/waptwua");
    let cuts: Vec<_> = whole.changes().into_iter().filter(|change| own(&whole.log()[*change])).collect();
    for cut in cuts {
        let disk = main_disk.crash(Lost::Nothing);
        disk.fail_from(cut, EIO);
        let told = RefCell::default();
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| live(&disk, &told).is_ok()));
        drop(lived); // the other program's own write may be what the power cut hit
        let last = told.into_inner().pop();
        for lost in [Lost::Nothing, Lost::Everything, Lost::Random(cut as u64)] {
            let left = disk.crash(lost);
            let main = open(&left, Role::Main).unwrap_or_else(|error| panic!("after {cut}, {lost:?}: {error:?}"));
            let now = main.head().unwrap();
            let known: Vec<_> =
                ["late", "replaced", "kept"].into_iter().filter(|name| testing::is_held(&main, name)).collect();
            assert!(known.contains(&"kept"));
            let Some(last) = &last else { continue };
            let numbers = |head: &SignedHead| (head.head().epoch, head.head().seq);
            assert!(numbers(&now) >= numbers(last), "after {cut}, {lost:?}");
            write(&left, "next", b"next");
            adopt(&main, &["next"]).unwrap();
            let accepted = crate::domain::state::Accepted::from(last);
            let verdict = judge(Some(&accepted), main.head().unwrap().head());
            assert!(matches!(verdict, Verdict::Newer), "after {cut}, {lost:?}: {verdict:?}");
            for name in known {
                assert!(indexed(&main, name).is_some());
            }
        }
    }
}

#[test]
fn a_main_whose_index_is_lost_is_rebuilt_after_any_power_cut_and_costs_its_child_no_transfer_and_no_file() {
    let files: [(&str, &[u8]); 2] = [("a", b"a"), ("b", b"b")];
    let (main, main_disk, child_disk) = pair(&files);
    let before = main.head().unwrap();
    drop(main);
    let state = main_disk.open_root(Path::new("/srv/state"), false).unwrap();
    main_disk.remove(state.at("index.redb")).unwrap();
    main_disk.sync_all(state).unwrap();
    let work = |disk: &SimulatedDisk| -> Done {
        let main = open(disk, Role::Main)?;
        main.scan(&folder(), &mut |_, _| {})?;
        Ok(adopt(&main, &["a", "b"])?)
    };
    at_every_power_cut(&main_disk, Role::Main, work, |_, main, done| {
        assert!(main.head().unwrap().head().epoch > before.head().epoch);
        assert!(!done || testing::is_held(main, "a") && testing::is_held(main, "b"));
        rescan(main);
        let child_disk = child_disk.crash(Lost::Nothing);
        let child = open(&child_disk, Role::Secondary).unwrap();
        follow(main, &child).unwrap();
        assert_eq!(fetch(main, &child).unwrap(), [""; 0]);
        assert_eq!(files_of(&child, &[b"a", b"b"]).len(), 2);
        assert!(testing::is_listed(&child, "a") && testing::is_listed(&child, "b"));
    });
}

#[test]
fn a_file_renamed_at_a_main_is_known_by_one_name_at_least_after_any_power_cut() {
    let (first, second) = (immutable("first", b"kb"), immutable("second", b"kb"));
    let (main, main_disk, child_disk) = pair(&[(&first, b"kb"), ("kept", b"kept")]);
    let root = www(&main_disk);
    main_disk.rename(root.at(&first), root.at(&second), Replace::No).unwrap();
    main_disk.sync_all(root).unwrap();
    adopt(&main, &[&second]).unwrap();
    let work = |disk: &SimulatedDisk| -> Done {
        let child = open(disk, Role::Secondary)?;
        follow(&main, &child)?;
        assert_eq!(fetch(&main, &child)?, [""; 0], "it is here under its first name");
        Ok(())
    };
    at_every_power_cut(&child_disk, Role::Secondary, work, |_, child, done| {
        let found = files_of(child, &[b"kb", b"kept"]);
        assert!(found.contains_key(&first) && (!done || found.contains_key(&second)));
        follow(&main, child).unwrap();
        assert_eq!(fetch(&main, child).unwrap(), [""; 0]);
        assert!(testing::is_held(child, &second));
    });
}

#[test]
fn a_fetched_file_that_was_said_to_be_here_is_here_after_any_power_cut() {
    let kb = immutable("kb", b"fetched");
    let prepared = disk_with(&[(kb.as_str(), b"half")]);
    drop(open(&prepared, Role::Main).unwrap());
    let file = FileRecord { root: root_of(b"fetched"), size: 7, modified: 1_600_000_000 };
    let work = |disk: &SimulatedDisk| -> Done {
        let main = open(disk, Role::Main)?;
        let staged = main.staging(&folder())?.stage_bytes(b"fetched", file.modified)?;
        main.enter(&folder(), &name(&kb), &staged, file)?;
        Ok(())
    };
    at_every_power_cut(&prepared, Role::Main, work, |_, main, done| {
        files_of(main, &[b"half", b"fetched"]);
        let is_there = testing::is_held(main, &kb);
        assert!(is_there || !done, "it was said to be here");
        assert_eq!(indexed(main, &kb), is_there.then_some(file));
        assert_eq!(main.head().unwrap().head().seq, u64::from(is_there));
    });
}

#[test]
fn fetched_bytes_whose_sync_failed_are_dropped_and_never_enter() {
    let disk = disk_with(&[]);
    let main = open(&disk, Role::Main).unwrap();
    let file = FileRecord { root: root_of(b"fetched"), size: 7, modified: 1_600_000_000 };
    let stage = |main: &Repository| main.staging(&folder()).unwrap().stage_bytes(b"fetched", file.modified).unwrap();
    // Where its bytes are synced, found on a copy of the disk.
    let tried = disk.crash(Lost::Nothing);
    let other = open(&tried, Role::Main).unwrap();
    let staged = stage(&other);
    let before = tried.log().len();
    other.enter(&folder(), &name("f"), &staged, file).unwrap();
    let at = tried.log()[before..].iter().position(|line| line.starts_with("sync ")).unwrap();
    let staged = stage(&main);
    disk.fail_at(disk.log().len() + at, EIO);
    let failed = main.enter(&folder(), &name("f"), &staged, file);
    assert!(matches!(failed, Err(RepositoryError::Unsynced { .. })), "{failed:?}");
    assert!(main.enter(&folder(), &name("f"), &staged, file).is_err(), "a second sync would prove nothing");
    assert!(!testing::is_held(&main, "f"));
}

#[test]
fn an_edition_and_its_sidecar_are_one_pair_and_the_one_before_is_kept_after_any_power_cut() {
    use sha1::Digest;
    let pair = Pair { folder: folder(), cab: name("wsusscn2.cab"), sidecar: Some(name("wsusscn2.cab.sha1")) };
    let sha1_of = |bytes: &[u8]| Sha1(sha1::Sha1::digest(bytes).into());
    let enter = |main: &Repository, bytes: &[u8]| -> Done {
        let file = FileRecord { root: root_of(bytes), size: bytes.len() as u64, modified: 1_600_000_000 };
        let staged = main.staging(&folder())?.stage_bytes(bytes, file.modified)?;
        Ok(main.enter_pair(&pair, &staged, file, sha1_of(bytes), Before::Kept)?)
    };
    let prepared = disk_with(&[]);
    let main = open(&prepared, Role::Main).unwrap();
    enter(&main, b"old").unwrap();
    drop(main);
    let work = |disk: &SimulatedDisk| enter(&open(disk, Role::Main)?, b"newer");
    let sidecars = [sha1_of(b"old").to_string(), sha1_of(b"newer").to_string()];
    let ever = [b"old".as_slice(), b"newer", sidecars[0].as_bytes(), sidecars[1].as_bytes()];
    at_every_power_cut(&prepared, Role::Main, work, |_, main, done| {
        main.set_pair(pair.clone());
        let found = |name: &FileName| match main.find(&folder(), name).unwrap() {
            Found::Held { file, size, .. } => Some(bytes_of(&*file, size)),
            _ => None,
        };
        let both = || Some((found(&pair.cab)?, found(pair.sidecar.as_ref()?)?));
        let is_pair = || both().is_none_or(|(cab, sidecar)| sidecar == sha1_of(&cab).to_string().as_bytes());
        assert!(is_pair(), "before anything is looked at");
        let files = files_of(main, &ever);
        assert_eq!(files.len(), 2, "neither name is ever empty");
        assert!(!done || files["wsusscn2.cab"] == b"newer");
        rescan(main);
        assert!(is_pair(), "after the tree was looked at");
        main.mend_pair(&pair, true).unwrap();
        let (cab, sidecar) = both().unwrap();
        assert_eq!(sidecar, sha1_of(&cab).to_string().as_bytes());
        let kept = main.kept(&folder(), &pair.cab).unwrap().map(|kept| bytes_of(&*kept.bytes, kept.size));
        // The file before is kept as soon as another one has the name for good.
        assert_eq!(kept, (cab == b"newer").then(|| b"old".to_vec()));
        enter(main, b"newer").unwrap();
        assert_eq!(files_of(main, &ever).len(), 2);
    });
}
