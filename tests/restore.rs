//! Bad days of a main, as processes: backup and restore, copies of its state, other lines, extras.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod processes;

use processes::{Node, contents, immutable, noise, run, wait};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use wuasync::{
    base::clock::{Clock, SystemClock},
    domain::{key::NodeKey, member::Role, name::FolderName},
    repository::{DeletionCap, FolderConfig, LogLimit, Repository, RepositoryConfig},
    store::disk::real::RealDisk,
    sync::pull::ParentAddress,
};

const FILES: u64 = 8;

/// A main with files, and a secondary that holds all of them.
fn pair() -> (Node, Node) {
    let main = Node::main("paris");
    for seed in 0..FILES {
        let bytes = noise(seed, 20_000);
        main.write(&immutable(&format!("f{seed}"), &bytes), &bytes);
    }
    let main = main.start();
    let lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    wait("the main knows its files", || (main.status()["folders"][0]["files"] == FILES).then_some(()));
    lyon.catches_up_with(&main);
    (main, lyon)
}

fn passphrase(node: &Node) -> PathBuf {
    let path = node.place().join("passphrase");
    fs::write(&path, "correct horse battery staple\n").unwrap();
    path
}

/// Content bytes that came to a node since its start.
fn received(node: &Node) -> u64 {
    let (_, _, body) = processes::http_get(node.admin(), "/metrics");
    let text = String::from_utf8(body).unwrap();
    let line = text.lines().find(|line| line.starts_with("wuasync_received_bytes_total ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn attention(node: &Node) -> String {
    node.status()["attention"].to_string()
}

fn epoch(node: &Node) -> u64 {
    node.status()["state"]["epoch"].as_u64().unwrap()
}

fn names(node: &Node) -> Vec<String> {
    let members = node.json("pair list");
    members.as_array().unwrap().iter().map(|member| member["name"].as_str().unwrap().to_owned()).collect()
}

/// Takes the whole state of a stopped node away, as a lost disk does.
fn lose_state(node: &Node) {
    fs::remove_dir_all(node.state()).unwrap();
}

/// Restarts a secondary, so that its counters begin at nothing, and lets it catch up.
fn follows_without_a_transfer(lyon: &mut Node, main: &Node, before: &[(String, blake3::Hash)]) {
    lyon.stop();
    lyon.start_again();
    lyon.catches_up_with(main);
    assert_eq!(received(lyon), 0);
    assert_eq!(contents(&lyon.folder()), before);
    let listed = lyon.json_lines("files list --unlisted");
    assert!(listed.is_empty(), "{listed:?}");
}

#[test]
fn a_main_that_lost_its_state_comes_back_from_its_backup_and_secondaries_follow_as_before() {
    let (mut main, mut lyon) = pair();
    let (phrase, backup) = (passphrase(&main), main.place().join("paris.backup"));
    let wanted = immutable("wanted", b"somewhere else");
    main.ok(&format!("want add --url http://h/{wanted}"));
    let line = |file: &str| format!("backup {} --passphrase-file {file}", backup.display());
    let written = main.json(&line(phrase.to_str().unwrap()));
    assert_eq!((&written["kind"], &written["members"]), (&"main".into(), &2.into()));
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let without = main.cli(&format!("backup {}", backup.display()));
    assert!(without.exit == 2 && without.err.contains("--passphrase-file"), "{without:?}");
    let key = fs::read(main.state().join("keys/line")).unwrap();
    let bytes = fs::read(&backup).unwrap();
    assert!(!bytes.windows(32).any(|window| window == &key[1..33]), "the line key lies open in the backup");

    let (before, old) = (contents(&lyon.folder()), epoch(&main));
    main.stop();
    let restore = format!("restore {} --passphrase-file {}", backup.display(), phrase.display());
    let refused = main.cli(&restore);
    assert!(refused.exit == 4 && refused.err.contains("--replace"), "{refused:?}");
    lose_state(&main);
    let other = main.place().join("other");
    fs::write(&other, "another phrase").unwrap();
    let wrong = main.cli(&restore.replace(phrase.to_str().unwrap(), other.to_str().unwrap()));
    assert!(wrong.exit == 4 && wrong.err.contains("passphrase is wrong"), "{wrong:?}");
    assert!(!main.state().exists(), "a refused restore leaves nothing");
    let (folder, away) = (main.folder(), main.place().join("unmounted"));
    fs::rename(&folder, &away).unwrap();
    let unmounted = main.cli(&restore);
    assert!(unmounted.exit == 2 && unmounted.err.contains("mount it"), "{unmounted:?}");
    fs::rename(&away, &folder).unwrap();
    assert!(!main.state().exists(), "a refused restore leaves nothing");
    let restored = main.json(&restore);
    assert_eq!(restored["members"], 2);
    let mode = |file: &str| fs::metadata(main.state().join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys/line"), mode("keys/transport.pem"), mode("ledger.redb")), (0o600, 0o600, 0o600));
    main.start_on_its_ports();
    assert!(epoch(&main) > old);
    wait("the tree is read again", || (main.status()["folders"][0]["held_files"] == FILES).then_some(()));
    follows_without_a_transfer(&mut lyon, &main, &before);
    assert_eq!(names(&main), ["lyon", "paris"]);
    assert_eq!(main.json_lines("want list")[0]["name"], wanted);
    assert!(main.json("pair list")[0]["connected"].as_bool().unwrap());
    let late = noise(99, 30_000);
    main.write(&immutable("late", &late), &late);
    lyon.serves(&immutable("late", &late), &late);
}

#[test]
fn a_main_that_lost_everything_takes_its_members_from_a_secondary_and_its_keys_from_a_file() {
    let (mut main, mut lyon) = pair();
    let (phrase, keys) = (passphrase(&main), main.place().join("keys.backup"));
    let (export, older) = (main.place().join("lyon.state"), main.place().join("older.state"));
    let early = lyon.json(&format!("backup {}", older.display()));
    assert_eq!((&early["kind"], &early["members"]), (&"secondary".into(), &2.into()));
    // Nice joins, and oslo leaves, after the early export.
    for name in ["nice", "oslo"] {
        let mut node = Node::secondary(name).start();
        node.joins(&main);
        node.catches_up_with(&main);
        node.stop();
    }
    main.ok("pair revoke oslo");
    let sealed = main.command([
        "backup",
        keys.to_str().unwrap(),
        "--keys-only",
        "--passphrase-file",
        phrase.to_str().unwrap(),
        "--json",
    ]);
    let sealed: Value = serde_json::from_slice(&{ sealed }.output().unwrap().stdout).unwrap();
    assert_eq!((&sealed["kind"], &sealed["members"]), (&"keys".into(), &0.into()));
    lyon.catches_up_with(&main);
    // A secondary exports also while its daemon is stopped.
    lyon.stop();
    lyon.ok(&format!("backup {}", export.display()));
    lyon.start_again();
    let (before, old) = (contents(&lyon.folder()), epoch(&main));
    main.stop();
    lose_state(&main);

    let restore = |main: &Node, from: &PathBuf, more: &str| {
        let (keys, phrase, from) = (keys.display(), phrase.display(), from.display());
        main.cli(&format!("restore {keys} --from-secondary {from} --passphrase-file {phrase}{more}"))
    };
    let aged = restore(&main, &older, "");
    assert!(aged.exit == 4 && aged.err.contains("older"), "{aged:?}");
    let forged = main.place().join("forged.state");
    let mut bytes = fs::read(&export).unwrap();
    let at = bytes.windows(4).position(|window| window == b"nice").unwrap();
    bytes[at] = b'm';
    fs::write(&forged, bytes).unwrap();
    let refused = restore(&main, &forged, "");
    assert!(refused.exit == 4 && refused.err.contains("not what the line's key signed"), "{refused:?}");
    let turned = main.cli(&format!("restore {} --passphrase-file {}", export.display(), phrase.display()));
    assert!(turned.exit == 2 && turned.err.contains("--from-secondary"), "{turned:?}");
    assert!(!main.state().exists(), "a refused restore leaves nothing");

    let restored = restore(&main, &export, "");
    assert_eq!(restored.exit, 0, "{restored:?}");
    main.start_on_its_ports();
    assert!(epoch(&main) > old);
    assert_eq!(names(&main), ["lyon", "nice", "paris"]);
    wait("the tree is read again", || (main.status()["folders"][0]["held_files"] == FILES).then_some(()));
    follows_without_a_transfer(&mut lyon, &main, &before);
    let again = restore(&main, &export, "");
    assert!(again.exit == 4 && again.err.contains("in use"), "a running main is left alone: {again:?}");
}

#[test]
fn a_restore_over_a_state_moves_it_aside_and_an_export_of_another_line_is_refused() {
    let (mut main, lyon) = pair();
    let rome = Node::main("rome").start();
    let phrase = passphrase(&main);
    let (ours, theirs) = (main.place().join("ours"), main.place().join("theirs"));
    main.ok(&format!("backup {} --passphrase-file {}", ours.display(), phrase.display()));
    rome.ok(&format!("backup {} --passphrase-file {}", theirs.display(), phrase.display()));
    main.stop();
    let restore =
        |more: &str| main.cli(&format!("restore {} --passphrase-file {} {more}", ours.display(), phrase.display()));
    let foreign = restore(&format!("--from-secondary {} --replace", theirs.display()));
    assert!(foreign.exit == 4 && foreign.err.contains("of line"), "{foreign:?}");
    let done = restore("--replace --json");
    let reply: Value = serde_json::from_str(&done.out).unwrap();
    let aside = PathBuf::from(reply["set_aside"].as_str().unwrap());
    assert!(aside.join("index.redb").exists() && aside.join("keys/line").exists());
    let secondary = lyon.cli(&format!("restore {} --passphrase-file {}", ours.display(), phrase.display()));
    assert!(secondary.exit == 4 && secondary.err.contains("secondary"), "{secondary:?}");
    let no_keys = lyon.cli(&format!("backup {} --keys-only", ours.display()));
    assert!(no_keys.exit == 4 && no_keys.err.contains("no line key"), "{no_keys:?}");
    // A restore that was cut short is neither served nor taken for whole.
    fs::write(main.state().join("restoring"), b"").unwrap();
    fs::remove_file(main.state().join("keys/line")).unwrap();
    let half = main.cli("serve");
    assert!(half.exit == 4 && half.err.contains("cut short"), "{half:?}");
    assert!(!main.state().join("keys/line").exists(), "a line of its own was begun");
    assert_eq!(restore("--replace").exit, 0);
    main.start_on_its_ports();
    wait("the tree is read again", || (main.status()["folders"][0]["held_files"] == FILES).then_some(()));
    lyon.catches_up_with(&main);
}

#[test]
fn the_ledger_is_copied_beside_itself_and_the_copy_takes_the_place_of_a_damaged_one() {
    let mut main = Node::main("paris").start();
    let copy = main.state().join("ledger.nightly.redb");
    wait("the copy", || copy.exists().then_some(()));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    main.stop();
    fs::write(main.state().join("ledger.redb"), vec![7; 50_000]).unwrap();
    let refused = main.cli("serve");
    assert!(refused.exit != 0 && refused.err.contains("ledger.nightly.redb"), "{refused:?}");
    fs::rename(copy, main.state().join("ledger.redb")).unwrap();
    main.start_again();
    assert_eq!(names(&main), ["paris"]);
}

#[test]
fn a_main_put_back_from_a_copy_of_its_state_is_refused_with_the_cure_until_it_begins_a_new_epoch() {
    let (mut main, mut lyon) = pair();
    main.stop();
    let copy = main.place().join("copy");
    run("cp", &[OsStr::new("-a"), main.state().as_os_str(), copy.as_os_str()]);
    main.start_on_its_ports();
    for seed in 100..104 {
        let bytes = noise(seed, 5_000);
        main.write(&immutable(&format!("late{seed}"), &bytes), &bytes);
        lyon.serves(&immutable(&format!("late{seed}"), &bytes), &bytes);
    }
    lyon.catches_up_with(&main);
    main.stop();
    let lost: Vec<_> = fs::read_dir(main.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let late = lost.iter().filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("late"));
    late.for_each(|path| fs::remove_file(path).unwrap());
    fs::remove_dir_all(main.state()).unwrap();
    fs::rename(copy, main.state()).unwrap();
    main.start_again();
    let before = contents(&lyon.folder());
    wait("lyon refuses", || attention(&lyon).contains("older state").then_some(()));
    assert!(attention(&lyon).contains("restore --new-epoch"), "{}", attention(&lyon));
    assert!(lyon.ok("status").out.contains("restore --new-epoch"));
    wait("the main hears of it", || attention(&main).contains("lyon has a newer state").then_some(()));
    let running = main.cli("restore --new-epoch");
    assert!(running.exit == 4 && running.err.contains("in use"), "{running:?}");
    main.stop();
    main.ok("restore --new-epoch");
    main.start_again();
    lyon.catches_up_with(&main);
    wait("the alarm is over", || (!attention(&lyon).contains("refused")).then_some(()));
    assert_eq!(contents(&lyon.folder()), before, "nothing is deleted because an epoch changed");
    assert_eq!(attention(&main), "[]");
    let unlisted = lyon.json_lines("files list --unlisted");
    assert_eq!(unlisted.len(), 4, "{unlisted:?}");

    let refused = main.cli("sync prune");
    assert!(refused.exit == 4 && refused.err.contains("this is the main"), "{refused:?}");
    let plan = lyon.json("sync prune --dry-run");
    assert_eq!((&plan["files"], &plan["removed"]), (&4.into(), &false.into()));
    assert_eq!(contents(&lyon.folder()), before);
    assert_eq!(lyon.json("sync prune")["files"], 4);
    assert_eq!(contents(&lyon.folder()), contents(&main.folder()));
    let trash = contents(&lyon.place().join("www/.wuasync/waptwua/trash"));
    assert_eq!(trash.len(), 4);
    lyon.stop();
}

#[test]
fn extras_beyond_the_cap_are_served_and_kept_until_they_are_pruned_by_force() {
    let (_main, lyon) = pair();
    for n in 0..30 {
        lyon.write_old(&format!("extra{n}.cab"), b"extra");
    }
    wait("the extras are known", || (lyon.status()["folders"][0]["unlisted"] == 30).then_some(()));
    assert_eq!(lyon.get("extra7.cab").0, 200);
    let dry = lyon.ok("sync prune --dry-run");
    assert!(dry.out.contains("30 unlisted files") && dry.out.contains("--force"), "{dry:?}");
    let refused = lyon.cli("sync prune");
    assert!(refused.exit == 4 && refused.err.contains("30 files") && refused.err.contains("--force"), "{refused:?}");
    assert_eq!(lyon.get("extra7.cab").0, 200);
    let gone = lyon.json("sync prune --force");
    assert_eq!((&gone["files"], &gone["bytes"], &gone["removed"]), (&30.into(), &150.into(), &true.into()));
    assert_eq!(lyon.get("extra7.cab").0, 404);
    assert_eq!(lyon.status()["folders"][0]["held_files"], FILES);
    assert!(lyon.ok("sync prune").out.contains("no file is unlisted"));
}

#[test]
fn a_secondary_that_adopts_another_line_keeps_its_files_and_transfers_nothing_that_it_has() {
    let (main, mut lyon) = pair();
    let rome = Node::main("rome");
    for seed in 0..FILES - 2 {
        let bytes = noise(seed, 20_000);
        rome.write(&immutable(&format!("f{seed}"), &bytes), &bytes);
    }
    let rome = rome.start();
    wait("rome knows its files", || (rome.status()["folders"][0]["files"] == FILES - 2).then_some(()));
    let before = contents(&lyon.folder());
    let token = rome.token("pair invite lyon");
    let refused = lyon.cli(&format!("join {token}"));
    assert!(refused.exit == 4 && refused.err.contains("--adopt-line"), "{refused:?}");
    lyon.ok(&format!("join --adopt-line {token}"));
    lyon.catches_up_with(&rome);
    assert_eq!(lyon.status()["line"], rome.status()["line"]);
    assert_eq!(contents(&lyon.folder()), before);
    assert_eq!(lyon.json_lines("files list --unlisted").len(), 2);
    lyon.stop();
    lyon.start_again();
    lyon.catches_up_with(&rome);
    assert_eq!(received(&lyon), 0);
    drop(main);
}

/// The machine's clock, 25 hours ago.
struct Yesterday;

impl Clock for Yesterday {
    fn unix_ms(&self) -> u64 {
        SystemClock.unix_ms() - 25 * 3_600_000
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }
}

fn open_yesterday(role: Role, state_dir: &Path, folder: &Path) -> Repository {
    let config = RepositoryConfig {
        role,
        state_dir: state_dir.to_owned(),
        folders: vec![FolderConfig {
            name: FolderName::new("waptwua").unwrap(),
            path: folder.to_owned(),
            staging: None,
        }],
        deletion_cap: DeletionCap { max_percent: 20, min_files: 20 },
        disk_reserve_bytes: 0,
        log_limit: LogLimit::default(),
    };
    Repository::open(Arc::new(RealDisk::new()), Arc::new(Yesterday), &config, &mut |bytes| bytes.fill(7)).unwrap()
}

#[test]
fn a_state_that_was_signed_more_than_a_day_ago_shows_as_stale() {
    let (main, mut lyon) = (Node::main("paris"), Node::secondary("lyon"));
    let signed = open_yesterday(Role::Main, &main.state(), &main.folder()).head().unwrap();
    let below = open_yesterday(Role::Secondary, &lyon.state(), &lyon.folder());
    let line = signed.head().line;
    below.follow(signed, &[]).unwrap();
    let parent = ParentAddress { addresses: vec!["127.0.0.1:9".to_owned()], key: NodeKey([1; 32]), line };
    let parent = format!("name = \"lyon\"\n\n[parent]\n{}", toml::to_string(&parent).unwrap());
    fs::write(lyon.state().join("parent.toml"), parent).unwrap();
    drop(below);
    lyon.start_again();
    assert!(attention(&lyon).contains("more than a day old"), "{}", attention(&lyon));
    let page = lyon.ok("status").out;
    assert!(page.contains("the signed state is more than a day old") && page.contains("signed 1 d"), "{page}");
}
