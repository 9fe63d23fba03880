//! `wuasync demo`, from a user's first minute.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that fails is to fail its test, and tells why"
)]

mod processes;

use processes::{contents, immutable, noise, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// The demonstration, with its temporary directory inside `temporary`.
fn demo(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wuasync"));
    command.arg("demo").args(arguments).env("TMPDIR", temporary).stdin(Stdio::null());
    command
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

/// Processes with this directory in their command line.
fn processes_of(directory: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(directory.to_str().unwrap())).collect()
}

#[test]
fn once_it_mirrors_a_made_up_folder_and_tells_what_it_found() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(temporary.path(), &["--once", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&findings["ok"], &findings["files"]), (&true.into(), &313.into()));
    assert!(findings["files_checked"].as_u64().unwrap() > 5, "{findings}");
    assert!(is_empty(temporary.path()));
}

#[test]
fn a_folder_of_ones_own_is_shown_and_left_as_it_was() {
    let (temporary, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(own.path().join("sub")).unwrap();
    for seed in 0..300 {
        let bytes = noise(seed, 1_000 + seed as usize * 50);
        let stem = if seed % 3 == 0 { format!("sub/f{seed}") } else { format!("f{seed}") };
        fs::write(own.path().join(immutable(&stem, &bytes)), &bytes).unwrap();
    }
    fs::write(own.path().join(".hidden"), b"odd").unwrap();
    let modified = |name: &str| fs::metadata(own.path().join(name)).unwrap().modified().unwrap();
    let look =
        || -> Vec<_> { contents(own.path()).into_iter().map(|(name, hash)| (modified(&name), name, hash)).collect() };
    let before = look();
    let output = demo(temporary.path(), &[own.path().to_str().unwrap(), "--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("300 files") && told.contains("1 entries can't be mirrored"), "{told}");
    assert!(look() == before);
    assert!(is_empty(temporary.path()));
}

#[test]
fn a_folder_with_files_that_can_never_be_adopted_does_not_stall_it() {
    let (temporary, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bytes = noise(1, 10_000);
    fs::write(own.path().join(immutable("whole", &bytes)), &bytes).unwrap();
    fs::write(own.path().join(immutable("cut", &bytes)), &bytes[..5_000]).unwrap();
    let output = demo(temporary.path(), &[own.path().to_str().unwrap(), "--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("incomplete or can't be read: 1\n"), "{told}");
}

#[test]
fn a_folder_that_is_not_there_is_said_so() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(temporary.path(), &["/nowhere/at/all", "--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nowhere/at/all"));
    assert!(is_empty(temporary.path()));
}

/// Ends a demonstration that runs with `signal`, at its beginning or when it waits.
fn ended_with(signal: Signal, when_it_waits: bool) -> Option<i32> {
    let temporary = tempfile::tempdir().unwrap();
    let mut child: Child = demo(temporary.path(), &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    if when_it_waits {
        let drain = std::thread::spawn(move || BufReader::new(stderr).lines().count());
        let found = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line.contains("until Ctrl-C"));
        assert!(found);
        drop(drain);
    } else {
        wait("its daemons run", || (processes_of(temporary.path()).len() >= 2).then_some(()));
        std::thread::spawn(move || (BufReader::new(stderr).lines().count(), BufReader::new(stdout).lines().count()));
    }
    kill_process(Pid::from_child(&child), signal).unwrap();
    let status = wait("it ends", || child.try_wait().unwrap());
    assert_eq!(processes_of(temporary.path()), Vec::<String>::new());
    assert!(is_empty(temporary.path()));
    status.code()
}

#[test]
fn told_to_stop_while_it_waits_it_ends_well_and_leaves_nothing_behind() {
    assert_eq!(ended_with(Signal::TERM, true), Some(0));
}

#[test]
fn interrupted_it_leaves_nothing_behind() {
    assert_eq!(ended_with(Signal::INT, false), Some(5));
    assert_eq!(ended_with(Signal::TERM, false), Some(5));
}
