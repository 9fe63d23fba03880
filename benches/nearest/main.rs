//! How long one answer takes that says which repository is nearest: 1,000 members and 500 rules, the last of which
//! matches, each member lacking 1,000 files of its own; for files that nearly all have, and for files that no
//! secondary has yet. On one thread, then whole answers over HTTP; times, and answers for a second of processor time, on
//! standard output. With `http` as its argument the latter alone.

#![expect(clippy::expect_used, reason = "a measurement that fails ends")]

#[path = "../../tests/harness/mod.rs"]
mod harness;
mod over_http;

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::{Duration, Instant},
};
use wuasync::{
    domain::{
        member::{NodeName, Role, SiteName},
        name::FileName,
        nearest::{
            Condition, Declared, Holds, Host, RepositoryUrl, Rule, SitePair, Slot, SlotSet, Standing, Target, slot_of,
        },
    },
    policy::nearest::{Lineup, NearestLimits, Question},
};

const MEMBERS: u32 = 1_000;
const RULES: u32 = 500;
const ANSWERS: u32 = 20_000;
/// How many files are asked for in turn.
const FILES: u32 = 100;
/// The first file that no secondary has.
const NEW: u32 = 2_000_000;

fn main() {
    let (declared, lacking) = (declared(), lacking());
    let limits = NearestLimits { silent_seconds: 60, lag_files: None, lag_bytes: Some(20 << 30) };
    let ordered = Instant::now();
    let lineup = Lineup::new(standings(), limits);
    say(&format!("{MEMBERS} members, {RULES} rules; members put in order, once a second: {:?}", ordered.elapsed()));
    let slots = |from: u32| -> Vec<_> { (from..from + FILES).map(|n| slot_of(&file(n))).collect() };
    let (usual, new) = (slots(0), slots(NEW));
    let has = |files: &[Slot], at: usize, n: u32| !lacking[at].contains(files[n as usize % files.len()]);
    if std::env::args().any(|argument| argument == "http") {
        return over_http::measure(&declared, &lacking);
    }
    measure("a file that all have but one", &declared, &lineup, &|at, n| has(&usual, at, n));
    measure("a file that the main alone has", &declared, &lineup, &|at, n| has(&new, at, n));
    over_http::measure(&declared, &lacking);
}

/// Asks [`ANSWERS`] times.
fn measure(what: &str, declared: &Declared, lineup: &Lineup, has: &dyn Fn(usize, u32) -> bool) {
    let (mut times, begun) = (Vec::new(), processor_time());
    let mut places = 0;
    for n in 0..ANSWERS {
        let asked = Instant::now();
        // Every other host belongs to the last rule, the rest to none.
        let address = Ipv4Addr::new(if n % 2 == 0 { 10 } else { 11 }, 1, 243, (n % 250) as u8);
        let host = Host::seen_as(IpAddr::V4(address));
        let holds = |at: usize| if has(at, n) { Holds::Yes } else { Holds::No };
        let question = Question { host: &host, declared, further_rules: &[], lineup, asked: 0, holds: &holds };
        places += question.answer().places.len();
        times.push(asked.elapsed());
    }
    say(&format!("{what}: {places} places in {ANSWERS} answers"));
    judge(times, processor_time().saturating_sub(begun), true);
}

/// Says how long answers took, and what processor time all of them took, and holds both to the bars; who was not `alone`
/// waited for others as well.
fn judge(mut times: Vec<Duration>, all: Duration, alone: bool) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    say(&format!("  median {:?}, 99 % {:?}, longest {:?}", at(0.5), at(0.99), at(1.0)));
    let a_second = times.len() as f64 / all.as_secs_f64();
    let each = all / u32::try_from(times.len()).expect("a number of answers");
    say(&format!("  {each:?} of processor time, {a_second:.0} answers a second on one core"));
    // The median: the longest are those in the midst of which somebody else had the processor.
    assert!(!alone || at(0.5) < Duration::from_millis(1), "an answer takes less than a millisecond");
    assert!(a_second > 2_000.0, "one core gives 2,000 answers a second");
}

/// What this thread has had, whoever shares the machine: see proc_pid_schedstat(5).
fn processor_time() -> Duration {
    time_in(Path::new("/proc/thread-self/schedstat")).expect("Linux tells")
}

fn time_in(schedstat: &Path) -> Option<Duration> {
    let text = std::fs::read_to_string(schedstat).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

fn file(n: u32) -> FileName {
    FileName::new(&format!("windows10.0-kb{n}-x64.cab")).expect("a name")
}

fn site(n: u32) -> SiteName {
    SiteName::new(&format!("site{n}")).expect("a name")
}

fn standings() -> Vec<Standing> {
    let standing = |n| Standing {
        name: NodeName::new(&format!("node{n}")).expect("a name"),
        site: site(n),
        role: if n == 0 { Role::Main } else { Role::Secondary },
        url: RepositoryUrl::new(&format!("https://node{n}.example")).ok(),
        silent_seconds: Some(u64::from(n % 40)),
        lag_files: 1_000,
        lag_bytes: 1 << 30,
        load_bytes: u64::from(n) << 18,
        round_trip_ms: Some(n % 90),
        can_fetch: true,
    };
    (0..MEMBERS).map(standing).collect()
}

fn declared() -> Declared {
    let rule = |n: u32| Rule {
        name: format!("rule{n}").parse().expect("a name"),
        sequence: n,
        condition: Condition::AgentAddress(format!("10.{}.{}.0/24", n / 256, n % 256).parse().expect("a network")),
        negation: false,
        no_fallback: false,
        target: Target::Member(NodeName::new(&format!("node{}", 999 - n)).expect("a name")),
        proxy: None,
    };
    let distance = |n: u32| (SitePair::new(site(500), site(n)), n);
    Declared {
        rules: (0..RULES).map(rule).collect(),
        distances: (0..100).map(distance).collect(),
        ..Declared::default()
    }
}

fn lacking() -> Vec<SlotSet> {
    let new = |n: u32| (NEW..NEW + FILES).filter(move |_| n > 0);
    let of = |n: u32| (n * 1_000..(n + 1) * 1_000).chain(new(n)).map(|n| slot_of(&file(n))).collect();
    (0..MEMBERS).map(of).collect()
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output takes it");
}
