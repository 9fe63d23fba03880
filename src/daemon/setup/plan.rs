//! From choices to steps. Pure: what is so already is no step.

use super::{
    choices::{Choices, written_in},
    facts::{Facts, OnDisk, own_file},
    key::Key,
    settings,
};
use crate::store::layout;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Who may give commands besides root.
const ADMIN_GROUP: &str = "wuasync-admin";
const STATE_DIR: &str = "/var/lib/wuasync";
const RUN_DIR: &str = "/run/wuasync";
const SERVICE: &str = "wuasync.service";
const SOCKET: &str = "wuasync.socket";
/// What the socket unit listens on.
const SOCKET_PORTS: [u16; 2] = [80, 443];
/// Below it the unit may write without being told.
const USUAL_WEB_ROOT: &str = "/var/www";

/// What a person gave along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// There is a token to join with.
    pub token: bool,
    /// There is a passphrase to seal the keys with.
    pub passphrase: bool,
    /// Where the sealed keys go.
    pub keys_file: PathBuf,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A main follows nobody.
    #[error("a main joins nobody: leave the token out, or say --role secondary")]
    TokenOfMain,
    /// A secondary has no line key.
    #[error("a secondary has no line key to seal: leave the passphrase out")]
    PassphraseOfSecondary,
    /// A path that must be a directory.
    #[error("{} is no directory: move it away, or choose another place with --folder", .0.display())]
    NotADirectory(PathBuf),
    /// Setup's file can only add folders.
    #[error(
        "folder {name:?} is in {place}, and not among those that were chosen: take it out there, or choose it, too"
    )]
    FolderStays {
        /// Its name.
        name: String,
        /// File and line.
        place: String,
    },
}

/// Everything that setup would do, and say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SetupPlan {
    /// What was found here.
    pub found: Vec<String>,
    /// What somebody wrote and would count no longer: to be agreed to.
    pub overrides: Vec<String>,
    /// In this order. Empty when all is so already.
    pub steps: Vec<Step>,
    /// What a person has to do, since it is theirs.
    pub by_hand: Vec<String>,
    /// What comes next.
    pub next: Vec<String>,
}

impl SetupPlan {
    /// Files with what will be in them.
    pub fn texts(&self) -> BTreeMap<PathBuf, String> {
        let files = self.steps.iter().filter_map(|step| match step {
            Step::File { path, text, .. } => Some((path.clone(), text.clone())),
            Step::Command { .. } => None,
        });
        files.collect()
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Write a file, whole or not at all.
    File {
        /// Which one.
        path: PathBuf,
        /// All that is in it.
        text: String,
        /// Where the text that was there goes.
        keep_as: Option<PathBuf>,
    },
    /// Run a program, which must succeed.
    Command {
        /// The program and its arguments.
        words: Vec<String>,
        /// What it reads.
        input: Input,
    },
}

/// What a command reads on standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Nothing.
    None,
    /// The token.
    Token,
    /// The passphrase.
    Passphrase,
}

/// The places that a plan depends on, to be looked at.
pub fn places(facts: &Facts, choices: &Choices, wanted: &Wanted) -> BTreeSet<PathBuf> {
    let state = state_dir(facts);
    let folders = choices.folders().into_iter().flat_map(|(_, path)| [path.clone(), staging(&path)]);
    let state_files = [state.join(layout::PARENT), state.join(layout::LINE_KEY)];
    folders.chain(state_files).chain([state, PathBuf::from(RUN_DIR), wanted.keys_file.clone()]).collect()
}

/// Every step from `facts` to what was chosen. `on_disk` has what is at [`places`].
pub fn plan(
    facts: &Facts,
    choices: &Choices,
    on_disk: &BTreeMap<PathBuf, OnDisk>,
    wanted: &Wanted,
) -> Result<SetupPlan, PlanError> {
    check(facts, choices, on_disk, wanted)?;
    let ground = Ground { facts, choices, on_disk, wanted };
    let (files, drop_ins) = (ground.files(), ground.drop_ins());
    let mut steps = ground.accounts();
    steps.extend(ground.directories());
    let is_changed = !files.is_empty() || !drop_ins.is_empty();
    let must_reload = !drop_ins.is_empty();
    steps.extend(files.into_iter().chain(drop_ins));
    steps.extend(ground.units(must_reload, is_changed));
    steps.extend(ground.joining());
    steps.extend(ground.sealing());
    Ok(SetupPlan {
        found: ground.found(),
        overrides: ground.overrides(),
        steps,
        by_hand: ground.by_hand(),
        next: ground.next(),
    })
}

fn check(
    facts: &Facts,
    choices: &Choices,
    on_disk: &BTreeMap<PathBuf, OnDisk>,
    wanted: &Wanted,
) -> Result<(), PlanError> {
    if choices.is_main() && wanted.token {
        return Err(PlanError::TokenOfMain);
    }
    if !choices.is_main() && wanted.passphrase {
        return Err(PlanError::PassphraseOfSecondary);
    }
    let folders = choices.folders();
    if let Some((_, path)) = folders.iter().find(|(_, path)| on_disk.get(path).is_some_and(|it| !it.is_directory)) {
        return Err(PlanError::NotADirectory(path.clone()));
    }
    let stays = facts.others.iter().find_map(|(key, given)| {
        let name = key.strip_prefix("folder.")?.strip_suffix(".path")?;
        let is_chosen = folders.iter().any(|(chosen, _)| chosen == name);
        (!is_chosen).then(|| PlanError::FolderStays { name: name.to_owned(), place: given.place.to_string() })
    });
    stays.map_or(Ok(()), Err)
}

fn state_dir(facts: &Facts) -> PathBuf {
    facts.others.get("state_dir").map_or_else(|| PathBuf::from(STATE_DIR), |given| PathBuf::from(&given.text))
}

/// Beside the folder.
fn staging(folder: &Path) -> PathBuf {
    folder.with_file_name(".wuasync")
}

/// All that a plan stands on.
struct Ground<'a> {
    facts: &'a Facts,
    choices: &'a Choices,
    on_disk: &'a BTreeMap<PathBuf, OnDisk>,
    wanted: &'a Wanted,
}

impl Ground<'_> {
    /// Whom the daemon runs as: whose state there is, else WAPT's user, else its own.
    fn user(&self) -> &str {
        let owner = self.on_disk.get(&state_dir(self.facts)).map(|it| it.user.as_str()).filter(|user| *user != "root");
        owner.unwrap_or(if self.facts.users.contains("wapt") { "wapt" } else { "wuasync" })
    }

    /// The group that web servers read with.
    fn group(&self) -> &str {
        let known = ["www-data", "nginx", "apache"].into_iter().find(|group| self.facts.groups.contains(*group));
        known.unwrap_or(self.user())
    }

    fn has_units(&self) -> bool {
        self.facts.has_systemd && self.facts.units.contains(SERVICE)
    }

    fn is_joined(&self) -> bool {
        self.on_disk.contains_key(&state_dir(self.facts).join(layout::PARENT))
    }

    fn has_config(&self) -> Vec<String> {
        let is_usual = self.facts.config == Path::new(crate::daemon::config::DEFAULT_PATH);
        if is_usual { Vec::new() } else { vec!["--config".to_owned(), self.facts.config.display().to_string()] }
    }

    /// A command of ours.
    fn own(&self, words: &[&str]) -> Vec<String> {
        let program = self.facts.program.display().to_string();
        std::iter::once(program).chain(self.has_config()).chain(words.iter().map(|word| (*word).to_owned())).collect()
    }

    fn found(&self) -> Vec<String> {
        let server = self.facts.server_ini.as_ref().map(|_| "a WAPT server (/opt/wapt/conf/waptserver.ini)".to_owned());
        let sync = self.facts.agent_ini.as_ref().and_then(|ini| ini.repo_sync.as_ref());
        let agent = sync.map(|sync| {
            let state = if sync.enabled { "on" } else { "off" };
            let odd = match sync.not_understood.is_empty() {
                true => String::new(),
                false => format!("; not understood in it: {}", sync.not_understood.join(", ")),
            };
            format!("[repo-sync] in /opt/wapt/wapt-get.ini, {state}, of {}{odd}", sync.folders.join(" and "))
        });
        let folders = self.choices.folders().into_iter().filter(|(_, path)| self.on_disk.contains_key(path));
        let folders =
            folders.map(|(name, path)| format!("{}: its files are adopted where they lie as {name}", path.display()));
        server.into_iter().chain(agent).chain(folders).collect()
    }

    fn overrides(&self) -> Vec<String> {
        let over = self.choices.iter().filter(|(key, _)| *key != Key::Folders).filter_map(|(key, choice)| {
            let (_, given) = written_in(key, &self.facts.others)?;
            let others = settings::others(key, self.facts)?;
            let own = written_in(key, &self.facts.own).map(|(text, _)| key.read(&text).unwrap_or(text));
            let is_new = others != choice.text && own.as_deref() != Some(choice.text.as_str());
            is_new
                .then(|| format!("{} says {} = {others:?}: {:?} would count", given.place, key.setting(), choice.text))
        });
        let moved = self.choices.folders().into_iter().filter_map(|(name, path)| {
            let key = format!("folder.{name}.path");
            let given = self.facts.others.get(&key).filter(|given| Path::new(&given.text) != path)?;
            let own = self.facts.own.get(&key).is_some_and(|own| Path::new(&own.text) == path);
            (!own).then(|| format!("{} says {:?} of folder {name}: {:?} would count", given.place, given.text, path))
        });
        let own = self.facts.own_text.as_deref();
        let changed =
            own.filter(|text| settings::is_changed(text) && *text != settings::text(self.choices, self.facts));
        let changed = changed.map(|_| {
            let file = own_file(&self.facts.config);
            format!("{} was changed by somebody: it is kept as setup.toml.before, and written anew", file.display())
        });
        over.chain(moved).chain(changed).collect()
    }

    fn accounts(&self) -> Vec<Step> {
        let (user, group) = (self.user(), self.group());
        let group_of_user = (!self.facts.users.contains(user)).then(|| {
            let home = state_dir(self.facts).display().to_string();
            let account = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", &home];
            command(&[&account[..], &["--shell", "/usr/sbin/nologin", user]].concat())
        });
        let of_files =
            (!self.facts.groups.contains(group) && group != user).then(|| command(&["groupadd", "--system", group]));
        let admin = (!self.facts.groups.contains(ADMIN_GROUP)).then(|| command(&["groupadd", "--system", ADMIN_GROUP]));
        admin.into_iter().chain(group_of_user).chain(of_files).collect()
    }

    fn directories(&self) -> Vec<Step> {
        let mut wanted = vec![(state_dir(self.facts), 0o700)];
        for (_, path) in self.choices.folders() {
            let there = self.on_disk.get(&path);
            if there.is_none() {
                wanted.push((path.clone(), 0o750));
            }
            // The staging of a mount point is inside it.
            if !there.is_some_and(|it| it.is_mount) {
                wanted.push((staging(&path), 0o750));
            }
        }
        if !self.has_units() {
            wanted.push((PathBuf::from(RUN_DIR), 0o755));
        }
        wanted.dedup();
        let steps = wanted.into_iter().filter(|(path, _)| !self.is_own(path)).map(|(path, mode)| {
            let (mode, path) = (format!("{mode:o}"), path.display().to_string());
            command(&["install", "-d", "-o", self.user(), "-g", self.group(), "-m", &mode, &path])
        });
        let mut seen = Vec::new();
        steps
            .filter(|step| {
                !seen.contains(step) && {
                    seen.push(step.clone());
                    true
                }
            })
            .collect()
    }

    /// Whether a directory is there and the daemon's.
    fn is_own(&self, path: &Path) -> bool {
        self.on_disk.get(path).is_some_and(|it| it.is_directory && it.user == self.user())
    }

    fn files(&self) -> Vec<Step> {
        let config = (!self.facts.config_is_there).then(|| Step::File {
            path: self.facts.config.clone(),
            text: "# Settings of wuasync. Those of `wuasync setup` are in conf.d/setup.toml; `wuasync config show` shows all.\n"
                .to_owned(),
            keep_as: None,
        });
        let text = settings::text(self.choices, self.facts);
        let is_same = self.facts.own_text.as_ref() == Some(&text);
        let path = own_file(&self.facts.config);
        let theirs = self.facts.own_text.as_deref().is_some_and(settings::is_changed);
        let keep_as = theirs.then(|| path.with_extension("toml.before"));
        let own = (!is_same).then_some(Step::File { path, text, keep_as });
        config.into_iter().chain(own).collect()
    }

    /// What the units of this node have otherwise than those of the package.
    fn drop_ins(&self) -> Vec<Step> {
        if !self.has_units() {
            return Vec::new();
        }
        let units = [(SERVICE, "Service", self.service_settings()), (SOCKET, "Socket", self.socket_settings())];
        let files =
            units.into_iter().filter(|(_, _, settings)| !settings.is_empty()).map(|(unit, section, settings)| {
                let path = Path::new("/etc/systemd/system").join(format!("{unit}.d/setup.conf"));
                (path, format!("# Written by `wuasync setup`.\n[{section}]\n{settings}"))
            });
        let is_new = |(path, text): &(PathBuf, String)| self.facts.drop_ins.get(path) != Some(text);
        files.filter(is_new).map(|(path, text)| Step::File { path, text, keep_as: None }).collect()
    }

    /// Its user, and folders elsewhere than the unit may write.
    fn service_settings(&self) -> String {
        let (user, group) = (self.user(), self.group());
        let is_other = user != "wuasync" || group != "www-data";
        let account = if is_other { format!("User={user}\nGroup={group}\n") } else { String::new() };
        let folders = self.choices.folders();
        let parents: BTreeSet<&Path> = folders.iter().filter_map(|(_, path)| path.parent()).collect();
        let elsewhere = parents.into_iter().filter(|parent| !parent.starts_with(USUAL_WEB_ROOT));
        account + &elsewhere.map(|parent| format!("ReadWritePaths={}\n", parent.display())).collect::<String>()
    }

    /// Its ports, where another program has one that the package's unit would open.
    fn socket_settings(&self) -> String {
        let is_taken = |port: &u16| self.facts.sockets.has_tcp(*port) && !self.facts.active.contains(SOCKET);
        let has_own = self.facts.drop_ins.keys().any(|path| path.ends_with(format!("{SOCKET}.d/setup.conf")));
        let needs_own = SOCKET_PORTS.iter().any(is_taken) || has_own;
        if !self.is_on_the_socket() || !needs_own {
            return String::new();
        }
        let ports: BTreeSet<u16> = self.ports().collect();
        "ListenStream=\n".to_owned() + &ports.iter().map(|port| format!("ListenStream={port}\n")).collect::<String>()
    }

    fn wanted_units(&self) -> Vec<&str> {
        let timers: &[&str] = match self.choices.is_main() {
            true => &["wuasync-refresh.timer", "wuasync-scan.timer", "wuasync-cleanup.timer", "wuasync-scrub.timer"],
            false => &["wuasync-pull.timer", "wuasync-cleanup.timer", "wuasync-scrub.timer"],
        };
        let socket = self.is_on_the_socket().then_some(SOCKET);
        let units = socket.into_iter().chain([SERVICE]).chain(timers.iter().copied());
        units.filter(|unit| self.facts.units.contains(*unit)).collect()
    }

    /// Whether hosts are served on the very ports of the socket unit.
    fn is_on_the_socket(&self) -> bool {
        let mut ports = self.ports().peekable();
        ports.peek().is_some() && ports.all(|port| SOCKET_PORTS.contains(&port))
    }

    fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.choices.text(Key::Listen).split(", ").filter_map(|address| address.rsplit(':').next()?.parse().ok())
    }

    fn units(&self, must_reload: bool, is_changed: bool) -> Vec<Step> {
        if !self.has_units() {
            return Vec::new();
        }
        let mut steps = Vec::new();
        if must_reload {
            steps.push(command(&["systemctl", "daemon-reload"]));
        }
        let off = |unit: &&str| !self.facts.enabled.contains(*unit) || !self.facts.active.contains(*unit);
        let off: Vec<&str> = self.wanted_units().into_iter().filter(off).collect();
        if !off.is_empty() {
            steps.push(command(&[&["systemctl", "enable", "--now"], off.as_slice()].concat()));
        }
        if is_changed && self.facts.active.contains(SERVICE) {
            steps.push(command(&["systemctl", "restart", SERVICE]));
        }
        steps
    }

    fn joining(&self) -> Option<Step> {
        let joins = self.wanted.token && !self.is_joined();
        let as_user = ["runuser", "-u", self.user(), "--"].map(str::to_owned).to_vec();
        joins.then(|| Step::Command { words: [as_user, self.own(&["join", "-"])].concat(), input: Input::Token })
    }

    fn sealing(&self) -> Option<Step> {
        let can_be = self.has_units() || self.has_line_key();
        let seals = self.wanted.passphrase && can_be && !self.is_sealed();
        let file = self.wanted.keys_file.display().to_string();
        let words = self.own(&["backup", &file, "--keys-only", "--passphrase-file", "-"]);
        seals.then_some(Step::Command { words, input: Input::Passphrase })
    }

    fn has_line_key(&self) -> bool {
        self.on_disk.contains_key(&state_dir(self.facts).join(layout::LINE_KEY))
    }

    fn is_sealed(&self) -> bool {
        self.on_disk.contains_key(&self.wanted.keys_file)
    }

    fn by_hand(&self) -> Vec<String> {
        self.leaving_wapt().into_iter().chain(self.foreign_folders()).collect()
    }

    /// One program at a time writes a folder.
    fn leaving_wapt(&self) -> Option<String> {
        let sync = self.facts.agent_ini.as_ref().and_then(|ini| ini.repo_sync.as_ref()).filter(|sync| sync.enabled)?;
        let folders = self.choices.folders();
        let ours = |name: &&String| folders.iter().any(|(chosen, _)| chosen == *name);
        let shared: Vec<&str> = sync.folders.iter().filter(ours).map(String::as_str).collect();
        if shared.is_empty() || self.choices.is_main() {
            return None;
        }
        let rest: Vec<&str> = sync.folders.iter().filter(|name| !ours(name)).map(String::as_str).collect();
        let (line, why) = if shared.contains(&"wapt") || rest.is_empty() {
            ("enable_remote_repo = False".to_owned(), "WAPT's sync must be off where `wapt` is mirrored")
        } else {
            (format!("remote_repo_dirs = {}", rest.join(",")), "`waptwua` must leave `remote_repo_dirs`")
        };
        Some(format!(
            "in /opt/wapt/wapt-get.ini, section [repo-sync], write `{line}`, and restart the agent: `systemctl restart \
             waptservice`. {why}: else WAPT and wuasync both write {}, and WAPT deletes what its own list lacks",
            shared.join(" and ")
        ))
    }

    fn foreign_folders(&self) -> Vec<String> {
        let foreign = self.choices.folders().into_iter().filter_map(|(_, path)| {
            let there = self.on_disk.get(&path).filter(|it| it.user != self.user())?;
            let (user, group, path) = (self.user(), self.group(), path.display());
            Some(format!(
                "{path} belongs to {}, and the daemon runs as {user}: `chown -R {user}:{group} {path}`, else files can't \
                 be added there",
                there.user
            ))
        });
        foreign.collect()
    }

    fn next(&self) -> Vec<String> {
        let mut next = Vec::new();
        if !self.has_units() {
            let why = if self.facts.has_systemd {
                "no systemd units of wuasync are installed"
            } else {
                "systemd does not run here"
            };
            let serve = self.own(&["serve"]).join(" ");
            let (user, group) = (self.user(), self.group());
            next.push(format!("{why}: start it with `runuser -u {user} -g {group} -G {ADMIN_GROUP} -- {serve}`"));
        }
        if self.choices.text(Key::Listen).starts_with("127.") {
            next.push("let the web server hand on what is not there: `wuasync config nginx` says how".to_owned());
        }
        if self.choices.is_main() {
            if !self.is_sealed() && self.sealing().is_none() {
                next.push(
                    "keep the line key elsewhere, sealed: `wuasync backup FILE --keys-only --passphrase-file P`; without it \
                     a lost main means that every site is paired anew"
                        .to_owned(),
                );
            }
            let folders = self.choices.folders();
            let waptwua = folders.iter().find(|(name, _)| name == "waptwua").or(folders.first());
            let cab = waptwua.map(|(_, path)| path.join("wsusscn2.cab").display().to_string()).unwrap_or_default();
            next.push(format!(
                "say whom you believe to sign editions: `wuasync cab verify {cab}`, then `wuasync cab trust {cab}`"
            ));
            next.push("invite a secondary: `wuasync pair invite NAME` prints a token, good for an hour".to_owned());
        } else if !self.is_joined() && !self.wanted.token {
            let name = self.choices.text(Key::Name);
            next.push(format!(
                "on the main `wuasync pair invite {name}`, and here `wuasync setup --token-file -` with that token"
            ));
        }
        next.push("`wuasync doctor` looks whether all is right".to_owned());
        next
    }
}

fn command(words: &[&str]) -> Step {
    Step::Command { words: words.iter().map(|word| (*word).to_owned()).collect(), input: Input::None }
}

#[cfg(test)]
mod tests;
