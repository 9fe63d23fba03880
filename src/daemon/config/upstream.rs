//! `[upstream]`: Microsoft, or what stands in for it.

use super::{
    keys::Keys,
    node::Node,
    read::{self, Mistake},
    show,
    values::url::WebUrl,
};
use crate::domain::edition::Language;
use serde::Serialize;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

/// Where a main gets what nobody has yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Upstream {
    /// Whether it fetches at all.
    pub enabled: bool,
    /// Another repository's address, asked in place of Microsoft.
    #[serde(serialize_with = "show::optional")]
    pub origin: Option<WebUrl>,
    /// The way out, with its login.
    #[serde(serialize_with = "show::optional")]
    pub proxy: Option<WebUrl>,
    /// Where the edition comes from.
    #[serde(serialize_with = "show::optional")]
    pub cab_url: Option<WebUrl>,
    /// Domains, subdomains included, that may be asked.
    pub allowed_hosts: Vec<String>,
    /// PEM files: who may sign an edition.
    pub trust_roots: Vec<PathBuf>,
    /// PEM files: whose time stamps count; empty: of whoever may sign.
    pub timestamp_roots: Vec<PathBuf>,
    /// Whether an unsigned edition is refused.
    pub require_signature: bool,
    /// Whether `wsusscn2.cab.sha1` is written beside the edition.
    pub publish_sha1_sidecar: bool,
    /// Titles of updates are read in these, the first one first; English where there is none of them.
    pub title_languages: Vec<Language>,
    /// Hosts with a fixed address, private ones included.
    pub resolve: BTreeMap<String, SocketAddr>,
}

/// Microsoft's, as WAPT's server asks them.
const ALLOWED_HOSTS: [&str; 8] = [
    "windowsupdate.com",
    "windowsupdate.microsoft.com",
    "update.microsoft.com",
    "download.microsoft.com",
    "delivery.mp.microsoft.com",
    "go.microsoft.com",
    "wustat.windows.com",
    "ntservicepack.microsoft.com",
];

/// Microsoft's permanent link to the newest wsusscn2.cab.
const CAB_URL: &str = "http://go.microsoft.com/fwlink/?LinkID=74689";

/// Every title is there in English.
const ENGLISH: &str = "en";
/// Titles are a good part of what is kept of an edition.
const MAX_LANGUAGES: usize = 8;

impl Default for Upstream {
    fn default() -> Self {
        Self {
            enabled: true,
            origin: None,
            proxy: None,
            cab_url: CAB_URL.parse().ok(),
            allowed_hosts: ALLOWED_HOSTS.map(str::to_owned).to_vec(),
            trust_roots: Vec::new(),
            timestamp_roots: Vec::new(),
            require_signature: true,
            publish_sha1_sidecar: true,
            title_languages: Language::new(ENGLISH).into_iter().collect(),
            resolve: BTreeMap::new(),
        }
    }
}

impl Upstream {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let default = Self::default();
        let url = read::optional(read::parsed::<WebUrl>);
        let files = read::list(read::path);
        Self {
            enabled: keys.value("enabled", read::boolean, default.enabled),
            origin: keys.value("origin", &url, default.origin),
            proxy: keys.value("proxy", &url, default.proxy),
            cab_url: keys.value("cab_url", &url, default.cab_url),
            allowed_hosts: keys.value("allowed_hosts", read::list(domain), default.allowed_hosts),
            trust_roots: keys.value("trust_roots", &files, default.trust_roots),
            timestamp_roots: keys.value("timestamp_roots", &files, default.timestamp_roots),
            require_signature: keys.value("require_signature", read::boolean, default.require_signature),
            publish_sha1_sidecar: keys.value("publish_sha1_sidecar", read::boolean, default.publish_sha1_sidecar),
            title_languages: keys.value("title_languages", languages, default.title_languages),
            resolve: keys.value("resolve", resolve, default.resolve),
        }
    }
}

/// Languages in order, English last unless it is among them.
fn languages(node: &Node) -> Result<Vec<Language>, Mistake> {
    let mut languages = read::list(read::parsed::<Language>)(node)?;
    if languages.len() > MAX_LANGUAGES {
        return Err(Mistake::at(node, format!("more than {MAX_LANGUAGES} languages")));
    }
    if !languages.iter().any(|language| language.as_str() == ENGLISH) {
        languages.extend(Language::new(ENGLISH));
    }
    Ok(languages)
}

/// A domain without scheme, port and path.
fn domain(node: &Node) -> Result<String, Mistake> {
    let given = read::text(node)?;
    let plain = given.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let is_domain = plain && given.bytes().any(|byte| byte.is_ascii_alphanumeric());
    is_domain.then_some(given.clone()).ok_or_else(|| Mistake::at(node, format!("{given:?} is no host name")))
}

/// A connection needs a port.
fn resolve(node: &Node) -> Result<BTreeMap<String, SocketAddr>, Mistake> {
    let places = read::map(read::address)(node)?;
    match places.iter().find(|(_, place)| place.port() == 0) {
        Some((host, _)) => Err(Mistake::at(node, format!("{host:?} needs a port"))),
        None => Ok(places),
    }
}
