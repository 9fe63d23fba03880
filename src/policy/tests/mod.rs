//! Truth tables, and what holds for all rules.

mod fleet;
mod properties;
mod tables;

use crate::domain::{
    guid::Guid,
    host::{HostFacts, HostSettings, HostUuid, LocalFlags, LocalUpdate, Maturity},
    rules::{Criterion, IniRules, RuleSet, SetName},
    update::UpdateId,
};
use std::collections::BTreeMap;

const NOW: u64 = 1_800_000_000;

fn id(n: u8) -> UpdateId {
    UpdateId::of(Guid([n; 16]), 3)
}

fn local(n: u8, flags: LocalFlags) -> LocalUpdate {
    LocalUpdate { id: id(n), flags, installed_at: None }
}

fn host(n: usize, updates: Vec<LocalUpdate>) -> HostFacts {
    HostFacts {
        uuid: HostUuid::new(&format!("host-{n}")).unwrap(),
        name: None,
        site: None,
        maturity: Maturity::Prod,
        settings: HostSettings::default(),
        rule_packages: None,
        scanned_at: Some(NOW),
        seen_at: NOW,
        updates,
    }
}

/// What a rule is and who has it: `severity critical@a`.
fn rule(text: &str) -> (Criterion, Option<SetName>) {
    let (text, set) = match text.split_once('@') {
        Some((text, set)) => (text, Some(SetName::new(set).unwrap())),
        None => (text, None),
    };
    let (kind, value) = text.trim().split_once(' ').unwrap();
    let parse = match kind {
        "update" => Criterion::update,
        "kb" => Criterion::kb,
        "product" => Criterion::product,
        "severity" => Criterion::severity,
        "classification" => Criterion::classification,
        other => panic!("{other}"),
    };
    (parse(value).unwrap(), set)
}

/// The file and the sets that have these rules.
fn sources(
    forbidden: &[(Criterion, Option<SetName>)],
    allowed: &[(Criterion, Option<SetName>)],
) -> (IniRules, Vec<RuleSet>) {
    let (mut ini, mut sets) = (IniRules::default(), BTreeMap::<SetName, RuleSet>::new());
    for (rules, is_allowed) in [(forbidden, false), (allowed, true)] {
        for (criterion, set) in rules {
            let lists = match set {
                None => (&mut ini.allowed, &mut ini.forbidden),
                Some(name) => {
                    let set = sets.entry(name.clone()).or_insert_with(|| RuleSet::own(name.clone()));
                    (&mut set.allowed, &mut set.forbidden)
                }
            };
            if is_allowed {
                lists.0.insert(criterion.clone())
            } else {
                lists.1.insert(criterion.clone())
            };
        }
    }
    (ini, sets.into_values().collect())
}
