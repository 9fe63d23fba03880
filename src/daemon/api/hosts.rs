//! Windows machines: what is known of each, where their updates stand, and whose reports are believed.

use crate::domain::host::HostUuid;
use serde::{Deserialize, Serialize};

/// GET with [`HostsQuery`]: [`HostsPage`]. POST with a file of reports as body: [`ImportHostsReply`]. Below it,
/// `/{uuid}`: GET [`HostStory`], POST [`HostVerbRequest`]: [`HostVerbReply`]; `/enroll`: POST [`EnrolRequest`]:
/// [`EnrolReply`].
pub const HOSTS: &str = "/api/v1/hosts";

/// Which hosts are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostsQuery {
    /// Only those after it: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<HostUuid>,
    /// At most so many; the daemon may give fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those of this site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

/// Hosts by UUID, in pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostsPage {
    /// How many are known in all; where it is 0, nothing was ever told of any.
    pub known: u64,
    /// These.
    pub hosts: Vec<HostSummary>,
    /// Hosts that wait for an approval; on the first page.
    pub waiting: Vec<WaitingHost>,
    /// What to ask for next; `None` on the last page.
    pub next: Option<HostUuid>,
    /// On a secondary, which keeps nothing of hosts: what it carries to the main, who is to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<CarriedHosts>,
}

/// What a secondary knows of hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedHosts {
    /// The name of the main; `None` where this node has not joined one.
    pub main: Option<String>,
    /// How many reports wait here for the parent, one of each host.
    pub waiting: u64,
    /// Whose they are: the first, by UUID.
    pub hosts: Vec<HostUuid>,
}

/// How many updates of a host stand how, in WAPT's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCounts {
    /// Installed.
    pub ok: u32,
    /// Needed, and the repository has to get them.
    pub missing: u32,
    /// Needed, and the repository has them or is getting them.
    pub pending: u32,
    /// Not to be installed.
    pub discarded: u32,
    /// Of these, held back for a while.
    pub delayed: u32,
}

/// One host. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSummary {
    /// Which one.
    pub uuid: HostUuid,
    /// Its name.
    pub name: Option<String>,
    /// Where it stands.
    pub site: Option<String>,
    /// How early it takes rules.
    pub maturity: String,
    /// When it reported last.
    pub seen_at: u64,
    /// When its agent looked for updates last.
    pub scanned_at: Option<u64>,
    /// Whether that is too long ago for it to ask for anything new.
    pub stale: bool,
    /// Where its facts came from: `report`, `import` or `server`.
    pub from: String,
    /// Whose reports of it are believed: `enrolled`, `waiting`, `revoked`; `None` where it never signed one.
    pub standing: Option<String>,
    /// How many of its updates stand how.
    pub counts: HostCounts,
}

/// How many hosts a main knows. All zero where nothing was ever told of any, which is another thing than a fleet without
/// hosts that need something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostsReport {
    /// Hosts of which something was told.
    pub known: u64,
    /// Of these, heard of within the last day.
    pub reported_lately: u64,
    /// Of these, not heard of for so long (45 days) that they ask for nothing new.
    pub stale: u64,
    /// Hosts that wait until somebody approves them; nothing is known of them.
    pub waiting: u64,
}

/// A host whose reports are not believed before somebody approves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingHost {
    /// Which one.
    pub uuid: HostUuid,
    /// The key that it signs with.
    pub key: String,
    /// Since when it waits, in seconds since 1970 UTC; after 30 days it is forgotten until it reports again.
    pub since: u64,
    /// The network that its report came from, or the member that carried it.
    #[serde(default)]
    pub from: String,
}

/// One host with its updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStory {
    /// What the list says of it.
    pub host: HostSummary,
    /// The agent's own word.
    pub status: Option<String>,
    /// What went wrong last there.
    pub last_error: Option<String>,
    /// Whether the machine has to start anew.
    pub reboot_required: bool,
    /// When it installed something last, in seconds since 1970 UTC.
    pub last_install_at: Option<u64>,
    /// The rule packages that are installed on it.
    pub rule_packages: Option<Vec<String>>,
    /// Addresses that it asked repositories for in vain.
    pub missing_downloads: Vec<String>,
    /// The key that has to sign its reports.
    pub key: Option<String>,
    /// Its updates, by id.
    pub updates: Vec<HostUpdateReport>,
}

/// Where one update of a host stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostUpdateReport {
    /// Which one.
    pub id: String,
    /// Its articles.
    pub kbs: Vec<String>,
    /// Its title, where a host told one.
    pub title: Option<String>,
    /// OK, MISSING, PENDING or DISCARDED.
    pub state: String,
    /// Whether the host needs its files: `now`, `later` or `no`.
    pub need: String,
    /// Why it stands so.
    pub why: String,
}

/// Makes a token that lets hosts enrol themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// How many hosts it is good for.
    pub uses: u32,
    /// For how long, in seconds.
    pub valid_for: u64,
}

/// The token; nobody sees it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolReply {
    /// For `wuasync agent`, or whoever signs reports of hosts.
    pub token: String,
    /// Until when, in seconds since 1970 UTC.
    pub expires_at: u64,
}

/// What is to be done with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostVerb {
    /// The key that waits is believed.
    Approve,
    /// Its reports are believed no more; what is known stays.
    Revoke,
    /// What is known of it, and its key, are forgotten.
    Forget,
}

/// What is to be done with a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostVerbRequest {
    /// What.
    pub verb: HostVerb,
}

/// It was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostVerbReply {
    /// The key that it is about, where there is one.
    pub key: Option<String>,
}

/// What became of a file of reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportHostsReply {
    /// Hosts whose facts are kept.
    pub hosts: u64,
    /// Of these, hosts that were unknown.
    pub new: u64,
    /// Parts that made no sense and were passed over.
    pub skipped: u64,
    /// Reports that could not be read, by their place in the file from 1 on.
    pub refused: Vec<String>,
}
