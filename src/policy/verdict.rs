//! Whether rules let an update through, and which one says so.
//!
//! In this order, which is WAPT's; the first that speaks decides:
//!
//! | | what | then |
//! |---|---|---|
//! | 1 | a forbidden update, KB, product, severity, classification | no |
//! | 2 | an allowed update, KB, product, severity, classification | yes |
//! | 3 | the host's own rules, where it told what they say | as they say |
//! | 4 | `default_allow` of the configuration file | as it says |
//!
//! So forbidding always wins, and allowances add up. (WAPT's own lists forbid updates and KBs only; a set written
//! here may forbid by any criterion.) Step 3 is there because a host's agent may know rules that this node does not.

use super::merge::{MergedRules, Source};
use crate::domain::{
    edition::{Kb, Severity},
    host::UpdateTraits,
    rules::{Label, UpdatePattern},
    update::UpdateId,
};
use std::fmt;

/// What the rules say of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'r> {
    /// Whether it is let through.
    pub allowed: bool,
    /// What decided.
    pub because: Because<'r>,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because<'r> {
    /// A rule.
    Rule(Matched<'r>, Source<'r>),
    /// What the host's own rules say.
    Host,
    /// `default_allow`.
    Default,
}

/// By what a rule names an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched<'r> {
    /// By its id.
    Update(UpdatePattern),
    /// By its article.
    Kb(Kb),
    /// By its product.
    Product(&'r Label),
    /// By its severity.
    Severity(Severity),
    /// By its classification.
    Classification(&'r Label),
}

/// Decides. `own` is what the host's rules say, where it told; `traits` what is known of the update.
pub fn verdict<'r>(
    rules: &'r MergedRules,
    id: UpdateId,
    traits: Option<&UpdateTraits>,
    own: Option<bool>,
    default_allow: bool,
) -> Verdict<'r> {
    let ruled = |allowed, (matched, source)| Verdict { allowed, because: Because::Rule(matched, source) };
    if let Some(rule) = matching(rules, &rules.forbidden, id, traits) {
        return ruled(false, rule);
    }
    if let Some(rule) = matching(rules, &rules.allowed, id, traits) {
        return ruled(true, rule);
    }
    match own {
        Some(allowed) => Verdict { allowed, because: Because::Host },
        None => Verdict { allowed: default_allow, because: Because::Default },
    }
}

fn matching<'r>(
    rules: &'r MergedRules,
    lists: &'r super::merge::Lists,
    id: UpdateId,
    traits: Option<&UpdateTraits>,
) -> Option<(Matched<'r>, Source<'r>)> {
    let by_id =
        lists.update(id).map(|(revision, place)| (Matched::Update(UpdatePattern { guid: id.guid(), revision }), place));
    let by_traits = |traits: &UpdateTraits| {
        let kb = || traits.kbs.iter().find_map(|kb| Some((Matched::Kb(*kb), lists.kb(*kb)?)));
        let product = || {
            let found = traits.products.iter().find_map(|product| lists.product(product));
            found.map(|(label, place)| (Matched::Product(label), place))
        };
        let severity = || traits.severity.and_then(|of| Some((Matched::Severity(of), lists.severity(of)?)));
        let classification = || {
            let found = traits.classifications.iter().find_map(|of| lists.classification(of));
            found.map(|(label, place)| (Matched::Classification(label), place))
        };
        kb().or_else(product).or_else(severity).or_else(classification)
    };
    let found = by_id.or_else(|| traits.and_then(by_traits));
    found.map(|(matched, place)| (matched, rules.source(place)))
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.allowed { "allowed" } else { "forbidden" };
        match self.because {
            Because::Rule(matched, source) => write!(f, "{word}: {matched}, by {source}"),
            Because::Host => write!(f, "{word}: so the host's own rules say"),
            Because::Default if self.allowed => f.write_str("allowed: no rule names it, and default_allow is set"),
            Because::Default => f.write_str("not allowed: no rule names it, and default_allow is not set"),
        }
    }
}

impl fmt::Display for Matched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Update(pattern) => write!(f, "update {pattern}"),
            Self::Kb(kb) => kb.fmt(f),
            Self::Product(label) => write!(f, "product {label}"),
            Self::Severity(severity) => write!(f, "severity {severity}"),
            Self::Classification(label) => write!(f, "classification {label}"),
        }
    }
}
