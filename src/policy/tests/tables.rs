//! The fixtures, line by line.

use super::*;
use crate::{
    domain::host::{KnownUpdates, UpdateTraits},
    policy::{
        host_state::{Judge, Need, Stock},
        merge::MergedRules,
        verdict::verdict,
    },
};

const VERDICTS: &str = include_str!("../../../fixtures/verdicts.txt");
const STATES: &str = include_str!("../../../fixtures/states.txt");
const DAY: u64 = 86_400;

fn lines(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

fn is_yes(word: &str) -> bool {
    match word {
        "yes" => true,
        "no" => false,
        other => panic!("{other}"),
    }
}

#[test]
fn every_verdict_is_that_of_the_table_with_its_reason() {
    let traits = UpdateTraits {
        kbs: vec!["KB1".parse().unwrap()],
        products: vec!["Windows 10".into()],
        classifications: vec!["Security Updates".into()],
        severity: Some("Critical".parse().unwrap()),
        ..UpdateTraits::default()
    };
    let id = "11111111-1111-1111-1111-111111111111_3".parse().unwrap();
    for line in lines(VERDICTS) {
        let [forbidden, allowed, own, default_allow, wanted] =
            line.split('|').map(str::trim).collect::<Vec<_>>().try_into().unwrap();
        let rules = |text: &str| text.split(", ").filter(|rule| !rule.is_empty()).map(rule).collect::<Vec<_>>();
        let (ini, sets) = sources(&rules(forbidden), &rules(allowed));
        let merged = MergedRules::of(&ini, &sets);
        let own = (!own.is_empty()).then(|| is_yes(own));
        let found = verdict(&merged, id, Some(&traits), own, is_yes(default_allow));
        assert_eq!(found.to_string(), wanted, "{line}");
        assert_eq!(found.allowed, wanted.starts_with("allowed"), "{line}");
    }
}

#[test]
fn every_state_is_that_of_the_table() {
    let newer = id(2);
    let mut seen = 0;
    for line in lines(STATES) {
        let [installed, hidden, superseded, included, allowed, delayed, stock, state, needs] =
            line.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
        let flags = LocalFlags::default()
            .with_if(LocalFlags::INSTALLED, is_yes(installed))
            .with_if(LocalFlags::HIDDEN, is_yes(hidden))
            .with(if is_yes(allowed) { LocalFlags::ALLOWED } else { LocalFlags::NOT_ALLOWED });
        let host = host(1, vec![local(1, flags), local(2, LocalFlags::default())]);
        let supersedes = if is_yes(superseded) { vec![id(1).guid()] } else { vec![] };
        let changed_at = Some(if is_yes(delayed) { NOW - DAY + 1 } else { NOW - DAY });
        let known: KnownUpdates = [
            (id(1), UpdateTraits { changed_at, ..UpdateTraits::default() }),
            (newer, UpdateTraits { supersedes, ..UpdateTraits::default() }),
        ]
        .into_iter()
        .collect();
        let stock = match stock {
            "absent" => Stock::Absent,
            "coming" => Stock::Coming,
            "held" => Stock::Held,
            other => panic!("{other}"),
        };
        let settings = HostSettings {
            include_potentially_superseded_updates: Some(is_yes(included)),
            install_delay: Some(DAY),
            ..HostSettings::default()
        };
        let judge = Judge { settings, rules: &MergedRules::default(), known: &known, now: NOW };
        let standing = judge.standing(&host, &host.updates[0], |_| stock);
        assert_eq!(standing.state().as_str(), state, "{line}");
        let need = match needs {
            "no" => Need::No,
            "later" => Need::Later,
            "now" => Need::Now,
            other => panic!("{other}"),
        };
        assert_eq!(standing.need(), need, "{line}");
        seen += 1;
    }
    assert_eq!(seen, 2usize.pow(6) * 3, "every combination");
}

#[test]
fn a_delay_counts_from_the_last_change_else_from_when_it_was_first_known_and_ends_to_the_second() {
    let settings = HostSettings { install_delay: Some(15 * DAY), default_allow: Some(true), ..HostSettings::default() };
    let host = host(1, vec![local(1, LocalFlags::default())]);
    let need = |changed_at, known_since, now, settings| {
        let traits = UpdateTraits { changed_at, known_since, ..UpdateTraits::default() };
        let known: KnownUpdates = [(id(1), traits)].into_iter().collect();
        let judge = Judge { settings, rules: &MergedRules::default(), known: &known, now };
        judge.standing(&host, &host.updates[0], |_| Stock::Held).need()
    };
    assert_eq!(need(Some(NOW), 0, NOW + 15 * DAY - 1, settings), Need::Later);
    assert_eq!(need(Some(NOW), 0, NOW + 15 * DAY, settings), Need::Now);
    assert_eq!(need(None, NOW, NOW + 15 * DAY - 1, settings), Need::Later);
    assert_eq!(need(None, NOW, NOW + 15 * DAY, settings), Need::Now);
    let without = HostSettings { install_delay: None, ..settings };
    assert_eq!(need(Some(NOW), NOW, NOW, without), Need::Now);
}

#[test]
fn a_delay_of_the_hosts_own_holds_back_until_the_host_says_otherwise() {
    let flags = LocalFlags::ALLOWED.with(LocalFlags::DELAYED);
    let host = host(1, vec![local(1, flags)]);
    let judge = Judge {
        settings: HostSettings::default(),
        rules: &MergedRules::default(),
        known: &KnownUpdates::default(),
        now: NOW,
    };
    let standing = judge.standing(&host, &host.updates[0], |_| Stock::Held);
    assert_eq!((standing.state().as_str(), standing.need()), ("DISCARDED", Need::Later));
}

#[test]
fn one_article_with_three_ids_is_three_updates() {
    let kb = "KB4537759".parse().unwrap();
    let known: KnownUpdates =
        (1..=3).map(|n| (id(n), UpdateTraits { kbs: vec![kb], ..UpdateTraits::default() })).collect();
    let updates = (1..=3).map(|n| local(n, LocalFlags::default())).collect();
    let (ini, sets) = sources(&[rule(&format!("update {}", id(2).guid()))], &[rule(&format!("update {}", id(3)))]);
    let (host, rules) = (host(1, updates), MergedRules::of(&ini, &sets));
    let judge = Judge { settings: HostSettings::default(), rules: &rules, known: &known, now: NOW };
    let stands: Vec<_> = host.updates.iter().map(|update| judge.standing(&host, update, |_| Stock::Absent)).collect();
    let texts: Vec<_> = stands.iter().map(ToString::to_string).collect();
    assert_eq!(texts[0], "not allowed: no rule names it, and default_allow is not set");
    assert_eq!(texts[1], format!("forbidden: update {}, by [waptwua]", id(2).guid()));
    assert_eq!(texts[2], format!("its files are not here; allowed: update {}, by [waptwua]", id(3)));
}
