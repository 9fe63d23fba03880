//! Power cuts at a secondary: large arrivals, mending, a lost index, and a second cut while it comes up.

use super::*;
use crate::{
    repository::{Arrival, RepositoryError, testing::rescan},
    store::{
        partial::Partial,
        segment::{SegmentDecoder, SegmentEncoder},
    },
};

const LARGE: usize = 150_000;

/// Fetches one missing file group by group, as the network does.
fn fetch_large(main: &Repository, child: &Repository) -> Done {
    for (name, wanted) in child.missing_after(&folder(), None, 9)? {
        let blob = main.open_blob(&wanted.root)?.unwrap();
        let staging = child.staging(&folder())?;
        let partial = Partial::open(staging, wanted.root, wanted.size)?;
        for range in partial.missing_ranges()? {
            let mut encoder = SegmentEncoder::new(blob.size, range.clone(), blob.data.clone(), blob.outboard.clone());
            let mut decoder = SegmentDecoder::new(wanted.root, wanted.size, range);
            let mut sink = &partial;
            while let Some(batch) = encoder.next_batch(1)? {
                decoder.feed(&batch, &mut sink)?;
            }
        }
        let staged = partial.finish(wanted.modified, &child.state().outboards)?;
        child.receive(vec![Arrival { folder: folder(), name, wanted, staged }])?;
    }
    Ok(())
}

#[test]
fn a_large_file_is_whole_and_held_or_goes_on_from_what_verifies_after_any_power_cut() {
    let large: Vec<u8> = (0..LARGE).map(|at| (at / 7) as u8).collect();
    let (main, main_disk, child_disk) = pair(&[("kept", b"kept")]);
    write(&main_disk, "large", &large);
    adopt(&main, &["large"]).unwrap();
    let work = |disk: &SimulatedDisk| -> Done {
        let child = open(disk, Role::Secondary)?;
        follow(&main, &child)?;
        fetch_large(&main, &child)
    };
    at_every_power_cut(&child_disk, Role::Secondary, work, |_, child, done| {
        let files = files_of(child, &[b"kept", &large]);
        assert_eq!(
            files.contains_key("large") && testing::is_held(child, "large"),
            done || testing::is_held(child, "large")
        );
        follow(&main, child).unwrap();
        for (name, wanted) in child.missing_after(&folder(), None, 9).unwrap() {
            // It lies there whole where only the row was lost.
            child.obtain_locally(&folder(), &name, &wanted).unwrap();
        }
        fetch_large(&main, child).unwrap();
        assert_eq!(files_of(child, &[b"kept", &large]).len(), 2);
        assert!(testing::is_held(child, "large"));
    });
}

#[test]
fn bytes_whose_sync_failed_are_in_doubt_and_others_are_not() {
    let (main, main_disk, child_disk) = pair(&[("kept", b"kept")]);
    write(&main_disk, "new", b"new");
    adopt(&main, &["new"]).unwrap();
    let child = open(&child_disk, Role::Secondary).unwrap();
    follow(&main, &child).unwrap();
    let (name, wanted) = child.missing_after(&folder(), None, 9).unwrap().remove(0);
    for (operation, doubtful) in [("sync ", true), ("rename ", false)] {
        let staged = child.staging(&folder()).unwrap().stage_bytes(b"new", wanted.modified).unwrap();
        let arrival = || vec![Arrival { folder: folder(), name: name.clone(), wanted, staged: staged.clone() }];
        // The first operation of that kind, found on a copy of the disk.
        let tried = child_disk.crash(Lost::Nothing);
        let other = open(&tried, Role::Secondary).unwrap();
        let before = tried.log().len();
        let again = other.staging(&folder()).unwrap().stage_bytes(b"new", wanted.modified).unwrap();
        let staging = tried.log().len() - before;
        other.receive(vec![Arrival { folder: folder(), name: name.clone(), wanted, staged: again }]).unwrap();
        let at = tried.log()[before + staging..].iter().position(|line| line.starts_with(operation)).unwrap();
        child_disk.fail_at(child_disk.log().len() + at, EIO);
        let error = child.receive(arrival()).unwrap_err();
        assert_eq!(matches!(error, RepositoryError::Unsynced { .. }), doubtful, "{operation}: {error:?}");
    }
}

#[test]
fn what_was_edited_by_hand_rests_or_lies_there_and_is_put_right_after_any_power_cut() {
    let (main, _, child_disk) = pair(&[("f", b"signed"), ("kept", b"kept")]);
    write(&child_disk, "f", b"edited");
    let work = |disk: &SimulatedDisk| -> Done {
        let child = open(disk, Role::Secondary)?;
        child.mend(&folder(), &name("f"))?;
        fetch(&main, &child)?;
        Ok(())
    };
    at_every_power_cut(&child_disk, Role::Secondary, work, |_, child, done| {
        let read = |child: &Repository| {
            let staging = child.staging(&folder()).unwrap();
            let stat = staging.stat(&name("f")).ok()?;
            Some(bytes_of(&*staging.open_file(&name("f")).unwrap(), stat.size))
        };
        let here = read(child);
        assert!(here.as_deref().is_none_or(|bytes| [&b"signed"[..], b"edited"].contains(&bytes)));
        assert!(!done || here.as_deref() == Some(b"signed"));
        let trashed = child.staging(&folder()).unwrap().trash_usage().unwrap().files;
        let edited_here = here.as_deref() == Some(b"edited");
        assert_eq!(trashed + u64::from(edited_here), 1, "edited bytes are never lost");
        child.mend(&folder(), &name("f")).unwrap();
        fetch(&main, child).unwrap();
        assert_eq!(files_of(child, &[b"signed", b"kept"])["f"], b"signed");
        assert!(testing::is_held(child, "f") && testing::is_held(child, "kept"));
    });
}

#[test]
fn a_secondary_whose_index_is_lost_finds_its_files_again_after_any_power_cut() {
    let (main, _, child_disk) = pair(&[("a", b"a"), ("b", b"b")]);
    let state = child_disk.open_root(Path::new("/srv/state"), false).unwrap();
    child_disk.remove(state.at("index.redb")).unwrap();
    child_disk.sync_all(state).unwrap();
    let work = |disk: &SimulatedDisk| -> Done {
        let child = open(disk, Role::Secondary)?;
        follow(&main, &child)?;
        assert_eq!(fetch(&main, &child)?, [""; 0]);
        Ok(())
    };
    at_every_power_cut(&child_disk, Role::Secondary, work, |_, child, done| {
        assert_eq!(files_of(child, &[b"a", b"b"]).len(), 2);
        assert!(!done || testing::is_held(child, "a") && testing::is_held(child, "b"));
        follow(&main, child).unwrap();
        rescan(child);
        assert_eq!(fetch(&main, child).unwrap(), [""; 0]);
        assert!(testing::is_listed(child, "a") && testing::is_listed(child, "b"));
    });
}

#[test]
fn a_second_power_cut_while_it_comes_up_costs_nothing_more() {
    let (main, main_disk, child_disk) = pair(&[("removed", b"removed"), ("replaced", b"old"), ("kept", b"kept")]);
    let root = main_disk.open_root(Path::new("/srv/www/waptwua"), false).unwrap();
    main_disk.remove(root.at("removed")).unwrap();
    main.remove_gone(&folder(), &[name("removed")]).unwrap();
    write(&main_disk, "replaced", b"newer");
    adopt(&main, &["replaced"]).unwrap();
    let ever: [&[u8]; 4] = [b"removed", b"old", b"newer", b"kept"];
    let work = |disk: &SimulatedDisk| -> Done {
        let child = open(disk, Role::Secondary)?;
        follow(&main, &child)?;
        fetch(&main, &child)?;
        Ok(())
    };
    let whole = child_disk.crash(Lost::Nothing);
    work(&whole).unwrap();
    // Some of each: the others differ from their neighbours by few operations.
    for cut in whole.changes().into_iter().step_by(5) {
        let first = child_disk.crash(Lost::Nothing);
        first.fail_from(cut, EIO);
        let _ = work(&first);
        let once = first.crash(Lost::Random(cut as u64));
        let recovered = once.crash(Lost::Nothing);
        drop(open(&recovered, Role::Secondary).unwrap());
        for again in recovered.changes().into_iter().skip(cut % 3).step_by(3) {
            let second = once.crash(Lost::Nothing);
            second.fail_from(again, EIO);
            let _ = open(&second, Role::Secondary);
            let left = second.crash(Lost::Random(again as u64));
            let child = open(&left, Role::Secondary).unwrap_or_else(|error| panic!("{cut}, {again}: {error:?}"));
            files_of(&child, &ever);
            assert!(testing::is_held(&child, "kept"));
            work_on(&main, &child);
        }
    }
}

fn work_on(main: &Repository, child: &Repository) {
    follow(main, child).unwrap();
    fetch(main, child).unwrap();
    assert_eq!(files_of(child, &[b"newer", b"kept"]).len(), 2);
}
