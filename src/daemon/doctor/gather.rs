//! What the checks look at.

use super::ask;
use crate::{
    base::clock::{Clock, SystemClock},
    cabinet::authenticode,
    daemon::{
        api::StatusReport,
        config::{Config, Tls},
        machine::{self, Sockets},
        owner::{own_uid, user_name},
        parent_file::ParentFile,
        trust::configured_trust,
    },
    domain::member::Role,
    store::layout,
    wapt::agent_ini::RepoSync,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Certificates and small files are well below.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What opens the ports for hosts, where systemd does.
const SOCKET_UNIT: &str = "wuasync.socket";

/// What is known of the daemon.
#[derive(Debug, Clone, PartialEq)]
pub enum DaemonFacts {
    /// It answers.
    Running(Box<StatusReport>),
    /// It does not, for this reason.
    Silent(String),
    /// It does not answer this user, for this reason.
    Denied(String),
}

impl DaemonFacts {
    /// Whether there is one, whatever it says.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Silent(_))
    }

    pub(super) fn status(&self) -> Option<&StatusReport> {
        match self {
            Self::Running(status) => Some(status),
            Self::Silent(_) | Self::Denied(_) => None,
        }
    }
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Seconds since 1970 UTC.
    pub(super) now: u64,
    pub(super) kernel: String,
    /// Directories that may be watched.
    pub(super) max_watches: Option<u64>,
    /// Whether the kernel's clock is kept right; `None` where nobody knows.
    pub(super) is_synchronized: Option<bool>,
    /// The lowest port that needs no privilege.
    pub(super) first_free_port: u16,
    pub(super) daemon: DaemonFacts,
    /// Whom the daemon runs as.
    pub(super) user: User,
    pub(super) state: Option<Spot>,
    pub(super) keys: Vec<Spot>,
    pub(super) folders: Vec<FolderFacts>,
    /// Of the state folder.
    pub(super) state_room: Option<Room>,
    pub(super) sockets: Sockets,
    /// Whether systemd keeps the ports for hosts open.
    pub(super) has_socket_unit: bool,
    pub(super) certificates: Vec<CertificateFacts>,
    /// Whether anybody is believed to sign editions.
    pub(super) trusts_somebody: Result<bool, String>,
    pub(super) names: Vec<NameFacts>,
    /// Address of the proxy, and what came of reaching it.
    pub(super) proxy: Option<(String, Result<(), String>)>,
    pub(super) parent: ParentFacts,
    /// WAPT's own replication on this machine.
    pub(super) wapt_sync: Option<RepoSync>,
    pub(super) is_wapt_server: bool,
    pub(super) sites: Vec<ask::Site>,
}

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gids: BTreeSet<u32>,
}

/// A file or directory that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) path: PathBuf,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) device: u64,
    pub(super) is_directory: bool,
}

/// What is left on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) available_bytes: u64,
    /// `None` where the file system does not count them.
    pub(super) free_inodes: Option<u64>,
    pub(super) is_read_only: bool,
}

/// One configured folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FolderFacts {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) spot: Option<Spot>,
    /// The nearest directory of the staging's path that is there.
    pub(super) staging: Option<Spot>,
    pub(super) staging_path: PathBuf,
    pub(super) room: Option<Room>,
}

/// A certificate for hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertificateFacts {
    pub(super) path: PathBuf,
    /// When the first certificate of the file ends; `Err` says why nobody knows.
    pub(super) ends: Result<u64, String>,
}

/// A name that has to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameFacts {
    /// Who needs it: `the parent`.
    pub(super) who: &'static str,
    pub(super) host: String,
    pub(super) found: Result<Vec<IpAddr>, String>,
}

/// The way to the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ParentFacts {
    /// A main has none.
    None,
    /// A secondary before its join.
    NotJoined,
    /// What joining taught can't be read.
    Unknown(String),
    /// By address, the round trip in milliseconds, or why there was no answer.
    Asked(Vec<(String, Result<u64, String>)>),
}

/// Looks and asks; takes some seconds where somebody does not answer.
pub async fn gather(config: &Config, daemon: DaemonFacts) -> Facts {
    let state = spot(&config.state_dir);
    let user = daemon_user(state.as_ref());
    let sockets = Sockets::gather();
    let parent_file = parent_file(config);
    let parent = match (&parent_file, config.role) {
        (_, Role::Main) => ParentFacts::None,
        (Ok(None), _) => ParentFacts::NotJoined,
        (Err(error), _) => ParentFacts::Unknown(error.clone()),
        // A member that is connected is known by its daemon, and would be cut off by a second connection.
        (Ok(Some(_)), _)
            if daemon.status().and_then(|status| status.parent.as_ref()).is_some_and(|it| it.connected) =>
        {
            ParentFacts::Asked(Vec::new())
        }
        (Ok(Some(file)), _) => ParentFacts::Asked(ask::parent(&file.parent, config).await),
    };
    Facts {
        now: SystemClock.unix_seconds(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        max_watches: number("/proc/sys/fs/inotify/max_user_watches"),
        is_synchronized: is_synchronized(),
        first_free_port: number("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or(1024),
        keys: [layout::LINE_KEY, layout::TRANSPORT_KEY]
            .iter()
            .filter_map(|key| spot(&config.state_dir.join(key)))
            .collect(),
        folders: config
            .folders
            .iter()
            .map(|folder| folder_facts(folder.name.as_str(), &folder.path, folder.staging.as_deref()))
            .collect(),
        state_room: room(&config.state_dir),
        has_socket_unit: !machine::active_units(&BTreeSet::from([SOCKET_UNIT.to_owned()])).is_empty(),
        certificates: config.http.tls.iter().map(certificate).collect(),
        trusts_somebody: configured_trust(config)
            .map(|trust| !trust.signing.is_empty())
            .map_err(|error| crate::base::chain::chain(&error)),
        names: names(config, parent_file.ok().flatten().as_ref()).await,
        proxy: proxy(config).await,
        wapt_sync: machine::wapt_agent(Path::new("/")).ok().flatten().and_then(|ini| ini.repo_sync),
        is_wapt_server: machine::wapt_server(Path::new("/")).ok().flatten().is_some(),
        sites: ask::sites(config, &daemon, &sockets).await,
        parent,
        daemon,
        user,
        state,
        sockets,
    }
}

/// Whose state there is; before there is one, whoever asks.
fn daemon_user(state: Option<&Spot>) -> User {
    let uid = state.map_or_else(own_uid, |state| state.uid);
    let name = user_name(uid);
    let read = |path: &str| machine::read_text(Path::new(path), MAX_FILE_BYTES).ok().flatten().unwrap_or_default();
    User { gids: groups(&read("/etc/passwd"), &read("/etc/group"), &name), name, uid }
}

/// The numbers of a user's groups, its first one and those that list it.
fn groups(passwd: &str, group: &str, user: &str) -> BTreeSet<u32> {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let own = passwd.lines().map(fields).filter(|line| line.first().is_some_and(|name| name == user));
    let own = own.filter_map(|line| line.get(3)?.parse().ok());
    let listed =
        group.lines().map(fields).filter(|line| line.get(3).is_some_and(|list| list.split(',').any(|it| it == user)));
    own.chain(listed.filter_map(|line| line.get(2)?.parse().ok())).collect()
}

fn spot(path: &Path) -> Option<Spot> {
    let found = fs::metadata(path).ok()?;
    Some(Spot {
        path: path.to_owned(),
        uid: found.uid(),
        gid: found.gid(),
        mode: found.permissions().mode() & 0o7777,
        device: found.dev(),
        is_directory: found.is_dir(),
    })
}

fn folder_facts(name: &str, path: &Path, staging: Option<&Path>) -> FolderFacts {
    let spot_here = spot(path);
    let above = path.parent().and_then(spot);
    let is_mount = spot_here.as_ref().zip(above.as_ref()).is_some_and(|(here, above)| here.device != above.device);
    let staging_path = match staging {
        Some(staging) => staging.to_owned(),
        None if is_mount => path.to_owned(),
        None => path.with_file_name(".wuasync"),
    };
    let staging = staging_path.ancestors().find_map(spot);
    FolderFacts {
        name: name.to_owned(),
        path: path.to_owned(),
        spot: spot_here,
        staging,
        staging_path,
        room: room(path),
    }
}

fn room(path: &Path) -> Option<Room> {
    let there = path.ancestors().find(|path| path.exists())?;
    let found = rustix::fs::statvfs(there).ok()?;
    Some(Room {
        available_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        free_inodes: (found.f_files > 0).then_some(found.f_favail),
        is_read_only: found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

fn number<T: std::str::FromStr>(path: &str) -> Option<T> {
    machine::read_text(Path::new(path), 64).ok().flatten()?.trim().parse().ok()
}

/// As systemd-timesyncd and its like tell.
fn is_synchronized() -> Option<bool> {
    let told = std::process::Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output()
        .ok()?;
    match String::from_utf8_lossy(&told.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn certificate(tls: &Tls) -> CertificateFacts {
    let loaded = crate::daemon::node::tls_reloader(tls.clone()).map_err(|error| crate::base::chain::chain(&error));
    let ends = loaded.and_then(|_| {
        let first = CertificateDer::from_pem_file(&tls.cert).map_err(|error| error.to_string())?;
        authenticode::expiry(&first).ok_or_else(|| "its dates can't be read".to_owned())
    });
    CertificateFacts { path: tls.cert.clone(), ends }
}

fn parent_file(config: &Config) -> Result<Option<ParentFile>, String> {
    let path = config.state_dir.join(layout::PARENT);
    let text = machine::read_text(&path, MAX_FILE_BYTES).map_err(|error| format!("{}: {error}", path.display()))?;
    text.map(|text| toml::from_str(&text).map_err(|_| format!("{} is damaged", path.display()))).transpose()
}

/// Every name that this node looks up, once.
async fn names(config: &Config, parent: Option<&ParentFile>) -> Vec<NameFacts> {
    let mut wanted = Vec::new();
    if config.role == Role::Main {
        let upstream = &config.upstream;
        let advertised = config.sync.advertise.iter().map(|address| ("secondaries", host_of(address.as_str())));
        wanted.extend(advertised);
        let is_direct = upstream.enabled && upstream.proxy.is_none();
        wanted.extend(upstream.proxy.iter().map(|proxy| ("the proxy", proxy.host().to_owned())));
        let origin = upstream.origin.as_ref().or(upstream.cab_url.as_ref()).filter(|_| is_direct);
        wanted.extend(origin.map(|url| ("upstream", url.host().to_owned())));
    }
    let addresses = parent.iter().flat_map(|file| &file.parent.addresses);
    wanted.extend(addresses.map(|address| ("the parent", host_of(address))));
    let mut found = Vec::new();
    for (who, host) in wanted {
        found.push(NameFacts { who, found: ask::look_up(&host).await, host });
    }
    found
}

fn host_of(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

async fn proxy(config: &Config) -> Option<(String, Result<(), String>)> {
    let proxy = config.upstream.proxy.as_ref().filter(|_| config.upstream.enabled && config.role == Role::Main)?;
    let url: http::Uri = proxy.as_str().parse().ok()?;
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let place = format!("{}:{port}", proxy.host());
    Some((place.clone(), ask::reach(&place).await))
}

/// An address that this machine reaches: an unspecified one becomes loopback.
pub(super) fn reachable(address: &SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_groups_are_its_own_and_those_that_list_it() {
        let passwd = "root:x:0:0::/:/bin/sh\nwapt:x:990:989::/:/bin/false\n";
        let group = "www-data:x:33:wapt,x\nother:x:7:y\nwaptx:x:8:\n";
        assert_eq!(groups(passwd, group, "wapt"), [33, 989].into());
        assert_eq!(groups(passwd, group, "nobody"), BTreeSet::new());
    }

    #[test]
    fn hosts_are_taken_out_of_addresses() {
        for (address, host) in
            [("paris.example:4443", "paris.example"), ("[2001:db8::1]:4443", "2001:db8::1"), ("x", "x")]
        {
            assert_eq!(host_of(address), host);
        }
    }
}
