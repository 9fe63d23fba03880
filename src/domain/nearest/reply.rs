//! What a host is answered, as JSON.

use serde::{Deserialize, Serialize};

/// GET on the hosts' listener of every repository, with [`NearestQuery`]: [`NearestReply`].
pub const NEAREST_PATH: &str = "/api/v1/repositories/nearest";

/// What a host tells of itself and asks for. All of it is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearestQuery {
    /// The name of the file that it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// That file's folder; `waptwua` unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Its own addresses, with commas between them; where it was seen counts unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its DNS domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Its Active Directory site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

/// Where to pull from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearestReply {
    /// `folder/name` of the file that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Whether the signed state that is known here names no such file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unknown: bool,
    /// Best first.
    pub places: Vec<PlaceReply>,
    /// Who would have come before, and why it does not; told to administrators alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOverReply>,
}

/// One repository to pull from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceReply {
    /// Its address; its folders are beneath it.
    pub url: String,
    /// Where the file is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_url: Option<String>,
    /// The member's name; none where a rule names an address of nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The member's site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Whether it has the file; none where that is not known, or no file was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
    /// Why it stands where it stands.
    pub reason: String,
    /// The proxy through which it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

/// A repository that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOverReply {
    /// Its name, or its address.
    pub who: String,
    /// Why.
    pub why: String,
}
