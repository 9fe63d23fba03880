//! Real file systems that lose their power, and system calls that fail: ext4 and xfs on loop devices,
//! `strace` between the daemon and the kernel.
//!
//! Needs root (for mounting) and the programs that `tests/run` installs; without them it fails.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that fails is to fail its test, and tells why"
)]

#[path = "processes/mount.rs"]
mod mount;
mod processes;
#[path = "processes/strace.rs"]
mod strace;

use mount::{FileSystem, Mount};
use processes::{Node, contents, http_get, immutable, noise, wait};
use std::fs;
use strace::Strace;

/// The images are smaller than what is kept free by default.
const SMALL_DISK: &str = "[limits]\ndisk_reserve = \"0\"\n";
/// Errors that the daemon may log while its disk is gone.
const ANY: &str = "";

/// Files with their immutable names: many small ones, and large ones.
fn files(small: u64, large: u64) -> Vec<(String, Vec<u8>)> {
    let sizes = (0..small).map(|_| 50_000).chain((0..large).map(|_| 30_000_000));
    let file = |(seed, size)| {
        let bytes = noise(seed, size);
        (immutable(&format!("d{}/f{seed}", seed % 3), &bytes), bytes)
    };
    (0..).zip(sizes).map(file).collect()
}

fn only_whole(node: &Node, files: &[(String, Vec<u8>)]) -> usize {
    let found = contents(&node.folder());
    for (name, hash) in &found {
        let file = files.iter().find(|(known, _)| known == name);
        assert!(file.is_some_and(|(_, bytes)| blake3::hash(bytes) == *hash), "{name} is not whole");
    }
    found.len()
}

fn held(node: &Node) -> u64 {
    node.status()["folders"][0]["held_files"].as_u64().unwrap()
}

fn a_secondary_loses_its_power(kind: FileSystem) {
    let files = files(300, 2);
    let main = Node::main("paris").start();
    files.iter().for_each(|(name, bytes)| main.write(name, bytes));
    wait("the main knows its files", || (held(&main) == files.len() as u64).then_some(()));
    let disk = Mount::new(kind);
    let mut lyon = Node::secondary_on(disk.path(), "lyon").with(SMALL_DISK).expecting_error(ANY);
    // Joining was answered, so it stays joined, whatever the power does.
    lyon.joins(&main);
    disk.lose_power();
    disk.mount_again();
    for lives in 1.. {
        lyon.start_again();
        let before = held(&lyon);
        let enough = before + 20 * lives;
        wait("some files arrive", || {
            let under_way = lyon.status()["transfers"].as_array().unwrap().len() > 1;
            (held(&lyon) >= enough.min(files.len() as u64) || before > 290 && under_way).then_some(())
        });
        if held(&lyon) == files.len() as u64 || lives > 4 {
            break;
        }
        let certain = held(&lyon);
        disk.lose_power();
        // The process turns, without a disk.
        assert_eq!(http_get(lyon.http(), "/healthz").0, 200);
        lyon.kill();
        disk.mount_again();
        let whole = only_whole(&lyon, &files);
        assert!(whole as u64 >= certain, "{certain} files were held, {whole} are here");
    }
    lyon.catches_up_with(&main);
    assert_eq!(contents(&lyon.folder()), contents(&main.folder()));
    assert_eq!(lyon.ok("check").exit, 0);
    lyon.stop();
}

#[test]
fn a_secondary_on_ext4_that_loses_its_power_has_whole_files_and_ends_with_all() {
    a_secondary_loses_its_power(FileSystem::Ext4);
}

#[test]
fn a_secondary_on_xfs_that_loses_its_power_has_whole_files_and_ends_with_all() {
    a_secondary_loses_its_power(FileSystem::Xfs);
}

fn a_main_loses_its_power(kind: FileSystem) {
    let files = files(300, 2);
    let disk = Mount::new(kind);
    let mut main = Node::main_on(disk.path(), "paris").expecting_error(ANY);
    let (before, after) = files.split_at(150);
    before.iter().for_each(|(name, bytes)| main.write(name, bytes));
    disk.sync();
    main.start_again();
    let mut lyon = Node::secondary("lyon");
    lyon.joins(&main);
    lyon.start_again();
    for (lives, more) in (0..).zip(after.chunks(after.len().div_ceil(3))) {
        let enough = held(&main) + 10;
        more.iter().for_each(|(name, bytes)| main.write(name, bytes));
        disk.sync();
        wait("some files are signed", || (held(&main) >= enough).then_some(()));
        // A program writes without syncing anything.
        let bytes = noise(1_000 + lives, 60_000);
        let late = immutable("late", &bytes);
        main.write(&late, &bytes);
        main.serves(&late, &bytes);
        wait("it is signed", || {
            let shown = main.cli(&format!("files show {late} --json"));
            (shown.exit == 0 && shown.out.contains("\"held\"")).then_some(())
        });
        disk.lose_power();
        assert_eq!(http_get(main.http(), "/healthz").0, 200);
        main.kill();
        disk.mount_again();
        assert_eq!(fs::read(main.folder().join(&late)).ok(), Some(bytes.clone()), "what was signed is durable");
        main.start_on_its_ports();
        lyon.serves(&late, &bytes);
    }
    wait("the main knows its files", || (held(&main) == files.len() as u64 + 3).then_some(()));
    lyon.catches_up_with(&main);
    assert_eq!(contents(&lyon.folder()), contents(&main.folder()));
    assert_eq!((main.ok("check").exit, lyon.ok("check").exit), (0, 0));
    assert_eq!(lyon.status()["attention"], serde_json::json!([]));
    main.stop();
}

#[test]
fn a_main_on_ext4_that_loses_its_power_goes_on_with_its_line() {
    a_main_loses_its_power(FileSystem::Ext4);
}

#[test]
fn a_main_on_xfs_that_loses_its_power_goes_on_with_its_line() {
    a_main_loses_its_power(FileSystem::Xfs);
}

/// System calls that fail at a secondary while files come; it says so, serves what it has, and gets
/// everything once they work again.
fn a_secondary_survives(calls: &str, error: &str, when: &str) {
    let main = Node::main("paris").start();
    let lyon = Node::secondary("lyon").expecting_error(ANY).start();
    lyon.joins(&main);
    let old = noise(1, 300_000);
    let old_name = immutable("old", &old);
    main.write(&old_name, &old);
    lyon.serves(&old_name, &old);
    lyon.catches_up_with(&main);
    let fault = Strace::inject(&lyon, calls, error, when);
    let new: Vec<_> = (2..12).map(|seed| noise(seed, 20_000 * seed as usize)).collect();
    let name = |bytes: &Vec<u8>| immutable("sub/new", bytes);
    new.iter().for_each(|bytes| main.write(&name(bytes), bytes));
    wait("the trouble is told", || (lyon.status()["attention"] != serde_json::json!([])).then_some(()));
    let (status, _, body) = lyon.get(&old_name);
    assert!(status == 200 && body == old, "{status} while {calls} fails");
    for (name, _) in contents(&lyon.folder()) {
        let bytes = fs::read(lyon.folder().join(&name)).unwrap();
        assert!(bytes == old || new.contains(&bytes), "{name} is not whole");
    }
    fault.end();
    new.iter().for_each(|bytes| lyon.serves(&name(bytes), bytes));
    lyon.catches_up_with(&main);
    wait("nothing is wrong any more", || (lyon.status()["attention"] == serde_json::json!([])).then_some(()));
    assert_eq!(lyon.ok("check").exit, 0);
}

#[test]
fn a_secondary_whose_syncs_fail_says_so_serves_and_recovers() {
    for when in ["1+", "3+2"] {
        a_secondary_survives("fsync,fdatasync,syncfs", "EIO", when);
    }
}

#[test]
fn a_secondary_whose_disk_is_full_says_so_serves_and_recovers() {
    for when in ["1+", "2+3"] {
        a_secondary_survives("pwrite64", "ENOSPC", when);
    }
}

#[test]
fn a_secondary_whose_renames_fail_says_so_serves_and_recovers() {
    for error in ["EIO", "ENOSPC"] {
        a_secondary_survives("renameat2", error, "1+");
    }
}

fn a_main_survives(calls: &str, error: &str, when: &str) {
    let main = Node::main("paris").expecting_error(ANY).start();
    let lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    let old = noise(1, 300_000);
    let old_name = immutable("old", &old);
    main.write(&old_name, &old);
    lyon.serves(&old_name, &old);
    let fault = Strace::inject(&main, calls, error, when);
    let new = noise(2, 300_000);
    let new_name = immutable("new", &new);
    main.write(&new_name, &new);
    wait("the trouble is told", || (main.status()["attention"] != serde_json::json!([])).then_some(()));
    assert_eq!(main.get(&old_name).2, old);
    assert_eq!(lyon.get(&old_name).2, old);
    fault.end();
    lyon.serves(&new_name, &new);
    wait("nothing is wrong any more", || (main.status()["attention"] == serde_json::json!([])).then_some(()));
    lyon.catches_up_with(&main);
    assert_eq!((main.ok("check").exit, lyon.ok("check").exit), (0, 0));
}

#[test]
fn a_main_whose_syncs_fail_says_so_serves_and_recovers() {
    a_main_survives("fsync,fdatasync,syncfs", "EIO", "1+");
}

#[test]
fn a_main_whose_disk_is_full_says_so_serves_and_recovers() {
    a_main_survives("pwrite64", "ENOSPC", "1+");
}

#[test]
fn on_a_real_disk_bytes_are_synced_before_their_name_and_the_name_before_its_row() {
    let main = Node::main("paris").start();
    let lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    lyon.catches_up_with(&main);
    let calls = Strace::watch(&lyon, "fsync,fdatasync,syncfs,renameat2,pwrite64");
    let bytes = noise(1, 1_000_000);
    let name = immutable("f", &bytes);
    main.write(&name, &bytes);
    lyon.serves(&name, &bytes);
    lyon.catches_up_with(&main);
    let calls = calls.end();
    let at = |from: usize, what: &str, is: &dyn Fn(&str) -> bool| {
        let found = calls[from..].iter().position(|line| is(line));
        from + found.unwrap_or_else(|| panic!("{what} is not in {:#?}", &calls[from..]))
    };
    let is_sync = |line: &str| line.contains("sync(") || line.contains("syncfs(");
    let last_write = calls.iter().rposition(|line| line.contains("pwrite64(") && line.contains("/partials/")).unwrap();
    let synced = at(last_write, "the sync of the bytes", &|line| is_sync(line) && line.contains("/partials/"));
    let renamed = at(synced, "the rename", &|line| line.contains("renameat2(") && line.contains(&name));
    let folder = lyon.folder().display().to_string();
    let durable = at(renamed, "the sync of the folder", &|line| is_sync(line) && line.contains(&format!("<{folder}>")));
    let row = at(durable, "the row", &|line| line.contains("pwrite64(") && line.contains("/index.redb>"));
    at(row, "the sync of the row", &|line| is_sync(line) && line.contains("/index.redb>"));
    let early = calls[last_write..durable].iter().find(|line| line.contains("/index.redb>"));
    assert_eq!(early, None, "a row is written before its bytes are durable");
}
