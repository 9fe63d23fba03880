//! What the machine is. Looks only.

use crate::{
    daemon::{
        config::{ConfigErrors, Given, given, given_beside},
        machine::{self, AGENT_INI, MAX_INI_BYTES, SERVER_INI, Sockets},
        owner::{group_name, own_uid, user_name},
    },
    wapt::{agent_ini::AgentIni, server_ini::ServerIni},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Debian's place for web servers' files, and RedHat's.
const WEB_ROOTS: [&str; 2] = ["/var/www", "/var/www/html"];
/// Where systemd finds units, the administrator's first.
const UNIT_FOLDERS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Why the machine could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// Files that somebody wrote are no configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A file that decides can't be read.
    #[error("{}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The machine, as far as it decides how a node is set up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// What the kernel calls it.
    pub host_name: String,
    /// Whether this process may do everything.
    pub is_root: bool,
    /// By name.
    pub users: BTreeSet<String>,
    /// By name.
    pub groups: BTreeSet<String>,
    /// A WAPT server's configuration.
    pub server_ini: Option<ServerIni>,
    /// A WAPT agent's configuration.
    pub agent_ini: Option<AgentIni>,
    /// What web servers' files lie in.
    pub web_root: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// Whether it is there.
    pub config_is_there: bool,
    /// What it and `conf.d` say, setup's own file aside.
    pub others: BTreeMap<String, Given>,
    /// What setup's own file says.
    pub own: BTreeMap<String, Given>,
    /// Its text.
    pub own_text: Option<String>,
    /// Who listens where.
    pub sockets: Sockets,
    /// Whether systemd runs the machine.
    pub has_systemd: bool,
    /// Units of ours that are installed.
    pub units: BTreeSet<String>,
    /// Those that start with the machine.
    pub enabled: BTreeSet<String>,
    /// Those that run.
    pub active: BTreeSet<String>,
    /// Our own drop-in files for units, with their texts.
    pub drop_ins: BTreeMap<PathBuf, String>,
    /// This program.
    pub program: PathBuf,
}

/// A directory or file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDisk {
    /// Its owner's name, else number.
    pub user: String,
    /// Its group's name, else number.
    pub group: String,
    /// Its permissions.
    pub mode: u32,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Whether something is mounted there.
    pub is_mount: bool,
}

/// Setup's own file beside `config`.
pub(super) fn own_file(config: &Path) -> PathBuf {
    config.with_file_name("conf.d").join("setup.toml")
}

/// Looks at the machine whose files are beneath `root`, for the configuration at `config`.
pub fn gather(root: &Path, config: &Path, host_name: &str) -> Result<Facts, FactsError> {
    let beneath = |path: &str| root.join(path.trim_start_matches('/'));
    let unreadable = |path: &str| {
        let path = PathBuf::from(path);
        move |source| FactsError::File { path, source }
    };
    let own_file = own_file(config);
    let own_text = read(&own_file, MAX_INI_BYTES)?;
    let own = own_text.as_deref().map(|text| given(text, &own_file)).transpose()?.unwrap_or_default();
    let web_root = WEB_ROOTS.iter().find(|web| beneath(web).join("waptwua").is_dir()).unwrap_or(&WEB_ROOTS[0]);
    let units = units_in(&beneath);
    let has_systemd = beneath("/run/systemd/system").is_dir();
    Ok(Facts {
        host_name: host_name.to_owned(),
        is_root: own_uid() == 0,
        users: names(&read(&beneath("/etc/passwd"), MAX_INI_BYTES)?),
        groups: names(&read(&beneath("/etc/group"), MAX_INI_BYTES)?),
        server_ini: machine::wapt_server(root).map_err(unreadable(SERVER_INI))?,
        agent_ini: machine::wapt_agent(root).map_err(unreadable(AGENT_INI))?,
        web_root: PathBuf::from(web_root),
        config: config.to_owned(),
        config_is_there: config.exists(),
        others: given_beside(config, &own_file)?,
        own,
        own_text,
        sockets: Sockets::gather(),
        has_systemd,
        enabled: enabled(&beneath("/etc/systemd/system"), &units),
        active: if has_systemd { machine::active_units(&units) } else { BTreeSet::new() },
        drop_ins: drop_ins(&beneath, &units),
        units,
        program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("wuasync")),
    })
}

/// What is at each path.
pub fn look(paths: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, OnDisk> {
    let found = paths.iter().filter_map(|path| {
        let metadata = fs::metadata(path).ok()?;
        let above = path.parent().and_then(|parent| fs::metadata(parent).ok());
        let place = OnDisk {
            user: user_name(metadata.uid()),
            group: group_name(metadata.gid()),
            mode: metadata.permissions().mode() & 0o7777,
            is_directory: metadata.is_dir(),
            is_mount: above.is_some_and(|above| above.dev() != metadata.dev()),
        };
        Some((path.clone(), place))
    });
    found.collect()
}

/// The text of a file, at most `most` bytes of it; `None` where there is none.
fn read(path: &Path, most: u64) -> Result<Option<String>, FactsError> {
    machine::read_text(path, most).map_err(|source| FactsError::File { path: path.to_owned(), source })
}

/// First fields of a file such as `/etc/passwd`.
fn names(text: &Option<String>) -> BTreeSet<String> {
    let lines = text.iter().flat_map(|text| text.lines());
    lines.filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()).collect()
}

fn units_in(beneath: &dyn Fn(&str) -> PathBuf) -> BTreeSet<String> {
    let entries = UNIT_FOLDERS.iter().flat_map(|folder| fs::read_dir(beneath(folder)).into_iter().flatten().flatten());
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_unit = |name: &String| {
        let kind = name.rsplit('.').next().unwrap_or_default();
        name.starts_with("wuasync") && ["service", "socket", "timer"].contains(&kind)
    };
    names.filter(is_unit).collect()
}

fn enabled(system: &Path, units: &BTreeSet<String>) -> BTreeSet<String> {
    let wants = fs::read_dir(system).into_iter().flatten().flatten().map(|entry| entry.path());
    let wants: Vec<_> = wants.filter(|path| path.extension().is_some_and(|kind| kind == "wants")).collect();
    let is_wanted = |unit: &&String| wants.iter().any(|folder| folder.join(unit).symlink_metadata().is_ok());
    units.iter().filter(is_wanted).cloned().collect()
}

/// By their paths on the machine.
fn drop_ins(beneath: &dyn Fn(&str) -> PathBuf, units: &BTreeSet<String>) -> BTreeMap<PathBuf, String> {
    let paths = units.iter().map(|unit| format!("/etc/systemd/system/{unit}.d/setup.conf"));
    paths.filter_map(|path| Some((PathBuf::from(&path), fs::read_to_string(beneath(&path)).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_looked_at_by_its_files() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("etc/passwd", "root:x:0:0::/:/bin/sh\nwapt:x:990:990::/opt/wapt:/bin/false\n");
        put("etc/group", "www-data:x:33:\n");
        put("opt/wapt/wapt-get.ini", "[repo-sync]\nenable_remote_repo = True\n");
        put("etc/wuasync/wuasync.toml", "name = \"x\"\n");
        put("etc/wuasync/conf.d/setup.toml", "role = \"main\"\n");
        put("usr/lib/systemd/system/wuasync.service", "");
        put("usr/lib/systemd/system/wuasync-scan.timer", "");
        put("etc/systemd/system/timers.target.wants/wuasync-scan.timer", "");
        put("etc/systemd/system/wuasync.service.d/setup.conf", "[Service]\n");
        fs::create_dir_all(root.path().join("var/www/html/waptwua")).unwrap();
        let facts = gather(root.path(), &root.path().join("etc/wuasync/wuasync.toml"), "paris").unwrap();
        assert!(facts.users.contains("wapt") && facts.groups.contains("www-data") && !facts.has_systemd);
        assert!(facts.agent_ini.unwrap().repo_sync.unwrap().enabled && facts.server_ini.is_none());
        assert_eq!(facts.web_root, Path::new("/var/www/html"));
        assert_eq!((facts.others["name"].text.as_str(), facts.own["role"].text.as_str()), ("x", "main"));
        assert_eq!(facts.units.iter().collect::<Vec<_>>(), ["wuasync-scan.timer", "wuasync.service"]);
        assert_eq!(facts.enabled.iter().collect::<Vec<_>>(), ["wuasync-scan.timer"]);
        assert_eq!(facts.drop_ins.values().collect::<Vec<_>>(), ["[Service]\n"]);
    }

    #[test]
    fn what_is_not_there_is_no_place() {
        let root = tempfile::tempdir().unwrap();
        let (there, not) = (root.path().to_owned(), root.path().join("none"));
        let found = look(&[there.clone(), not].into());
        assert!(found.len() == 1 && found[&there].is_directory && !found[&there].is_mount, "{found:?}");
    }
}
