//! What holds whatever the rules are.

use super::*;
use crate::{
    domain::{
        edition::{Kb, Severity},
        host::UpdateTraits,
        rules::{Label, Origin, PackageSignature, UpdatePattern},
    },
    policy::{
        merge::{MergedBook, MergedRules, RuleBook},
        verdict::{Because, verdict},
    },
};
use proptest::{collection::btree_set, option, prelude::*};

fn label() -> impl Strategy<Value = Label> {
    (0u8..3).prop_map(|n| Label::new(&format!("Product {n}")).unwrap())
}

fn criterion() -> impl Strategy<Value = Criterion> {
    prop_oneof![
        (0u8..3, option::of(2u32..4))
            .prop_map(|(n, revision)| Criterion::Update(UpdatePattern { guid: Guid([n; 16]), revision })),
        (0u32..3).prop_map(|n| Criterion::Kb(Kb(n))),
        label().prop_map(Criterion::Product),
        (0usize..4).prop_map(|n| Criterion::Severity(Severity::ALL[n])),
        label().prop_map(Criterion::Classification),
    ]
}

fn sets() -> impl Strategy<Value = Vec<RuleSet>> {
    let lists = (btree_set(criterion(), 0..4), btree_set(criterion(), 0..3), 0usize..3);
    proptest::collection::vec(lists, 0..4).prop_map(|lists| {
        let named = lists.into_iter().enumerate();
        let set = |(n, (allowed, forbidden, maturity)): (usize, _)| RuleSet {
            allowed,
            forbidden,
            maturity: Maturity::ALL[maturity],
            ..RuleSet::own(SetName::new(&format!("set{n}")).unwrap())
        };
        named.map(set).collect()
    })
}

fn update() -> impl Strategy<Value = (UpdateId, UpdateTraits)> {
    (0u8..4, 2u32..4, 0u32..4, label(), option::of(0usize..4), label()).prop_map(
        |(n, revision, kb, product, severity, classification)| {
            let traits = UpdateTraits {
                kbs: vec![Kb(kb)],
                products: vec![product.as_str().into()],
                classifications: vec![classification.as_str().to_uppercase().into()],
                severity: severity.map(|n| Severity::ALL[n]),
                ..UpdateTraits::default()
            };
            (UpdateId::of(Guid([n; 16]), revision), traits)
        },
    )
}

/// Whether a criterion names an update, told as plainly as can be.
fn names(criterion: &Criterion, id: UpdateId, traits: &UpdateTraits) -> bool {
    match criterion {
        Criterion::Update(pattern) => pattern.names(id),
        Criterion::Kb(kb) => traits.kbs.contains(kb),
        Criterion::Product(label) => traits.products.iter().any(|text| label.names(text)),
        Criterion::Severity(severity) => traits.severity == Some(*severity),
        Criterion::Classification(label) => traits.classifications.iter().any(|text| label.names(text)),
    }
}

proptest! {
    #[test]
    fn forbidding_always_wins_and_allowances_add_up(
        sets in sets(), (id, traits) in update(), own in option::of(any::<bool>()), default_allow: bool,
    ) {
        let any = |list: fn(&RuleSet) -> &std::collections::BTreeSet<Criterion>| {
            sets.iter().flat_map(list).any(|criterion| names(criterion, id, &traits))
        };
        let merged = MergedRules::of(&IniRules::default(), &sets);
        let found = verdict(&merged, id, Some(&traits), own, default_allow);
        if any(|set| &set.forbidden) {
            prop_assert!(!found.allowed);
        } else if any(|set| &set.allowed) {
            prop_assert!(found.allowed);
        } else {
            prop_assert_eq!(found.allowed, own.unwrap_or(default_allow));
            prop_assert!(matches!(found.because, Because::Host | Because::Default));
        }
    }

    #[test]
    fn the_order_of_sets_changes_neither_verdict_nor_reason(
        (sets, shuffled) in sets().prop_flat_map(|sets| (Just(sets.clone()), Just(sets).prop_shuffle())),
        (id, traits) in update(),
    ) {
        let (a, b) = (MergedRules::of(&IniRules::default(), &sets), MergedRules::of(&IniRules::default(), &shuffled));
        let say = |rules| verdict(rules, id, Some(&traits), None, false).to_string();
        prop_assert_eq!(say(&a), say(&b));
    }

    #[test]
    fn a_book_merges_for_each_host_what_counts_for_it(
        sets in sets(), maturities in proptest::collection::vec(0usize..3, 1..4), (id, traits) in update(),
    ) {
        let book = RuleBook { ini: IniRules::default(), sets };
        let mut merged = MergedBook::new(&book);
        for maturity in maturities {
            let host = HostFacts { maturity: Maturity::ALL[maturity], ..host(1, vec![]) };
            let counting = book.sets.iter().filter(|set| host.maturity <= set.maturity);
            let alone = MergedRules::of(&book.ini, counting);
            let (_, rules) = merged.rules_for(&host);
            let say = |rules| verdict(rules, id, Some(&traits), None, true).to_string();
            prop_assert_eq!(say(rules), say(&alone));
        }
    }
}

#[test]
fn a_package_counts_where_it_is_installed_and_where_nobody_tells() {
    let origin = Origin::Package { version: "1".into(), signature: PackageSignature::Unsigned };
    let set = RuleSet { origin, ..RuleSet::own(SetName::new("tis-rules").unwrap()) };
    let counts = |set: &RuleSet, packages: Option<&[&str]>| RuleBook::counts_for(set, Maturity::Prod, packages);
    assert!(counts(&set, None) && counts(&set, Some(&["other", " TIS-Rules "])));
    assert!(!counts(&set, Some(&[])) && !counts(&set, Some(&["tis-rules2"])));
    let own = RuleSet { origin: Origin::Own, ..set.clone() };
    assert!(counts(&own, Some(&[])));
    let trial = RuleSet { maturity: Maturity::Preprod, ..set };
    assert!(!counts(&trial, Some(&["tis-rules"])), "a set in trial is for hosts of PREPROD");
}

#[test]
fn only_the_file_says_what_is_done_with_updates_that_no_rule_names_and_a_host_may_say_otherwise() {
    let settings = HostSettings { default_allow: Some(true), enabled: Some(false), ..HostSettings::default() };
    let book = RuleBook { ini: IniRules { settings, ..IniRules::default() }, sets: vec![] };
    let mut merged = MergedBook::new(&book);
    assert_eq!(merged.rules_for(&host(1, vec![])).0, settings);
    let own = HostSettings { default_allow: Some(false), enabled: Some(true), ..HostSettings::default() };
    assert_eq!(merged.rules_for(&HostFacts { settings: own, ..host(1, vec![]) }).0, own);
}
