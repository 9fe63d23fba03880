//! What many hosts need together.

use super::*;
use crate::{
    domain::host::{KnownUpdates, UpdateTraits},
    policy::{
        demand::{Demand, STALE_AFTER, Tally},
        host_state::{Judge, Stock},
        merge::MergedRules,
    },
};

fn demand_of(hosts: &[HostFacts], known: &KnownUpdates, settings: HostSettings) -> Demand {
    let rules = MergedRules::default();
    let mut demand = Demand::default();
    for host in hosts {
        demand.add(host, &Judge { settings: host.settings.or(settings), rules: &rules, known, now: NOW });
    }
    demand
}

#[test]
fn what_is_needed_now_or_later_and_not_here_is_asked_for() {
    let flags = |flag: LocalFlags| LocalFlags::ALLOWED.with(flag);
    let updates = vec![
        local(1, flags(LocalFlags::default())),
        local(2, flags(LocalFlags::DELAYED)),
        local(3, flags(LocalFlags::INSTALLED)),
        local(4, LocalFlags::NOT_ALLOWED),
        local(5, flags(LocalFlags::HIDDEN)),
        local(6, flags(LocalFlags::default())),
        local(7, flags(LocalFlags::default())),
    ];
    let demand = demand_of(&[host(1, updates)], &KnownUpdates::default(), HostSettings::default());
    let stock = |of: UpdateId| match of.guid().0[0] {
        6 => Stock::Held,
        7 => Stock::Coming,
        _ => Stock::Absent,
    };
    assert_eq!(demand.wants(stock).collect::<Vec<_>>(), [id(1), id(2)]);
    let kept: Vec<_> = demand.tallies().filter(|(_, tally)| tally.is_kept()).map(|(id, _)| id).collect();
    assert_eq!(kept, [id(1), id(2), id(3), id(6), id(7)]);
    assert_eq!(demand.tally(id(2)), Tally { delayed: 1, ..Tally::default() });
    assert_eq!(demand.tally(id(3)), Tally { installed: 1, ..Tally::default() });
    assert_eq!((demand.tally(id(4)), demand.hosts), (Tally::default(), 1));
}

#[test]
fn a_host_that_is_switched_off_or_fetches_by_itself_asks_for_nothing() {
    let updates = || vec![local(1, LocalFlags::ALLOWED), local(2, LocalFlags::INSTALLED)];
    for settings in [
        HostSettings { enabled: Some(false), ..HostSettings::default() },
        HostSettings { direct_download: Some(true), ..HostSettings::default() },
    ] {
        let of = HostFacts { settings, ..host(1, updates()) };
        let demand = demand_of(&[of], &KnownUpdates::default(), HostSettings::default());
        assert_eq!(demand.wants(|_| Stock::Absent).count(), 0, "{settings:?}");
        assert!(!demand.tally(id(1)).is_kept() && demand.tally(id(2)).is_kept());
    }
}

#[test]
fn facts_that_are_stale_keep_files_and_ask_for_nothing_new() {
    let seen = |seen_at| HostFacts { seen_at, ..host(1, vec![local(1, LocalFlags::ALLOWED)]) };
    let asked = |seen_at| {
        let demand = demand_of(&[seen(seen_at)], &KnownUpdates::default(), HostSettings::default());
        (demand.tally(id(1)).is_asked_for(), demand.tally(id(1)).is_kept())
    };
    assert_eq!(asked(NOW - STALE_AFTER), (true, true));
    assert_eq!(asked(NOW - STALE_AFTER - 1), (false, true));
    assert_eq!(asked(NOW + 5), (true, true), "a clock that was set back makes nobody stale");
}

#[test]
fn an_older_update_is_asked_for_only_where_its_newer_one_is_not_or_where_it_is_included() {
    let newer = UpdateTraits { supersedes: vec![id(1).guid()], ..UpdateTraits::default() };
    let known: KnownUpdates = [(id(1), UpdateTraits::default()), (id(2), newer)].into_iter().collect();
    let both = host(1, vec![local(1, LocalFlags::ALLOWED), local(2, LocalFlags::NOT_ALLOWED)]);
    let older = host(2, vec![local(1, LocalFlags::ALLOWED)]);
    let wants = |hosts: &[HostFacts], include| {
        let settings =
            HostSettings { include_potentially_superseded_updates: Some(include), ..HostSettings::default() };
        demand_of(hosts, &known, settings).wants(|_| Stock::Absent).collect::<Vec<_>>()
    };
    assert_eq!(wants(std::slice::from_ref(&both), false), [], "whatever rules say of the newer one");
    assert_eq!(wants(std::slice::from_ref(&both), true), [id(1)]);
    assert_eq!(wants(&[both, older], false), [id(1)]);
}
