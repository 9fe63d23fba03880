//! Rules: which updates are let through.

use crate::{
    domain::{
        host::{HostSettings, Maturity},
        rules::{Criterion, Origin, RuleSet, SetEdit, SetName},
        update::UpdateId,
    },
    wapt::package::PackageParts,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// GET: [`UpdateRulesReport`]. POST [`EditRulesRequest`]: [`RuleSetReport`]. DELETE with [`RemoveRulesQuery`]:
/// [`RemoveRulesReply`].
pub const UPDATE_RULES: &str = "/api/v1/rules";
/// GET: a list of [`crate::domain::rules::RuleChange`], the newest first.
pub const RULE_CHANGES: &str = "/api/v1/rules/changes";
/// POST [`ImportRulesRequest`]: [`ImportRulesReply`].
pub const RULE_PACKAGES: &str = "/api/v1/rules/packages";
/// POST [`TestRulesRequest`]: [`TestRulesReply`].
pub const RULE_TEST: &str = "/api/v1/rules/test";

/// All rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRulesReport {
    /// The configuration file's.
    pub ini: IniReport,
    /// The sets, by name.
    pub sets: Vec<RuleSetReport>,
}

/// What `[waptwua]` of the main's configuration file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IniReport {
    /// Options that count for hosts that told nothing of their own.
    pub settings: HostSettings,
    /// What is let through.
    pub allowed: BTreeSet<Criterion>,
    /// What is not.
    pub forbidden: BTreeSet<Criterion>,
}

/// One rule set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSetReport {
    /// Its name.
    pub name: SetName,
    /// Where it came from.
    pub origin: Origin,
    /// Which hosts it counts for.
    pub maturity: Maturity,
    /// What it lets through.
    pub allowed: BTreeSet<Criterion>,
    /// What it does not.
    pub forbidden: BTreeSet<Criterion>,
}

impl From<RuleSet> for RuleSetReport {
    fn from(set: RuleSet) -> Self {
        let RuleSet { name, origin, maturity, allowed, forbidden } = set;
        Self { name, origin, maturity, allowed, forbidden }
    }
}

/// A change of one set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditRulesRequest {
    /// Which set; it is made if it is not there.
    pub set: SetName,
    /// What is done to it.
    pub edit: SetEdit,
}

/// The set that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveRulesQuery {
    /// Its name.
    pub set: SetName,
}

/// It is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveRulesReply {
    /// Its name.
    pub removed: SetName,
}

/// A rule package of WAPT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRulesRequest {
    /// What was read of it.
    pub parts: PackageParts,
    /// Take it though nobody who is believed has signed it.
    pub unsigned: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRulesReply {
    /// The set that it is.
    pub set: RuleSetReport,
    /// What was passed over in it, in words.
    pub remarks: Vec<String>,
}

/// Where would this update stand for this host?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestRulesRequest {
    /// The host: its UUID or its name; of no use beside a report.
    pub host: String,
    /// The update.
    pub update: UpdateId,
    /// A report of the host, in place of what is stored.
    #[serde(default)]
    pub facts: Option<serde_json::Value>,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestRulesReply {
    /// The host, by its UUID.
    pub host: String,
    /// The update.
    pub update: UpdateId,
    /// `OK`, `MISSING`, `PENDING` or `DISCARDED`.
    pub state: String,
    /// Why.
    pub why: String,
    /// Whether the host needs its files: `no`, `later` or `now`.
    pub needs: String,
    /// Until when it is held back, where that is known.
    pub delayed_until: Option<u64>,
    /// Whether the host reported the update; else it was judged as if Windows offered it.
    pub reported: bool,
    /// The maturity that the host was judged by.
    pub maturity: Maturity,
    /// The sets that count for the host, by name.
    pub sets: Vec<SetName>,
}
