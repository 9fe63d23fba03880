//! Which hosts belong to which repository, as somebody decided.

use super::{Host, RepositoryUrl};
use crate::domain::{
    member::NodeName,
    network::{IpNetwork, ParseNetworkError},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most rules of one line.
pub const MAX_RULES: usize = 500;
/// Most bytes in a rule's name, and in what it compares with.
const MAX_TEXT_BYTES: usize = 255;

/// A text that a rule can't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rule's texts have 1 to 255 bytes, no control characters, and no blanks at their ends")]
pub struct RuleError;

fn checked(text: String) -> Result<String, RuleError> {
    let fits = (1..=MAX_TEXT_BYTES).contains(&text.len()) && text.trim() == text;
    if fits && !text.chars().any(char::is_control) { Ok(text) } else { Err(RuleError) }
}

/// What people call a rule; unique within a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuleName(String);

/// A name in which `*` stands for any text and `?` for one character; case is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Wildcard(String);

macro_rules! rule_text {
    ($($name:ident)*) => {$(
        impl TryFrom<String> for $name {
            type Error = RuleError;

            fn try_from(text: String) -> Result<Self, RuleError> {
                checked(text).map(Self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = RuleError;

            fn from_str(text: &str) -> Result<Self, RuleError> {
                checked(text.to_owned()).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
rule_text! { RuleName Wildcard }

impl RuleName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Wildcard {
    /// Whether it stands for `text`. Time grows with the product of both lengths at most.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut at, mut read) = (0, 0);
        // Where the last star stands, and how much of the text it has swallowed.
        let mut star = None;
        while let Some(byte) = text.get(read) {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, read));
                    at += 1;
                }
                Some(b'?') => (at, read) = (at + 1, read + 1),
                Some(wanted) if wanted.eq_ignore_ascii_case(byte) => (at, read) = (at + 1, read + 1),
                _ => {
                    let Some((star_at, swallowed)) = star else { return false };
                    star = Some((star_at, swallowed + 1));
                    (at, read) = (star_at + 1, swallowed + 1);
                }
            }
        }
        pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
    }
}

/// What a host has to be. A stored value: variants are only added, at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// One of its own addresses is in the network (WAPT's `AGENT IP`).
    AgentAddress(IpNetwork),
    /// It is seen from the network (WAPT's `PUBLIC IP`).
    PublicAddress(IpNetwork),
    /// Its DNS domain (WAPT's `DOMAIN`); case is ignored.
    Domain(Wildcard),
    /// Its Active Directory site (WAPT's `SITE`); case is ignored.
    Site(Wildcard),
    /// Its name, with or without its domain (WAPT's `HOSTNAME`).
    HostName(Wildcard),
}

/// A condition that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Of no known kind.
    #[error("no condition of that kind; there are AGENT IP, PUBLIC IP, DOMAIN, SITE and HOSTNAME")]
    Kind,
    /// What it compares with can't be.
    #[error("what the condition compares with can't be")]
    Network(#[from] ParseNetworkError),
    /// What it compares with can't be.
    #[error(transparent)]
    Text(#[from] RuleError),
}

impl Condition {
    /// Reads a condition as WAPT writes it; case, and `_` or `-` for a blank, are taken as they come.
    pub fn read(kind: &str, value: &str) -> Result<Self, ConditionError> {
        match kind.trim().to_ascii_uppercase().replace(['_', '-'], " ").as_str() {
            "AGENT IP" => Ok(Self::AgentAddress(value.parse()?)),
            "PUBLIC IP" => Ok(Self::PublicAddress(value.parse()?)),
            "DOMAIN" => Ok(Self::Domain(value.parse()?)),
            "SITE" => Ok(Self::Site(value.parse()?)),
            "HOSTNAME" => Ok(Self::HostName(value.parse()?)),
            _ => Err(ConditionError::Kind),
        }
    }

    /// Whether `host` is so; `None` where it does not tell.
    pub fn holds_of(&self, host: &Host) -> Option<bool> {
        match self {
            Self::AgentAddress(network) => Some(host.own_addresses().iter().any(|own| network.contains(*own))),
            Self::PublicAddress(network) => Some(network.contains(host.seen_as)),
            Self::Domain(wildcard) => host.domain.as_deref().map(|domain| wildcard.matches(domain)),
            Self::Site(wildcard) => host.site.as_deref().map(|site| wildcard.matches(site)),
            Self::HostName(wildcard) => host.name.as_deref().map(|name| {
                let first = name.split('.').next().unwrap_or(name);
                wildcard.matches(name) || wildcard.matches(first)
            }),
        }
    }

    /// What it compares, as WAPT calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AgentAddress(_) => "AGENT IP",
            Self::PublicAddress(_) => "PUBLIC IP",
            Self::Domain(_) => "DOMAIN",
            Self::Site(_) => "SITE",
            Self::HostName(_) => "HOSTNAME",
        }
    }

    /// What it compares with.
    pub fn value(&self) -> String {
        match self {
            Self::AgentAddress(network) | Self::PublicAddress(network) => network.to_string(),
            Self::Domain(text) | Self::Site(text) | Self::HostName(text) => text.to_string(),
        }
    }
}

/// Whose files a host pulls where a rule matches. A stored value: variants are only added, at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A member of the line.
    Member(NodeName),
    /// Whoever answers there; a member if one is known by this address.
    Url(RepositoryUrl),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(name) => name.fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// One rule. The first that matches, by sequence and name, wins. A stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub name: RuleName,
    /// Its place: smaller ones are looked at first.
    pub sequence: u32,
    /// What a host has to be.
    pub condition: Condition,
    /// Whether it has to be anything but that.
    pub negation: bool,
    /// Whether its hosts go nowhere else.
    pub no_fallback: bool,
    /// Where its hosts pull from.
    pub target: Target,
    /// The proxy through which they reach it.
    pub proxy: Option<RepositoryUrl>,
}

impl Rule {
    /// Whether `host` belongs to it. One that does not tell what is asked for belongs to no rule of that kind,
    /// a negated one neither.
    pub fn matches(&self, host: &Host) -> bool {
        self.condition.holds_of(host).is_some_and(|holds| holds != self.negation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wildcard(text: &str) -> Wildcard {
        text.parse().unwrap()
    }

    fn rule(condition: Condition, negation: bool) -> Rule {
        Rule {
            name: "r".parse().unwrap(),
            sequence: 1,
            condition,
            negation,
            no_fallback: false,
            target: Target::Member(NodeName::new("lyon").unwrap()),
            proxy: None,
        }
    }

    #[test]
    fn a_condition_is_read_as_wapt_writes_it() {
        for (kind, value, expected) in [
            ("AGENT IP", "10.0.0.0/8", "AGENT IP"),
            ("public-ip", "::1", "PUBLIC IP"),
            ("hostname", "pc*", "HOSTNAME"),
            (" Site ", "Lyon", "SITE"),
            ("domain", "corp", "DOMAIN"),
        ] {
            let read = Condition::read(kind, value).unwrap();
            assert_eq!((read.kind(), read.value().as_str()), (expected, value));
        }
        assert_eq!(Condition::read("MOON", "x"), Err(ConditionError::Kind));
        assert!(Condition::read("AGENT IP", "10.0.0.1/8").is_err() && Condition::read("SITE", "").is_err());
    }

    #[test]
    fn a_wildcard_stands_for_any_text_and_any_character_whatever_their_case() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("PC-*", "pc-0017", true),
            ("pc-??", "PC-17", true),
            ("pc-??", "pc-017", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("pc", "pc1", false),
            ("pc?", "pc", false),
            ("**", "x", true),
        ] {
            assert_eq!(wildcard(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn each_condition_looks_at_its_own_fact() {
        let host = Host {
            addresses: vec!["10.1.2.3".parse().unwrap(), "2001:db8::7".parse().unwrap()],
            seen_as: "203.0.113.9".parse().unwrap(),
            name: Some("PC-7.corp.example".to_owned()),
            domain: Some("corp.example".to_owned()),
            site: Some("Lyon".to_owned()),
        };
        let network = |text: &str| text.parse().unwrap();
        for (condition, expected) in [
            (Condition::AgentAddress(network("10.1.0.0/16")), true),
            (Condition::AgentAddress(network("2001:db8::/32")), true),
            (Condition::AgentAddress(network("203.0.113.0/24")), false),
            (Condition::PublicAddress(network("203.0.113.9")), true),
            (Condition::PublicAddress(network("10.0.0.0/8")), false),
            (Condition::Domain(wildcard("CORP.example")), true),
            (Condition::Domain(wildcard("example")), false),
            (Condition::Site(wildcard("lyon")), true),
            (Condition::HostName(wildcard("pc-?")), true),
            (Condition::HostName(wildcard("*.corp.example")), true),
            (Condition::HostName(wildcard("srv*")), false),
        ] {
            assert_eq!(rule(condition.clone(), false).matches(&host), expected, "{condition:?}");
            assert_eq!(rule(condition.clone(), true).matches(&host), !expected, "not {condition:?}");
        }
    }

    #[test]
    fn a_host_that_does_not_tell_belongs_to_no_rule_of_that_kind() {
        let host = Host::seen_as("::ffff:10.1.2.3".parse().unwrap());
        for condition in
            [Condition::Domain(wildcard("x")), Condition::Site(wildcard("x")), Condition::HostName(wildcard("x"))]
        {
            assert!(!rule(condition.clone(), false).matches(&host) && !rule(condition, true).matches(&host));
        }
        assert!(rule(Condition::AgentAddress("10.0.0.0/8".parse().unwrap()), false).matches(&host), "seen there");
    }

    proptest! {
        #[test]
        fn a_wildcard_agrees_with_the_plain_definition(pattern in "[ab*?]{1,8}", text in "[ab]{0,8}") {
            fn plain(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), _) if plain(rest, text) => true,
                    (Some((b'*', _)), Some((_, left))) => plain(pattern, left),
                    (Some((b'?', rest)), Some((_, left))) => plain(rest, left),
                    (Some((wanted, rest)), Some((found, left))) => wanted == found && plain(rest, left),
                    _ => false,
                }
            }
            prop_assert_eq!(wildcard(&pattern).matches(&text), plain(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
