//! What the main signed about repositories and hosts: the namespace `nearest`.
//!
//! Keys are `rule/<name>`, `url/<node key>` and `distance/<site>/<site>`; values are a version byte and postcard.

use super::{Distances, RepositoryUrl, Rule, RuleName, SitePair};
use crate::domain::{
    key::NodeKey,
    member::SiteName,
    versioned::{self, VersionedError},
};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// The version of the values.
const VERSION: u8 = 1;
/// The greatest distance between two sites.
pub const MAX_DISTANCE: u32 = 1_000_000;

/// A key of the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NearestKey {
    /// A rule.
    Rule(RuleName),
    /// Where hosts reach a member.
    Url(NodeKey),
    /// How far two sites are from each other.
    Distance(SitePair),
}

impl NearestKey {
    /// The key's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Rule(name) => [b"rule/", name.as_str().as_bytes()].concat(),
            Self::Url(key) => [b"url/", &key.0[..]].concat(),
            // No control character is in a site's name.
            Self::Distance(pair) => {
                let (one, other) = pair.sites();
                format!("distance/{one}\n{other}").into_bytes()
            }
        }
    }

    /// Reads a key; `None` for one of another kind.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let slash = bytes.iter().position(|byte| *byte == b'/')?;
        let (kind, rest) = (bytes.get(..slash)?, bytes.get(slash + 1..)?);
        match kind {
            b"rule" => Some(Self::Rule(std::str::from_utf8(rest).ok()?.parse().ok()?)),
            b"url" => Some(Self::Url(NodeKey(rest.try_into().ok()?))),
            b"distance" => {
                let (one, other) = std::str::from_utf8(rest).ok()?.split_once('\n')?;
                Some(Self::Distance(SitePair::new(SiteName::new(one).ok()?, SiteName::new(other).ok()?)))
            }
            _ => None,
        }
    }
}

/// All that was declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// In their order.
    pub rules: Vec<Rule>,
    /// Where hosts reach members.
    pub urls: BTreeMap<NodeKey, RepositoryUrl>,
    /// How far sites are from each other.
    pub distances: Distances,
}

impl Declared {
    /// Takes up one entry; what this program can't read is passed over.
    pub fn take(&mut self, key: &[u8], value: &[u8]) {
        match NearestKey::from_bytes(key) {
            Some(NearestKey::Rule(name)) => {
                self.rules.extend(decode::<Rule>(value).ok().filter(|rule| rule.name == name));
            }
            Some(NearestKey::Url(key)) => self.urls.extend(decode(value).ok().map(|url| (key, url))),
            Some(NearestKey::Distance(pair)) => self.distances.extend(decode(value).ok().map(|far| (pair, far))),
            None => {}
        }
    }

    /// Puts the rules into their order: by sequence, then by name.
    pub fn sorted(mut self) -> Self {
        self.rules.sort_by(|a, b| (a.sequence, &a.name).cmp(&(b.sequence, &b.name)));
        self
    }
}

/// A value as it is stored: a [`Rule`], a [`RepositoryUrl`] or a distance.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, VersionedError> {
    versioned::encode(VERSION, value)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, VersionedError> {
    versioned::decode(VERSION, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        member::NodeName,
        nearest::{Condition, Target},
    };

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn rule(name: &str, sequence: u32) -> Rule {
        Rule {
            name: name.parse().unwrap(),
            sequence,
            condition: Condition::AgentAddress("10.1.0.0/16".parse().unwrap()),
            negation: true,
            no_fallback: false,
            target: Target::Member(NodeName::new("lyon").unwrap()),
            proxy: Some(RepositoryUrl::new("http://proxy:3128").unwrap()),
        }
    }

    #[test]
    fn keys_read_back_and_a_pair_of_sites_has_one() {
        for key in [
            NearestKey::Rule("a rule/é".parse().unwrap()),
            NearestKey::Url(NodeKey([b'/'; 32])),
            NearestKey::Distance(SitePair::new(site("Lyon/2"), site("Berlin"))),
        ] {
            assert_eq!(NearestKey::from_bytes(&key.to_bytes()), Some(key));
        }
        assert_eq!(SitePair::new(site("b"), site("a")), SitePair::new(site("a"), site("b")));
        for other in [&b""[..], b"rule", b"rule/", b"url/short", b"distance/a", b"later/x"] {
            assert_eq!(NearestKey::from_bytes(other), None);
        }
    }

    #[test]
    fn version_one_keeps_its_bytes() {
        let hex = |bytes: Vec<u8>| data_encoding::HEXLOWER.encode(&bytes);
        let expected = "01047275 6c6507 00 0b 31302e312e302e302f3136 01 00 00 04 6c796f6e 01 11 \
                        687474703a2f2f70726f78793a33313238";
        assert_eq!(hex(encode(&rule("rule", 7)).unwrap()), expected.replace(' ', ""));
        assert_eq!(hex(encode(&RepositoryUrl::new("http://a").unwrap()).unwrap()), "0108687474703a2f2f61");
        assert_eq!(hex(encode(&300u32).unwrap()), "01ac02");
    }

    #[test]
    fn what_was_declared_is_taken_up_in_order_and_what_is_newer_is_passed_over() {
        let mut declared = Declared::default();
        for (name, sequence) in [("b", 2), ("a", 2), ("z", 1)] {
            declared.take(&NearestKey::Rule(name.parse().unwrap()).to_bytes(), &encode(&rule(name, sequence)).unwrap());
        }
        let far = NearestKey::Distance(SitePair::new(site("lyon"), site("paris"))).to_bytes();
        declared.take(&far, &encode(&5u32).unwrap());
        declared.take(b"later/x", b"\x01");
        declared.take(b"rule/c", b"\x02");
        declared.take(b"rule/other", &encode(&rule("c", 1)).unwrap());
        let declared = declared.sorted();
        let names: Vec<_> = declared.rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["z", "a", "b"]);
        assert_eq!(declared.distances.between(&site("paris"), &site("lyon")), Some(5));
        assert_eq!(declared.distances.between(&site("paris"), &site("paris")), Some(0));
        assert_eq!(declared.distances.between(&site("paris"), &site("nice")), None);
    }
}
