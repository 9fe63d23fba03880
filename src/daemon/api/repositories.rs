//! Repositories: which there are, how they stand, and which hosts belong to whom.

use crate::domain::{
    member::{Role, SiteName},
    nearest::RuleName,
};
use serde::{Deserialize, Serialize};

pub use crate::domain::nearest::{NEAREST_PATH as NEAREST, NearestQuery, NearestReply, PassedOverReply, PlaceReply};

/// GET: a list of [`RepositoryReport`], by name.
pub const REPOSITORIES: &str = "/api/v1/repositories";
/// GET: [`RepositoryRulesReport`]. POST [`RepositoryRuleRequest`]: [`RepositoryRuleReport`]. DELETE with [`RepositoryRuleQuery`]: [`RepositoryRuleReport`].
pub const REPOSITORY_RULES: &str = "/api/v1/repositories/rules";
/// POST [`MoveRequest`]: [`RepositoryRulesReport`].
pub const MOVE_RULE: &str = "/api/v1/repositories/rules/move";
/// POST [`DistanceRequest`]: the same, as it is from then on.
pub const DISTANCES: &str = "/api/v1/repositories/distances";

/// One repository as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryReport {
    /// Its name.
    pub name: String,
    /// Its site.
    pub site: String,
    /// Its role.
    pub role: Role,
    /// Whether it is this node.
    pub is_here: bool,
    /// Where hosts reach it.
    pub url: Option<String>,
    /// Since it was heard of; `None` for never.
    pub silent_seconds: Option<u64>,
    /// Files that it lacks.
    pub lag_files: u64,
    /// Their bytes.
    pub lag_bytes: u64,
    /// What arrives there.
    pub arriving_bytes_per_second: u64,
    /// What it gives to hosts.
    pub load_bytes_per_second: u64,
    /// From here to it and back.
    pub round_trip_ms: Option<u32>,
    /// When it will hold all that it knows of, in seconds since 1970 UTC; `None` where nothing is lacking or nothing
    /// arrives.
    pub whole_at: Option<u64>,
    /// Whether that is not within the time that is set, and has not been for a while; told by the main alone.
    #[serde(default)]
    pub is_late: bool,
}

/// One rule, as people know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRuleReport {
    /// Its name.
    pub name: String,
    /// Its place; smaller ones are looked at first.
    pub sequence: u32,
    /// `AGENT IP`, `PUBLIC IP`, `DOMAIN`, `SITE` or `HOSTNAME`.
    pub condition: String,
    /// What the host's fact is compared with.
    pub value: String,
    /// Whether it has to be anything but that.
    pub negation: bool,
    /// Whether its hosts go nowhere else.
    pub no_fallback: bool,
    /// A member's name, or the address of a repository.
    pub to: String,
    /// The proxy through which hosts go there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Why it is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused: Option<String>,
}

/// All rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRulesReport {
    /// Those of this line, in their order.
    pub rules: Vec<RepositoryRuleReport>,
    /// Those of WAPT's `rules.json`, looked at after them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wapt: Vec<RepositoryRuleReport>,
    /// Why WAPT's file can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wapt_error: Option<String>,
    /// Distances between sites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distances: Vec<DistanceRequest>,
}

/// A rule to be added, or to take the place of the one of its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRuleRequest {
    /// Its name.
    pub name: RuleName,
    /// Its place; behind the last one unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u32>,
    /// As in [`RepositoryRuleReport`].
    pub condition: String,
    /// As in [`RepositoryRuleReport`].
    pub value: String,
    /// As in [`RepositoryRuleReport`].
    #[serde(default)]
    pub negation: bool,
    /// As in [`RepositoryRuleReport`].
    #[serde(default)]
    pub no_fallback: bool,
    /// As in [`RepositoryRuleReport`].
    pub to: String,
    /// As in [`RepositoryRuleReport`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

/// Which rule is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRuleQuery {
    /// Its name.
    pub name: RuleName,
}

/// A rule gets another place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRequest {
    /// The rule.
    pub name: RuleName,
    /// Its place among all, the first being 1.
    pub place: u32,
}

/// How far two sites are from each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistanceRequest {
    /// One of them.
    pub one: SiteName,
    /// The other.
    pub other: SiteName,
    /// The distance, in whatever unit; `None` to say nothing of it.
    pub distance: Option<u32>,
}
