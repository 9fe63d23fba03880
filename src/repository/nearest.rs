//! What the main signs about repositories and hosts, and what every node knows of it.

use super::{error::RepositoryError, open::Repository};
use crate::domain::{
    key::NodeKey,
    nearest::{Declared, NearestKey, RepositoryUrl, Rule, RuleName, SitePair, encode},
    state::Namespace,
    versioned::VersionedError,
};

impl Repository {
    /// All that the main declared, as far as it is known here.
    pub fn declared(&self) -> Result<Declared, RepositoryError> {
        let mut declared = Declared::default();
        self.each_row(&Namespace::nearest(), |key, value| declared.take(key, value))?;
        Ok(declared.sorted())
    }

    /// Adds rules, or puts them in the place of those of their names.
    pub fn put_repository_rules(&self, rules: &[Rule]) -> Result<(), RepositoryError> {
        let rows = rules.iter().map(|rule| Ok((NearestKey::Rule(rule.name.clone()).to_bytes(), Some(encode(rule)?))));
        self.put_rows(&Namespace::nearest(), rows.collect::<Result<_, VersionedError>>()?)
    }

    /// Removes a rule.
    pub fn remove_repository_rule(&self, name: &RuleName) -> Result<(), RepositoryError> {
        self.put_rows(&Namespace::nearest(), vec![(NearestKey::Rule(name.clone()).to_bytes(), None)])
    }

    /// Says how far two sites are from each other; `None` says nothing of it.
    pub fn put_distance(&self, pair: SitePair, distance: Option<u32>) -> Result<(), RepositoryError> {
        let value = distance.map(|distance| encode(&distance)).transpose()?;
        self.put_rows(&Namespace::nearest(), vec![(NearestKey::Distance(pair).to_bytes(), value)])
    }

    /// Says where hosts reach members; `None` for nowhere.
    pub fn put_urls(&self, urls: &[(NodeKey, Option<RepositoryUrl>)]) -> Result<(), RepositoryError> {
        let rows =
            urls.iter().map(|(key, url)| Ok((NearestKey::Url(*key).to_bytes(), url.as_ref().map(encode).transpose()?)));
        self.put_rows(&Namespace::nearest(), rows.collect::<Result<_, VersionedError>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, follow, seq};
    use super::*;
    use crate::domain::{
        member::{NodeName, SiteName},
        nearest::{Condition, Target},
    };
    use std::fs;

    fn rule(name: &str, sequence: u32) -> Rule {
        Rule {
            name: name.parse().unwrap(),
            sequence,
            condition: Condition::AgentAddress("10.1.0.0/16".parse().unwrap()),
            negation: false,
            no_fallback: false,
            target: Target::Member(NodeName::new("lyon").unwrap()),
            proxy: None,
        }
    }

    fn pair() -> SitePair {
        SitePair::new(SiteName::new("lyon").unwrap(), SiteName::new("paris").unwrap())
    }

    #[test]
    fn secondaries_know_the_rules_addresses_and_distances_that_the_main_declared() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        let url = RepositoryUrl::new("https://lyon.example").unwrap();
        main.put_repository_rules(&[rule("b", 2), rule("a", 2)]).unwrap();
        main.put_distance(pair(), Some(7)).unwrap();
        main.put_urls(&[(NodeKey([1; 32]), Some(url.clone()))]).unwrap();
        follow(&main, &child).unwrap();
        let declared = child.declared().unwrap();
        assert_eq!(declared.rules, [rule("a", 2), rule("b", 2)]);
        assert_eq!(
            (declared.distances.pairs().collect(), &declared.urls[&NodeKey([1; 32])]),
            (vec![(pair(), 7)], &url)
        );
        main.remove_repository_rule(&"a".parse().unwrap()).unwrap();
        main.put_distance(pair(), None).unwrap();
        follow(&main, &child).unwrap();
        let declared = child.declared().unwrap();
        assert_eq!((declared.rules, declared.distances.pairs().count()), (vec![rule("b", 2)], 0));
        assert!(matches!(child.put_repository_rules(&[rule("c", 1)]), Err(RepositoryError::NotMain)));
    }

    #[test]
    fn what_is_so_already_is_signed_no_second_time() {
        let place = Place::new();
        let main = place.main();
        main.put_repository_rules(&[rule("a", 1)]).unwrap();
        let before = seq(&main);
        main.put_repository_rules(&[rule("a", 1)]).unwrap();
        main.remove_repository_rule(&"never".parse().unwrap()).unwrap();
        assert_eq!(seq(&main), before);
    }

    #[test]
    fn rules_outlive_a_lost_index() {
        let place = Place::new();
        let main = place.main();
        main.put_repository_rules(&[rule("a", 1), rule("b", 1)]).unwrap();
        main.remove_repository_rule(&"b".parse().unwrap()).unwrap();
        drop(main);
        fs::remove_file(place.state("index.redb")).unwrap();
        assert_eq!(place.main().declared().unwrap().rules, [rule("a", 1)]);
    }
}
