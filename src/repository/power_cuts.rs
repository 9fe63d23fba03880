//! The order of bytes and rows under power cuts: the power fails at every operation in turn.

use super::testing::{self, StandingClock, adopt, bytes_of, fetch, folder, follow, immutable, name, open_on, root_of};
use super::{Repository, find::holds};
use crate::{
    domain::member::Role,
    store::{
        disk::{
            Disk, Open,
            simulated::{EIO, ENOSPC, Lost, SimulatedDisk},
        },
        walk::Walked,
    },
};
use std::{collections::BTreeMap, error::Error, path::Path, sync::Arc};

const TOP: &str = "/srv";
type Done = Result<(), Box<dyn Error>>;

fn disk_with(files: &[(&str, &[u8])]) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    disk.open_root(Path::new("/srv/www/waptwua"), true).unwrap();
    files.iter().for_each(|(name, bytes)| write(&disk, name, bytes));
    disk
}

/// Another program writes a file, and time passes.
fn write(disk: &SimulatedDisk, name: &str, bytes: &[u8]) {
    write_unsynced(disk, name, bytes);
    let root = disk.open_root(Path::new("/srv/www/waptwua"), false).unwrap();
    disk.sync_all(root).unwrap();
}

/// Another program has just written a file, and synced nothing.
fn write_unsynced(disk: &SimulatedDisk, name: &str, bytes: &[u8]) {
    let root = disk.open_root(Path::new("/srv/www/waptwua"), false).unwrap();
    let file = disk.open(root.at(name), Open::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

fn open(disk: &SimulatedDisk, role: Role) -> Result<Repository, Box<dyn Error>> {
    Ok(open_on(Arc::new(disk.clone()), StandingClock::new(), role, Path::new(TOP), 10)?)
}

/// Every file of the folder; each is whole, and each holding is what its row says.
fn files_of(repository: &Repository, ever: &[&[u8]]) -> BTreeMap<String, Vec<u8>> {
    let staging = repository.staging(&folder()).unwrap();
    let mut stats = Vec::new();
    staging
        .walk(&mut |walked| match walked {
            Walked::File(name, stat) => stats.push((name, stat)),
            Walked::Refused { name, why } => panic!("{name}: {why}"),
        })
        .unwrap();
    let mut files = BTreeMap::new();
    for (name, stat) in stats {
        let bytes = bytes_of(&*staging.open_file(&name).unwrap(), stat.size);
        assert!(ever.contains(&bytes.as_slice()), "{name} is no whole file");
        files.insert(name.to_string(), bytes);
    }
    let snapshot = repository.state().index.read().unwrap();
    for (name, holding) in snapshot.holdings_after(&folder(), None, 100).unwrap() {
        let bytes = files.get(name.as_str()).unwrap_or_else(|| panic!("{name} is held without bytes"));
        assert_eq!(root_of(bytes), holding.root, "{name} is held with other bytes");
        assert!(holds(&staging.stat(&name).unwrap(), &holding), "{name} looks edited");
    }
    files
}

/// Does `work` over and over, the power failing at each operation in turn and in several ways, and
/// looks at what comes up from every disk that is left.
fn at_every_power_cut(
    prepared: &SimulatedDisk,
    role: Role,
    work: impl Fn(&SimulatedDisk) -> Done,
    look: impl Fn(&SimulatedDisk, &Repository, bool),
) {
    let whole = prepared.crash(Lost::Nothing);
    work(&whole).unwrap();
    let cuts: Vec<_> = whole.changes();
    assert!(!cuts.is_empty());
    for cut in cuts.into_iter().chain([usize::MAX]) {
        let disk = prepared.crash(Lost::Nothing);
        disk.fail_from(cut, EIO);
        let done = work(&disk).is_ok();
        for lost in [Lost::Nothing, Lost::Everything, Lost::Random(cut as u64), Lost::Random(!cut as u64)] {
            let left = disk.crash(lost);
            let repository = open(&left, role).unwrap_or_else(|error| panic!("after {cut}, {lost:?}: {error:?}"));
            look(&left, &repository, done);
        }
    }
}

/// A main that holds these files, and a secondary's disk that has followed and fetched them.
fn pair(files: &[(&str, &[u8])]) -> (Repository, SimulatedDisk, SimulatedDisk) {
    let main_disk = disk_with(files);
    let main = open(&main_disk, Role::Main).unwrap();
    adopt(&main, &files.iter().map(|(name, _)| *name).collect::<Vec<_>>()).unwrap();
    let child_disk = disk_with(&[]);
    let child = open(&child_disk, Role::Secondary).unwrap();
    follow(&main, &child).unwrap();
    fetch(&main, &child).unwrap();
    drop(child);
    (main, main_disk, child_disk)
}

#[test]
fn a_fresh_repository_comes_up_after_any_power_cut() {
    for role in [Role::Main, Role::Secondary] {
        let work = |disk: &SimulatedDisk| open(disk, role).map(drop);
        at_every_power_cut(&disk_with(&[]), role, work, |_, repository, _| {
            assert_eq!(repository.head().is_some(), role == Role::Main);
        });
    }
}

#[test]
fn what_was_published_is_known_after_any_power_cut() {
    let files: [(&str, &[u8]); 2] = [("wsusscn2.cab", b"catalogue"), ("other.txt", b"other")];
    let work = |disk: &SimulatedDisk| -> Done {
        let main = open(disk, Role::Main)?;
        Ok(adopt(&main, &["wsusscn2.cab", "other.txt"])?)
    };
    at_every_power_cut(&disk_with(&files), Role::Main, work, |_, main, done| {
        assert_eq!(files_of(main, &[b"catalogue", b"other"]).len(), 2);
        let known = files.iter().filter(|(name, _)| testing::is_held(main, name)).count();
        assert!(known == 2 || (known == 0 && !done), "one commit for both");
        assert_eq!(known, main.head().unwrap().head().seq as usize);
        adopt(main, &["wsusscn2.cab", "other.txt"]).unwrap();
    });
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_one_after_any_power_cut() {
    let (main, main_disk, child_disk) = pair(&[("wsusscn2.cab", b"old"), ("kept", b"kept")]);
    write(&main_disk, "wsusscn2.cab", b"newer");
    adopt(&main, &["wsusscn2.cab"]).unwrap();
    let work = |disk: &SimulatedDisk| -> Done {
        let child = open(disk, Role::Secondary)?;
        follow(&main, &child)?;
        assert_eq!(fetch(&main, &child)?, ["wsusscn2.cab"]);
        Ok(())
    };
    at_every_power_cut(&child_disk, Role::Secondary, work, |_, child, done| {
        let files = files_of(child, &[b"old", b"newer", b"kept"]);
        assert_eq!(files.len(), 2, "neither name is ever empty");
        assert!(!done || files["wsusscn2.cab"] == b"newer" && testing::is_held(child, "wsusscn2.cab"));
        follow(&main, child).unwrap();
        fetch(&main, child).unwrap();
        assert_eq!(files_of(child, &[b"newer", b"kept"]).len(), 2);
        assert!(testing::is_listed(child, "wsusscn2.cab") && !testing::is_missing(child, "wsusscn2.cab"));
    });
}

#[test]
fn what_arrived_is_whole_and_held_after_any_power_cut() {
    let (main, main_disk, child_disk) = pair(&[("kept", b"kept")]);
    let many: Vec<_> = (0..9).map(|n| immutable(&format!("sub{}/f{n}", n % 2), b"new")).collect();
    let root = main_disk.open_root(Path::new("/srv/www/waptwua"), false).unwrap();
    ["sub0", "sub1"].iter().for_each(|directory| main_disk.make_directory(root.at(directory)).unwrap());
    many.iter().for_each(|name| write(&main_disk, name, b"new"));
    adopt(&main, &many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let work = |disk: &SimulatedDisk| -> Done {
        let child = open(disk, Role::Secondary)?;
        follow(&main, &child)?;
        let mut arrivals = Vec::new();
        for (name, wanted) in child.missing_after(&folder(), None, 100)? {
            let staged = child.staging(&folder())?.stage_bytes(b"new", wanted.modified)?;
            arrivals.push(super::Arrival { folder: folder(), name, wanted, staged });
        }
        Ok(child.receive(arrivals)?)
    };
    at_every_power_cut(&child_disk, Role::Secondary, work, |_, child, done| {
        let files = files_of(child, &[b"new", b"kept"]);
        let held = many.iter().filter(|name| testing::is_held(child, name)).count();
        assert!(testing::is_held(child, "kept") && files.contains_key("kept"));
        assert!(held == 9 || (held == 0 && !done), "one commit for all");
        follow(&main, child).unwrap();
        fetch(&main, child).unwrap();
        assert_eq!(files_of(child, &[b"new", b"kept"]).len(), 10);
    });
}

#[test]
fn a_removed_file_is_gone_or_known_after_any_power_cut() {
    let (main, main_disk, child_disk) = pair(&[("removed", b"removed"), ("kept", b"kept")]);
    let root = main_disk.open_root(Path::new("/srv/www/waptwua"), false).unwrap();
    main_disk.remove(root.at("removed")).unwrap();
    main.remove_gone(&folder(), &[name("removed")]).unwrap();
    let work = |disk: &SimulatedDisk| -> Done {
        let child = open(disk, Role::Secondary)?;
        Ok(follow(&main, &child)?)
    };
    at_every_power_cut(&child_disk, Role::Secondary, work, |_, child, done| {
        let files = files_of(child, &[b"removed", b"kept"]);
        assert!(testing::is_held(child, "kept"));
        assert_eq!(files.contains_key("removed"), testing::is_held(child, "removed"));
        assert!(!done || !files.contains_key("removed"));
        let trashed = child.staging(&folder()).unwrap().trash_usage().unwrap().files;
        assert_eq!(trashed + u64::from(files.contains_key("removed")), 1, "it rests, or it is here");
        follow(&main, child).unwrap();
        assert_eq!(files_of(child, &[b"kept"]).len(), 1);
        assert!(child.state().index.read().unwrap().intents_after(None, 1).unwrap().is_empty());
    });
}

#[test]
fn a_disk_that_fails_for_a_moment_costs_one_try() {
    let prepared = disk_with(&[("a", b"a"), ("b", b"b")]);
    drop(open(&prepared, Role::Main).unwrap());
    let disk = prepared.crash(Lost::Nothing);
    let main = open(&disk, Role::Main).unwrap();
    let first = disk.log().len();
    adopt(&main, &["a", "b"]).unwrap();
    let last = disk.log().len();
    drop(main);
    for number in first..last {
        let disk = prepared.crash(Lost::Nothing);
        let main = open(&disk, Role::Main).unwrap();
        let Some(line) = main.line() else { panic!() };
        disk.fail_at(number, ENOSPC);
        drop(try_to_adopt(&main));
        adopt(&main, &["a", "b"]).unwrap_or_else(|error| panic!("after {number}: {error:?}"));
        let stored = main.state().index.read().unwrap().head().unwrap().unwrap();
        assert_eq!(main.head().unwrap().to_bytes(), stored, "after {number}");
        assert_eq!((main.head().unwrap().head().seq, main.line()), (2, Some(line)), "after {number}");
        assert_eq!(files_of(&main, &[b"a", b"b"]).len(), 2);
        assert!(testing::is_held(&main, "a") && testing::is_held(&main, "b"));
    }
}

fn try_to_adopt(main: &Repository) -> Done {
    let mut ready = Vec::new();
    for text in ["a", "b"] {
        if let super::Examined::Ready(file) = main.examine(&folder(), &name(text))? {
            ready.push(file);
        }
    }
    main.publish(&ready)?;
    Ok(())
}

mod in_order;
mod main_side;
mod members;
mod misses;
mod secondary_side;
mod wants;
