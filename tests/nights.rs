//! The nightly cleanup of a real daemon on real nights: once, whoever asks; late where the daemon was down over its moment;
//! and not at all where it was down over the whole window, which `status` tells until the next night.
//!
//! A night takes no time here: each start of the daemon has its clock set (`booted/clockshift.c`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod processes;

use processes::{Node, wait};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
};

/// Seconds within which a busy machine has begun what is due.
const SOON: i64 = 60;

/// A daemon that is started on a clock of its own.
struct Night {
    main: Node,
    shift: PathBuf,
}

impl Night {
    fn start_at(&mut self, time: i64) {
        let ahead = (time - jiff::Timestamp::now().as_second()).to_string();
        let shift = self.shift.to_str().unwrap();
        self.main.start_with_env(&[("LD_PRELOAD", shift), ("CLOCKSHIFT", &ahead), ("TZ", "UTC")]);
    }

    /// How the cleanup stands.
    fn job(&self) -> Value {
        let listed = self.main.json("jobs list");
        listed["jobs"].as_array().unwrap().iter().find(|job| job["name"] == "cleanup").unwrap().clone()
    }

    fn next_at(&self) -> i64 {
        self.job()["next_at"].as_i64().unwrap()
    }

    /// Waits until a cleanup has ended that began at `time` or soon after.
    fn runs_at(&self, time: i64) {
        let began = wait("the cleanup runs", || {
            let last = self.job()["last"].clone();
            last["finished_at"].as_i64().and(last["started_at"].as_i64()).filter(|began| *began >= time)
        });
        assert!(began < time + SOON, "{} s late", began - time);
    }

    /// How many cleanups ran in all.
    fn runs(&self) -> usize {
        self.main.log().lines().filter(|line| line.contains("a job ran") && line.contains("cleanup")).count()
    }
}

fn seconds(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_second()
}

/// What shifts a daemon's clock.
fn clock_shift(desk: &Path) -> PathBuf {
    let shift = desk.join("clockshift.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/booted/clockshift.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&shift).arg(source);
    assert!(compiler.status().unwrap().success(), "cc is needed: tests/run installs it");
    shift
}

#[test]
fn a_night_has_one_cleanup_whoever_asks_a_late_one_is_made_up_for_and_a_missed_one_is_told() {
    let desk = tempfile::tempdir().unwrap();
    let main = Node::main("paris").with("[upstream]\nenabled = false\n[jobs]\nby = \"daemon\"\n");
    let mut night = Night { main, shift: clock_shift(desk.path()) };

    // Timers ask before the window opens, and at its opening all at once; the daemon at its own moment.
    night.start_at(seconds("2026-04-08T02:29:56Z"));
    let moment = night.next_at();
    let window = seconds("2026-04-08T02:30:00Z")..seconds("2026-04-08T03:30:00Z");
    assert!(window.contains(&moment), "{moment}");
    let early = night.main.json("jobs run cleanup --due");
    assert!(early["why_not"].as_str().unwrap().contains("not due before 2026-04-08T02:30:00Z"), "{early}");
    wait("the window opens", || {
        let asked = thread::scope(|scope| {
            let asking = [(); 4].map(|()| scope.spawn(|| night.main.json("jobs run cleanup --due")));
            asking.map(|asking| asking.join().unwrap())
        });
        asked.iter().any(|answer| answer["run"].is_object()).then_some(())
    });
    assert_eq!(night.runs(), 1);
    let ran = night.job()["last"].clone();
    night.main.stop();
    night.start_at((moment + 1).max(seconds("2026-04-08T02:31:00Z")));
    let again = night.main.json("jobs run cleanup --due");
    assert!(again["why_not"].as_str().unwrap().contains("not due before 2026-04-09T02:30:00Z"), "{again}");
    assert_eq!((night.job()["last"].clone(), night.runs()), (ran, 1), "once in a night");

    // Down over its moment, and back before the window closes.
    let moment = night.next_at();
    assert!((seconds("2026-04-09T02:30:00Z")..seconds("2026-04-09T03:30:00Z")).contains(&moment), "{moment}");
    night.main.stop();
    let back = (moment + 20).min(seconds("2026-04-09T03:29:55Z"));
    night.start_at(back);
    night.runs_at(back);
    assert_eq!(night.runs(), 2);
    night.main.stop();

    // Down over the whole window: it is left to the next night, and that is told.
    night.start_at(seconds("2026-04-10T03:30:05Z"));
    let what = "no cleanup ran in the night of 2026-04-10";
    wait("the missed night is told", || night.main.tells(what).then_some(()));
    let said = night.main.ok("status").out;
    assert!(said.contains(what) && said.contains("it runs in the next night"), "{said}");
    let moment = night.next_at();
    assert!((seconds("2026-04-11T02:30:00Z")..seconds("2026-04-11T03:30:00Z")).contains(&moment), "{moment}");
    assert_eq!(night.runs(), 2);
    night.main.stop();
    night.start_at(moment - 3);
    night.runs_at(moment);
    wait("nothing is missed any more", || (!night.main.tells(what)).then_some(()));
    assert_eq!(night.runs(), 3);
}
