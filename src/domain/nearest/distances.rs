//! How far sites are from each other, as it was declared.

use crate::domain::member::SiteName;
use std::collections::BTreeMap;

/// Two sites, whichever is named first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SitePair(SiteName, SiteName);

impl SitePair {
    /// The pair of `one` and `other`.
    pub fn new(one: SiteName, other: SiteName) -> Self {
        if one <= other { Self(one, other) } else { Self(other, one) }
    }

    /// Both, in the order of their names.
    pub fn sites(&self) -> (&SiteName, &SiteName) {
        (&self.0, &self.1)
    }
}

/// The declared distances, in whatever unit; smaller is nearer. Those of one site are found at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distances(BTreeMap<SiteName, BTreeMap<SiteName, u32>>);

impl Distances {
    /// The sites that have a declared distance from one, with it.
    pub fn from(&self, site: &SiteName) -> impl Iterator<Item = (&SiteName, u32)> {
        self.0.get(site).into_iter().flatten().map(|(other, far)| (other, *far))
    }

    /// How far two sites are from each other: 0 for one site, `None` where nobody said.
    pub fn between(&self, one: &SiteName, other: &SiteName) -> Option<u32> {
        if one == other { Some(0) } else { self.0.get(one)?.get(other).copied() }
    }

    /// Each pair once, in the order of their names.
    pub fn pairs(&self) -> impl Iterator<Item = (SitePair, u32)> {
        let of_one = |(one, others): (&SiteName, &BTreeMap<SiteName, u32>)| {
            let later = others.iter().filter(|(other, _)| one < *other);
            later.map(|(other, far)| (SitePair::new(one.clone(), other.clone()), *far)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_one)
    }
}

impl Extend<(SitePair, u32)> for Distances {
    fn extend<T: IntoIterator<Item = (SitePair, u32)>>(&mut self, pairs: T) {
        for (SitePair(one, other), far) in pairs.into_iter().filter(|(SitePair(one, other), _)| one != other) {
            self.0.entry(one.clone()).or_default().insert(other.clone(), far);
            self.0.entry(other).or_default().insert(one, far);
        }
    }
}

impl FromIterator<(SitePair, u32)> for Distances {
    fn from_iter<T: IntoIterator<Item = (SitePair, u32)>>(pairs: T) -> Self {
        let mut distances = Self::default();
        distances.extend(pairs);
        distances
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_the_same_from_either_site_and_counted_once() {
        let site = |name: &str| SiteName::new(name).unwrap();
        let pair = |one: &str, other: &str| SitePair::new(site(one), site(other));
        let distances: Distances = [(pair("paris", "lyon"), 5), (pair("lyon", "nice"), 2)].into_iter().collect();
        assert_eq!(distances.between(&site("paris"), &site("lyon")), Some(5));
        assert_eq!(distances.between(&site("lyon"), &site("paris")), Some(5));
        assert_eq!(distances.between(&site("paris"), &site("paris")), Some(0));
        assert_eq!(distances.between(&site("paris"), &site("nice")), None);
        let from: Vec<_> = distances.from(&site("lyon")).collect();
        assert_eq!(from, [(&site("nice"), 2), (&site("paris"), 5)]);
        let pairs: Vec<_> = distances.pairs().collect();
        assert_eq!(pairs, [(pair("lyon", "nice"), 2), (pair("lyon", "paris"), 5)]);
    }
}
