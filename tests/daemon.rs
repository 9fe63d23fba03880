//! One daemon, and a main with its secondary, as processes: start, stop, adoption, mirroring, kills.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that fails is to fail its test, and tells why"
)]

mod processes;

use processes::{Node, contents, http, http_get, immutable, noise, sh, wait};
use rustix::process::Signal;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

/// A main and a secondary that follows it.
fn pair() -> (Node, Node) {
    let main = Node::main("paris").start();
    let lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    (main, lyon)
}

#[test]
fn a_daemon_says_where_it_listens_in_one_line_and_ends_when_told_to() {
    let begun = Instant::now();
    let mut node = Node::main("paris").start();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let ready = node.ready().as_object().unwrap();
    assert_eq!(ready.keys().collect::<Vec<_>>(), ["admin", "control", "http", "ready", "sync"]);
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["control"], node.control().to_str().unwrap());
    assert!(ready["sync"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(http_get(node.http(), "/healthz").0, 200);
    assert_eq!(node.stop().code(), Some(0));
    assert!(!node.control().exists(), "the control socket stays");
    node.start_again();
    assert_eq!(http_get(node.http(), "/healthz").0, 200);
    node.signal(Signal::INT);
    assert_eq!(node.ended().code(), Some(0));
}

#[test]
fn a_slow_reader_gets_its_whole_body_when_the_daemon_is_told_to_stop() {
    let mut node = Node::main("paris");
    let bytes = noise(1, 30_000_000);
    let name = immutable("big", &bytes);
    node.write(&name, &bytes);
    node.start_again();
    node.serves(&name, &bytes);
    let mut reader = TcpStream::connect(node.http()).unwrap();
    write!(reader, "GET /waptwua/{name} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut got = vec![0; 1000];
    reader.read_exact(&mut got).unwrap();
    node.signal(Signal::TERM);
    wait("new connections are refused", || TcpStream::connect(node.http()).is_err().then_some(()));
    reader.read_to_end(&mut got).unwrap();
    let body = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(got[body..] == bytes, "{} of {} bytes", got.len() - body, bytes.len());
    assert_eq!(node.ended().code(), Some(0));
}

#[test]
fn a_certificate_is_read_again_on_sighup_while_connections_go_on() {
    let node = Node::main("paris");
    let (cert, key) = (node.place().join("cert.pem"), node.place().join("key.pem"));
    let renew = |host: &str| {
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    };
    renew("old.example");
    let mut node = node.with(&format!(
        "[http]\nlisten = [\"127.0.0.1:0\"]\n\n[http.tls]\nlisten = [\"127.0.0.1:0\"]\ncert = {cert:?}\nkey = {key:?}\n"
    ));
    node.start_again();
    let tls: std::net::SocketAddr = node.ready()["http"][1].as_str().unwrap().parse().unwrap();
    let mut open = TcpStream::connect(node.http()).unwrap();
    let answers_as = |host: &str| {
        let mut command = std::process::Command::new("curl");
        command.args(["-sS", "--noproxy", "*", "--cacert"]).arg(&cert);
        command.args(["--resolve", &format!("{host}:{}:127.0.0.1", tls.port())]);
        command.arg(format!("https://{host}:{}/healthz", tls.port())).output().unwrap().status.success()
    };
    assert!(answers_as("old.example"));
    renew("new.example");
    assert!(!answers_as("new.example"));
    node.signal(Signal::HUP);
    wait("the new certificate is shown", || answers_as("new.example").then_some(()));
    write!(open, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    fs::write(&key, "junk").unwrap();
    node.signal(Signal::HUP);
    let said =
        wait("status says that the key is refused", || node.status()["attention"].as_array().unwrap().first().cloned());
    assert!(said["what"].as_str().unwrap().contains(&format!("http.tls.key ({})", key.display())), "{said}");
    assert!(answers_as("new.example"), "the old one stays");
    renew("third.example");
    node.signal(Signal::HUP);
    wait("the alarm is over", || node.status()["attention"].as_array().unwrap().is_empty().then_some(()));
}

#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    let mut node = Node::main("paris");
    let bytes = noise(1, 50_000_000);
    let name = immutable("big", &bytes);
    node.write(&name, &bytes);
    node.start_again();
    let mut reader = TcpStream::connect(node.http()).unwrap();
    write!(reader, "GET /waptwua/{name} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut got = [0; 1000];
    reader.read_exact(&mut got).unwrap();
    node.signal(Signal::TERM);
    wait("it drains", || node.log().contains("draining, 1 connections").then_some(()));
    let begun = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(5));
    assert!(begun.elapsed() < Duration::from_secs(10), "nobody waited for the reader");
}

#[test]
fn the_admin_listener_shows_and_never_changes() {
    let node = Node::main("paris").start();
    for path in ["/healthz", "/readyz", "/api/v1/status", "/api/v1/files", "/api/v1/pair/members"] {
        let (status, head, body) = http_get(node.admin(), path);
        assert_eq!(status, 200, "{path}: {head}");
        serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    }
    let (status, _, body) = http_get(node.admin(), "/metrics");
    let text = String::from_utf8(body).unwrap();
    assert!(status == 200 && text.contains("\nwuasync_files{folder=\"waptwua\"} 0\n"), "{text}");
    for path in ["/api/v1/sync", "/api/v1/pair/invite", "/api/v1/status"] {
        assert_eq!(http(node.admin(), "POST", path).0, 405, "{path}");
    }
    assert_eq!(http_get(node.admin(), "/api/v1/nothing").0, 404);
    let (status, _, body) = http_get(node.admin(), "/api/v1/files?limit=abc");
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &error["code"]), (400, &"invalid".into()));
    assert_eq!(http_get(node.http(), "/api/v1/status").0, 404);
    assert_eq!(http_get(node.http(), "/metrics").0, 404);
}

#[test]
fn files_that_were_there_are_served_before_they_are_hashed() {
    let mut node = Node::main("paris");
    let mut files = Vec::new();
    for seed in 0..8 {
        let bytes = noise(seed, 25_000_000);
        let name = immutable(&format!("big{seed}"), &bytes);
        node.write(&name, &bytes);
        files.push((name, bytes));
    }
    node.start_again();
    let (last, bytes) = files.last().unwrap();
    let (status, head, body) = node.get(last);
    assert!(status == 200 && body == *bytes, "{head}");
    assert!(!head.to_ascii_lowercase().contains("etag"), "hashing was over already: {head}");
    for (name, _) in &files {
        wait("an ETag", || node.get(name).1.to_ascii_lowercase().contains("\netag: ").then_some(()));
    }
    let status = node.status();
    assert_eq!(
        (&status["folders"][0]["files"], &status["folders"][0]["adopting"]),
        (&8.into(), &serde_json::Value::Null)
    );
}

#[test]
fn what_programs_put_at_the_main_arrives_at_the_secondary() {
    let (main, lyon) = pair();
    let elsewhere = main.place().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let mut expected = Vec::new();
    let mut put = |seed: u64, stem: &str, script: &str| {
        let bytes = noise(seed, 300_000 + seed as usize);
        let name = immutable(stem, &bytes);
        let source = elsewhere.join(&name);
        fs::write(&source, &bytes).unwrap();
        sh(script, &[&source, &main.folder().join(&name)]);
        expected.push((name, bytes));
    };
    put(1, "cp", "cp \"$1\" \"$2\"");
    put(2, "mv", "mv \"$1\" \"$2\"");
    put(3, "rsync", "rsync -a \"$1\" \"$2\"");
    put(4, "ln", "ln \"$1\" \"$2\"");
    put(5, "cat", "cat < \"$1\" > \"$2\"");
    put(6, "drip", "head -c 1000 \"$1\" > \"$2\"; tail -c +1001 \"$1\" >> \"$2\"");
    let bytes = noise(7, 300_000);
    let name = immutable("new/deep/f", &bytes);
    fs::create_dir_all(elsewhere.join("new/deep")).unwrap();
    fs::write(elsewhere.join(&name), &bytes).unwrap();
    sh("mv \"$1\" \"$2\"", &[&elsewhere.join("new"), &main.folder()]);
    expected.push((name, bytes));

    let index = noise(10, 400_000);
    fs::write(elsewhere.join("wsusscn2.cab"), &index).unwrap();
    sh(
        "touch -d '2 hours ago' \"$1\"; cp -p \"$1\" \"$2/cp.cab\"; rsync -a \"$1\" \"$2/rsync.cab\"; mv \"$1\" \"$2\"",
        &[&elsewhere.join("wsusscn2.cab"), &main.folder()],
    );
    for name in ["cp.cab", "rsync.cab", "wsusscn2.cab"] {
        expected.push((name.to_owned(), index.clone()));
    }
    for (name, bytes) in &expected {
        lyon.serves(name, bytes);
    }
    lyon.catches_up_with(&main);
    assert_eq!(contents(&lyon.folder()), contents(&main.folder()));
}

#[test]
fn an_incomplete_file_is_listed_and_kept_from_the_secondary_until_it_is_whole() {
    let (main, lyon) = pair();
    let (whole, other) = (noise(1, 500_000), noise(2, 1_000));
    let name = immutable("part", &whole);
    main.write(&name, &whole[..200_000]);
    let listed = || main.ok("files list --incomplete").out.contains(&name);
    wait("the incomplete file is listed", || listed().then_some(()));
    assert!(main.ok("status").out.contains("waptwua: 1 incomplete"));
    main.write(&immutable("other", &other), &other);
    lyon.serves(&immutable("other", &other), &other);
    assert_eq!(lyon.get(&name).0, 503, "it exists or will exist");
    assert_eq!(main.status()["folders"][0]["incomplete"], 1);
    sh(
        "tail -c +200001 \"$1\" >> \"$2\"",
        &[
            &{
                let source = main.place().join("source");
                fs::write(&source, &whole).unwrap();
                source
            },
            &main.folder().join(&name),
        ],
    );
    lyon.serves(&name, &whole);
    assert!(!listed());
    assert_eq!(main.status()["folders"][0]["incomplete"], 0);
}

#[test]
fn odd_entries_are_left_alone_and_listed_and_in_nobodys_way() {
    use std::os::unix::net::UnixListener;
    let mut main = Node::main("paris");
    let lyon = Node::secondary("lyon").start();
    let folder = main.folder();
    let mut odd = make_odd_entries(&folder);
    let _socket = UnixListener::bind(folder.join("socket.cab")).unwrap();
    odd.push("socket.cab");
    let (before, late) = (noise(1, 10_000), noise(2, 10_000));
    main.write(&immutable("sub/before", &before), &before);
    main.start_again();
    lyon.joins(&main);
    lyon.serves(&immutable("sub/before", &before), &before);
    fs::write(folder.join("aux.cab"), b"odd").unwrap();
    main.write(&immutable("late", &late), &late);
    lyon.serves(&immutable("late", &late), &late);

    let listed = main.json_lines("files list");
    let refused: Vec<_> = listed.iter().filter(|file| file["state"] == "refused").collect();
    let names: Vec<_> = refused.iter().map(|file| file["name"].as_str().unwrap()).collect();
    for name in &odd {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
    assert_eq!(main.status()["folders"][0]["refused"].as_u64().unwrap() as usize, refused.len());
    assert_eq!(contents(&lyon.folder()).len(), 2);
    for path in ["link.cab", "fifo.cab", "socket.cab", ".hidden", "linked/etc/hostname", "aux.cab"] {
        assert_ne!(main.get(path).0, 200, "{path}");
    }
    assert_eq!(fs::read(folder.join("con.cab")).unwrap(), b"odd");
}

/// Answers with the names that are to be listed.
fn make_odd_entries(folder: &Path) -> Vec<&'static str> {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};
    // The one hidden entry that belongs there.
    fs::create_dir(folder.join(".stfolder")).unwrap();
    let mut odd = vec![".hidden", "con.cab", "trailing ", "trailing.", "back\\slash", "a:b", "star*"];
    for name in &odd {
        fs::write(folder.join(name), b"odd").unwrap();
    }
    symlink("/etc/hostname", folder.join("link.cab")).unwrap();
    symlink("/", folder.join("linked")).unwrap();
    sh("mkfifo \"$1\"", &[&folder.join("fifo.cab")]);
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"latin-\xe9.cab")), b"odd").unwrap();
    fs::create_dir_all(folder.join("sub/.git")).unwrap();
    fs::write(folder.join("sub/.git/config"), b"odd").unwrap();
    odd.extend(["link.cab", "linked", "fifo.cab", "latin-\u{fffd}.cab", "sub/.git"]);
    odd
}

/// Whole files only, at every look.
fn only_whole(folder: &Path, name: &str, hash: blake3::Hash) {
    if let Ok(found) = fs::read(folder.join(name)) {
        assert_eq!(blake3::hash(&found), hash, "a file of {} bytes is not whole", found.len());
    }
    for entry in fs::read_dir(folder).unwrap() {
        assert_eq!(entry.unwrap().file_name(), name);
    }
}

#[test]
fn kills_of_either_side_in_mid_transfer_leave_only_whole_files_and_end_in_one() {
    let (mut main, mut lyon) = pair();
    let big = noise(1, 300_000_000);
    let (name, hash) = (immutable("big", &big), blake3::hash(&big));
    main.write(&name, &big);
    drop(big);
    let (from, folder) = (main.folder(), lyon.folder());
    let done = |lyon: &Node| lyon.status()["transfers"][0]["done_bytes"].as_u64();
    let on_its_way = |lyon: &Node, at_least: u64| {
        wait("the transfer is under way", || {
            only_whole(&folder, &name, hash);
            (folder.join(&name).exists() || done(lyon).is_some_and(|done| done > at_least)).then_some(())
        });
    };
    on_its_way(&lyon, 20_000_000);
    lyon.kill();
    only_whole(&folder, &name, hash);
    assert!(!folder.join(&name).exists(), "the transfer was over before the kill");
    lyon.start_again();
    on_its_way(&lyon, 60_000_000);
    main.kill();
    only_whole(&folder, &name, hash);
    // The token names the port that the main had.
    main.start_on_its_ports();
    wait("the file is whole", || {
        only_whole(&folder, &name, hash);
        folder.join(&name).exists().then_some(())
    });
    lyon.catches_up_with(&main);
    assert_eq!(contents(&folder), contents(&from));
    assert_eq!(main.ok("check").exit, 0);
    assert_eq!(lyon.ok("check").exit, 0);
}

#[test]
fn a_deletion_at_the_main_goes_to_the_secondarys_trash() {
    let (main, lyon) = pair();
    let bytes = noise(1, 100_000);
    let name = immutable("gone", &bytes);
    main.write(&name, &bytes);
    lyon.serves(&name, &bytes);
    fs::remove_file(main.folder().join(&name)).unwrap();
    wait("the secondary stops serving it", || (lyon.get(&name).0 == 404).then_some(()));
    wait("its folder is empty", || contents(&lyon.folder()).is_empty().then_some(()));
    let trashed = contents(&lyon.place().join("www/.wuasync"));
    assert!(trashed.iter().any(|(_, hash)| *hash == blake3::hash(&bytes)), "{trashed:?}");
}

#[test]
fn a_sync_after_a_restart_in_which_nothing_changed_ends_well() {
    let (main, mut lyon) = pair();
    let bytes = noise(1, 1_000);
    main.write(&immutable("f", &bytes), &bytes);
    lyon.catches_up_with(&main);
    lyon.serves(&immutable("f", &bytes), &bytes);
    lyon.stop();
    lyon.start_again();
    assert_eq!(lyon.json("sync --wait")["missing_files"], 0);
}

#[test]
fn many_deletions_wait_until_they_are_accepted() {
    let (main, lyon) = pair();
    for seed in 0..30 {
        let bytes = noise(seed, 2_000);
        main.write(&immutable(&format!("f{seed}"), &bytes), &bytes);
    }
    wait("the main knows its files", || (main.status()["folders"][0]["files"] == 30).then_some(()));
    lyon.catches_up_with(&main);
    sh("rm \"$1\"/f1* \"$1\"/f2* \"$1\"/f3_*", &[&main.folder()]);
    let raised = wait("the alarm", || {
        let status = main.status();
        let attention = status["attention"].as_array().unwrap();
        attention.iter().find(|entry| entry["cure"].as_str().unwrap().contains("sync accept-deletions")).cloned()
    });
    assert!(main.ok("status").out.contains("sync accept-deletions"), "{raised}");
    let waiting = main.ok("sync --wait").out;
    assert!(waiting.contains("deletions wait: run `wuasync sync accept-deletions`"), "{waiting}");
    let before = contents(&lyon.folder()).len();
    assert!(before > 7, "{before} files are left at the secondary");
    let accepted = main.json("sync accept-deletions");
    assert!(accepted["files"].as_u64().unwrap() >= 1, "{accepted}");
    wait("the secondary deletes them", || (fs::read_dir(lyon.folder()).unwrap().count() == 7).then_some(()));
    lyon.catches_up_with(&main);
    assert_eq!(main.status()["attention"], serde_json::json!([]));
}

#[test]
fn a_check_is_0_when_all_is_well_and_1_with_a_list_when_it_is_not() {
    let (main, lyon) = pair();
    let (names, _) = four_files(&main, &lyon);
    for node in [&main, &lyon] {
        let well = node.ok("check");
        assert!(well.out.contains('4'), "{well:?}");
        assert_eq!(node.json("check")["findings"], serde_json::json!([]));
    }
    let rotten = main.folder().join(&names[0]);
    sh(
        "cp -p \"$1\" \"$2\" && printf X | dd of=\"$1\" bs=1 seek=200000 conv=notrunc status=none && touch -r \"$2\" \"$1\"",
        &[&rotten, &main.place().join("stamp")],
    );
    main.write("extra.cab", b"fresh and mutable");
    let found = main.cli("check");
    assert_eq!(found.exit, 1, "{found:?}");
    assert!(found.out.contains(&names[0]), "{found:?}");
    assert!(found.out.contains("extra.cab"), "{found:?}");
    assert!(!found.out.contains(&names[1]), "{found:?}");
}

#[test]
fn a_scrub_finds_what_rotted_says_so_with_1_and_what_is_found_is_healed_from_the_other_side() {
    let (main, lyon) = pair();
    let (names, files) = four_files(&main, &lyon);
    for node in [&main, &lyon] {
        let well = node.json("scrub --now");
        assert_eq!((&well["findings"], &well["state"]["progress"]["done_files"]), (&serde_json::json!([]), &4.into()));
        assert_eq!(node.ok(&format!("scrub --now {}", names[0])).out, "all is well\n");
        assert!(node.status()["scrub"]["last_ended_at"].is_u64());
    }
    assert_eq!(main.cli("scrub --now nowhere").exit, 1);
    for node in [&main, &lyon] {
        rot(node, &names[1], 200_000);
        let found = node.cli("scrub --now --json");
        let report: serde_json::Value = serde_json::from_str(&found.out).unwrap();
        assert_eq!((found.exit, report["findings"].as_array().unwrap().len()), (1, 1), "{found:?}");
        assert_eq!(report["findings"][0]["name"], names[1].as_str());
        node.serves(&names[1], &files[1]);
        rot(node, &names[2], 10);
        let found = node.cli(&format!("scrub --now waptwua/{}", names[2]));
        assert!(found.exit == 1 && found.out.contains("1 groups of 64 KiB were damaged"), "{found:?}");
        node.serves(&names[2], &files[2]);
        assert_eq!(node.ok("scrub --now").exit, 0);
        let status = node.status();
        let count = |key: &str| status["scrub"][key].as_u64().unwrap();
        assert_eq!((count("bad_groups"), count("healed_groups"), count("damaged_files")), (2, 2, 0));
        let (_, _, metrics) = http_get(node.admin(), "/metrics");
        assert!(String::from_utf8(metrics).unwrap().contains("wuasync_scrub_healed_groups_total 2\n"));
        assert!(node.ok("status").out.contains("2 groups of 2 files were damaged; 2 groups are healed"));
    }
}

/// Names and bytes of four files of several groups, which both nodes hold.
#[test]
fn jobs_run_once_however_many_ask_whether_they_are_due_and_those_of_the_main_are_no_fault_elsewhere() {
    let lyon = Node::secondary("lyon").start();
    let last = |node: &Node, name: &str| {
        let listed = node.json("jobs list");
        listed["jobs"].as_array().unwrap().iter().find(|job| job["name"] == name).unwrap().clone()
    };
    wait("the ledger is copied", || last(&lyon, "copy-ledger")["last"]["finished_at"].as_u64());
    assert!(lyon.state().join("ledger.nightly.redb").exists());
    let copied = last(&lyon, "copy-ledger");
    assert!(copied["here"] == true && copied["by"] == "daemon" && copied["next_at"].as_u64().is_some(), "{copied}");
    let not_due = lyon.json("jobs run copy-ledger --due");
    assert!(not_due["run"].is_null() && not_due["why_not"].as_str().unwrap().contains("not due before"), "{not_due}");
    assert_eq!(lyon.json("jobs run copy-ledger")["run"]["outcome"], "copied");
    wait("a pass begins by itself", || last(&lyon, "scrub")["last"]["finished_at"].as_u64());

    let elsewhere = lyon.ok("jobs run refresh-cab --due");
    assert!(elsewhere.out.contains("refresh-cab does not run on this secondary"), "{elsewhere:?}");
    let refused = lyon.cli("jobs run refresh-cab");
    assert!(refused.exit == 4 && refused.err.contains("wuasync jobs list"), "{refused:?}");
    assert_eq!(last(&lyon, "refresh-cab")["here"], false);
    let unknown = lyon.cli("jobs run scrap --due");
    assert!(unknown.exit == 1 && unknown.err.contains("refresh-cab, scan-wants"), "{unknown:?}");
}

fn four_files(main: &Node, lyon: &Node) -> (Vec<String>, Vec<Vec<u8>>) {
    let files: Vec<_> = (0..4).map(|seed| noise(seed, 400_000)).collect();
    let names: Vec<_> = files.iter().enumerate().map(|(i, bytes)| immutable(&format!("f{i}"), bytes)).collect();
    for (name, bytes) in names.iter().zip(&files) {
        main.write(name, bytes);
    }
    for (name, bytes) in names.iter().zip(&files) {
        lyon.serves(name, bytes);
    }
    lyon.catches_up_with(main);
    (names, files)
}

/// Flips a byte; neither length nor time tell.
fn rot(node: &Node, name: &str, offset: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().read(true).write(true).open(node.folder().join(name)).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn silent_connections_do_not_keep_the_daemon_from_ending() {
    use std::os::unix::net::UnixStream;
    let mut node = Node::main("paris").start();
    let silent = [TcpStream::connect(node.http()).unwrap(), TcpStream::connect(node.admin()).unwrap()];
    let mut half = TcpStream::connect(node.admin()).unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\nHo").unwrap();
    let command = UnixStream::connect(node.control()).unwrap();
    assert_eq!(http_get(node.admin(), "/healthz").0, 200);
    assert_eq!(node.stop().code(), Some(0));
    drop((silent, half, command));
}
