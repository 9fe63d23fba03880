use super::super::testing::{NOW, Place, follow};
use super::*;
use crate::domain::rules::Criterion;
use std::fs;

fn name(text: &str) -> SetName {
    SetName::new(text).unwrap()
}

fn kb(number: &str) -> SetEdit {
    SetEdit::Forbid([Criterion::kb(number).unwrap()].into())
}

fn forbid(main: &Repository, number: &str) {
    main.edit_rules(&name("default"), &kb(number), "uid 0").unwrap();
}

fn told(at: &Repository) -> Vec<String> {
    let sets = at.rules().unwrap().sets.into_iter();
    sets.map(|set| format!("{}: {}", set.name, SetEdit::Forbid(set.forbidden))).collect()
}

#[test]
fn rules_are_signed_with_who_when_and_what_and_secondaries_learn_them() {
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    forbid(&main, "1");
    place.clock.set(NOW + 5);
    let settings = crate::domain::host::HostSettings { default_allow: Some(true), ..Default::default() };
    let ini = IniRules { settings, ..IniRules::default() };
    assert!(main.put_ini_rules(&ini, "wapt-get.ini").unwrap());
    assert!(!main.put_ini_rules(&ini, "wapt-get.ini").unwrap(), "the same is no change");
    forbid(&main, "1");
    main.edit_rules(&name("Extra"), &kb("2"), "uid 7").unwrap();
    main.remove_rules(&name("extra"), "uid 7").unwrap();
    follow(&main, &child).unwrap();
    for at in [&main, &child] {
        assert_eq!(told(at), ["default: forbade KB1"]);
        assert_eq!(at.rules().unwrap().ini, ini);
        let changes = at.rule_changes().unwrap();
        let told: Vec<_> = changes.iter().map(|c| (c.number, c.at - NOW, c.by.as_str(), c.what.as_str())).collect();
        assert_eq!(
            told,
            [
                (4, 5, "uid 7", "removed it"),
                (3, 5, "uid 7", "forbade KB2"),
                (2, 5, "wapt-get.ini", "read it again"),
                (1, 0, "uid 0", "forbade KB1"),
            ]
        );
    }
    assert!(matches!(main.remove_rules(&name("extra"), ""), Err(ChangeRulesError::UnknownSet(_))));
    let refused = child.edit_rules(&name("default"), &kb("3"), "uid 0");
    assert!(matches!(refused, Err(ChangeRulesError::Repository(RepositoryError::NotMain))));
    assert_eq!(told(&child), ["default: forbade KB1"]);
}

#[test]
fn old_changes_go_and_their_numbers_go_on() {
    let place = Place::new();
    let main = place.main();
    (0..CHANGES_KEPT + 3).for_each(|n| forbid(&main, &n.to_string()));
    let changes = main.rule_changes().unwrap();
    assert_eq!((changes.len() as u64, changes[0].number), (CHANGES_KEPT, CHANGES_KEPT + 3));
    assert_eq!(changes.last().unwrap().number, 4);
}

#[test]
fn a_main_that_lost_its_index_has_its_rules_back_and_what_was_removed_stays_out() {
    let place = Place::new();
    let main = place.main();
    forbid(&main, "1");
    main.edit_rules(&name("extra"), &kb("2"), "uid 0").unwrap();
    main.remove_rules(&name("extra"), "uid 0").unwrap();
    let changes = main.rule_changes().unwrap();
    drop(main);
    fs::remove_file(place.state("index.redb")).unwrap();
    let main = place.main();
    assert_eq!(told(&main), ["default: forbade KB1"]);
    assert_eq!(main.rule_changes().unwrap(), changes);
}

#[test]
fn an_older_copy_of_index_or_ledger_neither_brings_back_rules_nor_loses_new_ones() {
    for stale in ["index.redb", "ledger.redb"] {
        let place = Place::new();
        let main = place.main();
        forbid(&main, "1");
        main.edit_rules(&name("extra"), &kb("2"), "uid 0").unwrap();
        drop(main);
        fs::copy(place.state(stale), place.state("copy")).unwrap();
        let main = place.main();
        main.remove_rules(&name("extra"), "uid 0").unwrap();
        forbid(&main, "3");
        drop(main);
        fs::rename(place.state("copy"), place.state(stale)).unwrap();
        let main = place.main();
        assert_eq!(told(&main), ["default: forbade KB1, KB3"], "{stale}");
        drop(main);
        fs::remove_file(place.state("index.redb")).unwrap();
        assert_eq!(told(&place.main()), ["default: forbade KB1, KB3"], "{stale}");
    }
}
