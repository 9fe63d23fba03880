//! The whole configuration: the keys at the top, and what sections must not do to each other.

use super::{
    admin::Admin,
    bandwidth::Bandwidth,
    cleanup::Cleanup,
    error::Place,
    folder::Folder,
    http::Http,
    jobs::Jobs,
    keys::{Keys, Report, read_table},
    limits::Limits,
    mirror::Mirror,
    nearest::Nearest,
    node::{Node, Table},
    read::{self, Mistake},
    rules::Rules,
    sync::Sync,
    upstream::Upstream,
};
use crate::domain::member::{NodeName, Role, SiteName};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Most bytes in the control socket's path: Linux takes 107, and the socket has a longer name
/// while it is made.
const MAX_CONTROL_BYTES: usize = 100;

const ROLES: &[(&str, Role)] = &[("main", Role::Main), ("secondary", Role::Secondary)];

/// Everything that an administrator can decide, checked, with every default filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// Whether this node signs the state or mirrors it.
    pub role: Role,
    /// What this node calls itself; the host name unless told otherwise.
    pub name: NodeName,
    /// Where it stands, for people; its name unless told otherwise.
    pub site: SiteName,
    /// Where rows, keys and outboards are.
    pub state_dir: PathBuf,
    /// The socket through which commands reach the daemon.
    pub control: PathBuf,
    /// At least one; disjoint.
    #[serde(rename = "folder")]
    pub folders: Vec<Folder>,
    /// The listeners for hosts.
    pub http: Http,
    /// The listener for watching.
    pub admin: Admin,
    /// QUIC between repositories.
    pub sync: Sync,
    /// Microsoft.
    pub upstream: Upstream,
    /// What a secondary keeps.
    pub mirror: Mirror,
    /// Where hosts are sent.
    pub nearest: Nearest,
    /// How much of the line may be taken.
    pub bandwidth: Bandwidth,
    /// What runs when.
    pub jobs: Jobs,
    /// Where rules come from.
    pub rules: Rules,
    /// How much may be deleted.
    pub cleanup: Cleanup,
    /// What is never exceeded.
    pub limits: Limits,
    /// Keys that are set and right, and that no part of this version acts upon (`mirror.max_size`).
    #[serde(skip)]
    pub not_in_effect: Vec<String>,
}

impl Config {
    /// The effective settings as TOML, passwords masked.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Reads the merged `tree` of a file; `None` comes with errors in `report`.
    pub(super) fn read(tree: &Table, file: &Place, host_name: &str, report: &mut Report) -> Option<Self> {
        let config = read_table("", file, tree, report, |keys| Self::read_keys(keys, host_name))?;
        Some(Self { not_in_effect: std::mem::take(&mut report.not_in_effect), ..config })
    }

    fn read_keys(keys: &mut Keys<'_>, host_name: &str) -> Option<Self> {
        let name = name(keys, host_name);
        let site = site(keys, name.as_ref());
        let config = Self {
            role: keys.value("role", read::choice(ROLES), Role::Main),
            state_dir: keys.value("state_dir", read::path, PathBuf::from("/var/lib/wuasync")),
            control: keys.value("control", control, PathBuf::from("/run/wuasync/control.sock")),
            folders: Folder::read_all(keys),
            http: keys.section("http", Http::read),
            admin: keys.section("admin", Admin::read),
            sync: keys.section("sync", Sync::read),
            upstream: keys.section("upstream", Upstream::read),
            mirror: keys.section("mirror", Mirror::read),
            nearest: keys.section("nearest", Nearest::read),
            bandwidth: keys.section("bandwidth", Bandwidth::read),
            jobs: keys.section("jobs", Jobs::read),
            rules: keys.section("rules", Rules::read),
            cleanup: keys.section("cleanup", Cleanup::read),
            limits: keys.section("limits", Limits::read),
            not_in_effect: Vec::new(),
            // The last two, so that a wrong name hides no other error.
            name: name?,
            site: site?,
        };
        report_published(keys, "state_dir", &config.state_dir, &config.folders);
        report_published(keys, "control", &config.control, &config.folders);
        Some(config)
    }
}

fn name(keys: &mut Keys<'_>, host_name: &str) -> Option<NodeName> {
    if keys.has("name") {
        return keys.given("name", read::parsed);
    }
    let from_host = NodeName::new(host_name);
    if let Err(error) = &from_host {
        let text = format!("the host name can't be taken: {error}; set name");
        let place = keys.place_of("name");
        keys.report_value("name", Mistake { place, text });
    }
    from_host.ok()
}

fn site(keys: &mut Keys<'_>, name: Option<&NodeName>) -> Option<SiteName> {
    let given = keys.given("site", read::parsed);
    given.or_else(|| SiteName::new(name?.as_str()).ok())
}

fn control(node: &Node) -> Result<PathBuf, Mistake> {
    let path = read::path(node)?;
    let fits = path.as_os_str().len() <= MAX_CONTROL_BYTES;
    fits.then_some(path)
        .ok_or_else(|| Mistake::at(node, format!("a socket's path has at most {MAX_CONTROL_BYTES} bytes")))
}

/// Private files in a mirrored folder would be served to everybody.
fn report_published(keys: &mut Keys<'_>, key: &'static str, path: &Path, folders: &[Folder]) {
    for folder in folders.iter().filter(|folder| folder.publishes(path)) {
        let text = format!("{} lies inside folder {:?}, whose files are published", path.display(), folder.name);
        keys.report_value(key, Mistake { place: keys.place_of(key), text });
    }
}
