//! How long one answer takes that says which repository is nearest: 1,000 members and 500 rules, the last of which
//! matches, each member lacking 1,000 files of its own. On one thread; a table on standard output.

#![expect(clippy::expect_used, reason = "a measurement that fails ends")]

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};
use wuasync::{
    domain::{
        member::{NodeName, Role, SiteName},
        name::FileName,
        nearest::{
            Condition, Declared, Holds, Host, RepositoryUrl, Rule, SitePair, SlotSet, Standing, Target, slot_of,
        },
    },
    policy::nearest::{NearestLimits, Question},
};

const MEMBERS: u32 = 1_000;
const RULES: u32 = 500;
const ANSWERS: u32 = 20_000;

fn main() {
    let (standings, declared, lacking) = (standings(), declared(), lacking());
    let files: Vec<_> = (0..100).map(|n| slot_of(&file(n))).collect();
    let limits = NearestLimits { silent_seconds: 60, lag_files: None, lag_bytes: Some(20 << 30) };
    let (mut times, begun) = (Vec::new(), Instant::now());
    let mut places = 0;
    for n in 0..ANSWERS {
        let asked = Instant::now();
        // Every other host belongs to the last rule, the rest to none.
        let address = Ipv4Addr::new(if n % 2 == 0 { 10 } else { 11 }, 1, 243, (n % 250) as u8);
        let host = Host::seen_as(IpAddr::V4(address));
        let slot = files[n as usize % files.len()];
        let holds = |at: usize| if lacking[at].contains(slot) { Holds::No } else { Holds::Yes };
        let question = Question {
            host: &host,
            declared: &declared,
            further_rules: &[],
            standings: &standings,
            asked: 0,
            holds: &holds,
            limits,
        };
        places += question.answer().places.len();
        times.push(asked.elapsed());
    }
    let (all, mean) = (begun.elapsed(), begun.elapsed() / ANSWERS);
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    say(&format!("{MEMBERS} members, {RULES} rules, {places} places in {ANSWERS} answers"));
    say(&format!("mean {mean:?}, median {:?}, 99 % {:?}, longest {:?}", at(0.5), at(0.99), at(1.0)));
    say(&format!("{:.0} answers a second on one thread", f64::from(ANSWERS) / all.as_secs_f64()));
    assert!(at(0.99) < Duration::from_millis(1), "an answer takes less than a millisecond");
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
    let of = |n: u32| (0..1_000).map(|m| slot_of(&file(n * 1_000 + m))).collect();
    (0..MEMBERS).map(of).collect()
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output takes it");
}
