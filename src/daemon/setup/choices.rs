//! What a node will be: what was wished, else what is written already, else what WAPT does here, else what is usual.
//! Pure.

use super::{
    facts::Facts,
    key::{Key, OFF},
};
use crate::{
    daemon::config::{Config, Given, Window},
    domain::name::FolderName,
    wapt::agent_ini::RepoSync,
};
use std::{collections::BTreeMap, path::PathBuf};

/// What WAPT's replication has where nothing is set.
const MIB_IN_MEGABITS: f64 = 8.388_608;

/// A setting's value with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// In the form that [`Key::read`] gives.
    pub text: String,
    /// Why this one, for people.
    pub why: String,
}

/// A choice that can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// Nothing tells the role.
    #[error("nothing here tells whether this is a main or a secondary: add --role main, or --role secondary")]
    NoRole,
    /// A value that makes no sense.
    #[error("{flag}: {text}")]
    Wrong {
        /// The option.
        flag: &'static str,
        /// What is wrong, and what would be right.
        text: String,
    },
    /// A setting that such a node does not have.
    #[error("{flag} is not for a {role}")]
    NotForRole {
        /// The option.
        flag: &'static str,
        /// The role.
        role: String,
    },
}

/// Every setting of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    chosen: BTreeMap<Key, Choice>,
}

impl Choices {
    /// What was chosen for `key`; `None` where such a node has no such setting.
    pub fn get(&self, key: Key) -> Option<&Choice> {
        self.chosen.get(&key)
    }

    /// The value of `key`; empty where there is none.
    pub fn text(&self, key: Key) -> &str {
        self.get(key).map_or("", |choice| &choice.text)
    }

    /// Whether it is a main.
    pub fn is_main(&self) -> bool {
        self.text(Key::Role) == "main"
    }

    /// Folders with their paths.
    pub fn folders(&self) -> Vec<(String, PathBuf)> {
        let parts = self.text(Key::Folders).split(", ").filter_map(|part| part.split_once('='));
        parts.map(|(name, path)| (name.to_owned(), PathBuf::from(path))).collect()
    }

    /// All of them, in the order of the questions.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Choice)> {
        self.chosen.iter().map(|(key, choice)| (*key, choice))
    }
}

/// Decides every setting; `wishes` are texts as people write them.
pub fn choose(facts: &Facts, wishes: &BTreeMap<Key, String>) -> Result<Choices, ChoiceError> {
    let role = decide(Key::Role, facts, wishes, None)?.ok_or(ChoiceError::NoRole)?;
    let is_main = role.text == "main";
    if let Some(key) = wishes.keys().find(|key| !key.is_for(is_main)) {
        return Err(ChoiceError::NotForRole { flag: key.flag(), role: role.text });
    }
    let mut chosen = BTreeMap::from([(Key::Role, role)]);
    for key in Key::ALL.into_iter().filter(|key| *key != Key::Role && key.is_for(is_main)) {
        let choice = decide(key, facts, wishes, Some(&chosen))?;
        chosen.extend(choice.map(|choice| (key, choice)));
    }
    Ok(Choices { chosen })
}

fn decide(
    key: Key,
    facts: &Facts,
    wishes: &BTreeMap<Key, String>,
    chosen: Option<&BTreeMap<Key, Choice>>,
) -> Result<Option<Choice>, ChoiceError> {
    let (text, why) = match wishes.get(&key) {
        Some(wish) => (wish.clone(), "as you said".to_owned()),
        None => match proposal(key, facts, chosen) {
            Some(choice) => (choice.text, choice.why),
            None => return Ok(None),
        },
    };
    let text = key.read(&text).map_err(|text| ChoiceError::Wrong { flag: key.flag(), text })?;
    Ok(Some(Choice { text, why }))
}

/// What is taken for `key` where nobody says otherwise. `chosen` has what comes before it.
fn proposal(key: Key, facts: &Facts, chosen: Option<&BTreeMap<Key, Choice>>) -> Option<Choice> {
    let choice = |text: &str, why: &str| Some(Choice { text: text.to_owned(), why: why.to_owned() });
    if let Some((text, given)) = written(key, facts) {
        return choice(&text, &format!("as {} says", given.place));
    }
    let before = |key| chosen.and_then(|chosen: &BTreeMap<Key, Choice>| chosen.get(&key)).map(|choice| &*choice.text);
    let is_main = before(Key::Role) == Some("main");
    let sync = facts.agent_ini.as_ref().and_then(|ini| ini.repo_sync.as_ref());
    match key {
        Key::Role => role(facts, sync),
        Key::Name => choice(&facts.host_name, "the machine's name"),
        Key::Site => choice(before(Key::Name)?, "its name"),
        Key::Folders => Some(folders(facts, sync.filter(|_| !is_main), is_main)),
        Key::Listen if facts.sockets.has_tcp(80) => {
            choice("127.0.0.1:8080", "another web server has port 80: `wuasync config nginx` joins both")
        }
        Key::Listen => choice("0.0.0.0:80", "stock agents ask port 80"),
        Key::SyncListen => choice("0.0.0.0:4443", "the usual port"),
        Key::Advertise => {
            let port = before(Key::SyncListen).and_then(|listen| listen.rsplit(':').next()).unwrap_or("4443");
            let (host, why) = own_address(facts);
            choice(&format!("{host}:{port}"), why)
        }
        Key::CabUrl if facts.server_ini.is_some() => {
            choice(OFF, "the WAPT server brings wsusscn2.cab into the folder itself")
        }
        Key::CabUrl => Some(Choice { text: microsofts_cab()?, why: "Microsoft's permanent link".to_owned() }),
        Key::Window => window(sync).or_else(|| choice(OFF, "WAPT has none here")),
        Key::Limit => limit(sync.filter(|_| !is_main)).or_else(|| choice(OFF, "WAPT has none here")),
        Key::Pull => period(sync).or_else(|| choice("15m", "changes are told at once; this is for what gets lost")),
    }
}

/// The value in files, setup's own first; `None` where none has it.
fn written(key: Key, facts: &Facts) -> Option<(String, Given)> {
    [&facts.own, &facts.others].into_iter().find_map(|given| written_in(key, given))
}

/// The value in one set of files.
pub(super) fn written_in(key: Key, given: &BTreeMap<String, Given>) -> Option<(String, Given)> {
    let setting = key.setting();
    if key != Key::Folders {
        let found = given.get(setting)?;
        let is_off = found.text.is_empty() && !key.is_list();
        return Some((if is_off { OFF.to_owned() } else { found.text.clone() }, found.clone()));
    }
    let path_of = |(key, given): (&String, &Given)| {
        let name = key.strip_prefix("folder.")?.strip_suffix(".path")?;
        Some((format!("{name}={}", given.text), given.clone()))
    };
    let found: Vec<_> = given.iter().filter_map(path_of).collect();
    let first = found.first()?.1.clone();
    Some((found.into_iter().map(|(text, _)| text).collect::<Vec<_>>().join(", "), first))
}

fn role(facts: &Facts, sync: Option<&RepoSync>) -> Option<Choice> {
    let choice = |text: &str, why: &str| Some(Choice { text: text.to_owned(), why: why.to_owned() });
    if facts.server_ini.is_some() {
        return choice("main", "this is a WAPT server");
    }
    let sync = sync.filter(|sync| sync.enabled)?;
    choice("secondary", &format!("[repo-sync] of WAPT mirrors {} here", sync.folders.join(" and ")))
}

fn folders(facts: &Facts, sync: Option<&RepoSync>, is_main: bool) -> Choice {
    if let Some(sync) = sync {
        let known = |name: &&String| ["waptwua", "wapt"].contains(&name.as_str()) && FolderName::new(name).is_ok();
        let names: Vec<&str> = sync.folders.iter().filter(known).map(String::as_str).collect();
        let path = sync.path.trim_end_matches('/');
        let text = names.iter().map(|name| format!("{name}={path}/{name}")).collect::<Vec<_>>().join(", ");
        if !text.is_empty() {
            return Choice { text, why: "what [repo-sync] of WAPT mirrors".to_owned() };
        }
    }
    let web = facts.web_root.display();
    let waptwua = format!("waptwua={web}/waptwua");
    match facts.server_ini.as_ref().filter(|_| is_main) {
        None => Choice { text: waptwua, why: "WAPT's own place".to_owned() },
        Some(ini) => {
            let waptwua = ini.waptwua_folder.as_ref().map_or(waptwua, |path| format!("waptwua={path}"));
            let wapt = ini.wapt_folder.clone().unwrap_or_else(|| format!("{web}/wapt"));
            let why = "the WAPT server's folders; with `wapt` secondaries answer agents' probe of Packages";
            Choice { text: format!("{waptwua}, wapt={wapt}"), why: why.to_owned() }
        }
    }
}

/// What agents call the server, where this is one.
fn own_address(facts: &Facts) -> (String, &'static str) {
    let server = facts.agent_ini.as_ref().and_then(|ini| ini.wapt_server.as_deref());
    let host = server.and_then(|url| url.split("://").nth(1)?.split(['/', ':']).next()).filter(|host| !host.is_empty());
    match host.filter(|_| facts.server_ini.is_some()) {
        Some(host) => (host.to_owned(), "as agents know the WAPT server"),
        None => (facts.host_name.clone(), "the machine's name; secondaries must be able to look it up"),
    }
}

fn microsofts_cab() -> Option<String> {
    let config = Config::without_file(&[], "x").ok()?;
    config.upstream.cab_url.map(|url| url.as_str().to_owned())
}

fn window(sync: Option<&RepoSync>) -> Option<Choice> {
    let (from, to) = sync?.window?;
    let why = "the window of [repo-sync]; misses of hosts and wsusscn2.cab travel outside of it, too";
    Some(Choice { text: Window { from, to }.to_string(), why: why.to_owned() })
}

fn limit(sync: Option<&RepoSync>) -> Option<Choice> {
    let limit = sync?.limit?;
    let applied = limit * MIB_IN_MEGABITS;
    let why = format!(
        "local_repo_limit_bandwidth = {limit} is documented as {limit} Mbit/s, and WAPT applies it as {limit} MiB/s: to \
         go on with what was applied say --limit \"{applied:.0} Mbit/s\""
    );
    Some(Choice { text: format!("{limit} Mbit/s"), why })
}

fn period(sync: Option<&RepoSync>) -> Option<Choice> {
    let period = sync?.period.filter(|period| period.as_secs() > 0)?;
    let text = match period.as_secs() {
        seconds if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        seconds if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    };
    Some(Choice {
        text,
        why: "local_repo_sync_task_period of [repo-sync]; changes are told at once besides".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemon::config::given,
        wapt::{agent_ini::AgentIni, server_ini::ServerIni},
    };
    use std::path::Path;

    fn bare() -> Facts {
        Facts { host_name: "lyon".to_owned(), web_root: "/var/www".into(), ..Facts::default() }
    }

    fn with_agent(text: &str) -> Facts {
        Facts { agent_ini: Some(AgentIni::parse(text)), ..bare() }
    }

    fn wish(key: Key, text: &str) -> BTreeMap<Key, String> {
        BTreeMap::from([(key, text.to_owned())])
    }

    #[test]
    fn a_bare_machine_needs_its_role_and_nothing_else() {
        assert_eq!(choose(&bare(), &BTreeMap::new()), Err(ChoiceError::NoRole));
        let choices = choose(&bare(), &wish(Key::Role, "main")).unwrap();
        assert_eq!((choices.text(Key::Name), choices.text(Key::Site)), ("lyon", "lyon"));
        assert_eq!(choices.folders(), [("waptwua".to_owned(), PathBuf::from("/var/www/waptwua"))]);
        assert_eq!((choices.text(Key::Listen), choices.text(Key::Advertise)), ("0.0.0.0:80", "lyon:4443"));
        assert!(choices.text(Key::CabUrl).starts_with("http://go.microsoft.com/"));
        assert_eq!((choices.get(Key::Window), choices.text(Key::Limit)), (None, "off"));
    }

    #[test]
    fn a_secondary_of_wapt_keeps_its_folders_window_period_and_limit_with_units_spelled_out() {
        let facts = with_agent(
            "[repo-sync]\nenable_remote_repo=True\nlocal_repo_path=/srv/www/\nremote_repo_dirs=wads,wapt,waptwua\n\
             local_repo_time_for_sync_start=22:30\nlocal_repo_time_for_sync_end=5:05\nlocal_repo_sync_task_period=2h\n\
             local_repo_limit_bandwidth=10\n",
        );
        let choices = choose(&facts, &BTreeMap::new()).unwrap();
        assert_eq!(choices.text(Key::Role), "secondary");
        assert_eq!(choices.text(Key::Folders), "wapt=/srv/www/wapt, waptwua=/srv/www/waptwua");
        assert_eq!((choices.text(Key::Window), choices.text(Key::Pull)), ("22:30-05:05", "2h"));
        let limit = choices.get(Key::Limit).unwrap();
        assert_eq!(limit.text, "10 Mbit/s");
        assert!(limit.why.contains("documented as 10 Mbit/s") && limit.why.contains("10 MiB/s"), "{}", limit.why);
        assert!(limit.why.contains("--limit \"84 Mbit/s\""), "{}", limit.why);
    }

    #[test]
    fn a_wapt_server_is_a_main_beside_its_web_server_and_brings_its_own_edition() {
        let mut facts = with_agent("[global]\nwapt_server = https://wapt.example.org:443/\n");
        facts.server_ini = Some(ServerIni::parse("[options]\nwaptwua_folder = /data/waptwua\n"));
        facts.sockets.tcp.insert("0.0.0.0:80".parse().unwrap());
        let choices = choose(&facts, &BTreeMap::new()).unwrap();
        assert_eq!((choices.text(Key::Role), choices.text(Key::CabUrl)), ("main", "off"));
        assert_eq!(choices.text(Key::Folders), "wapt=/var/www/wapt, waptwua=/data/waptwua");
        assert_eq!(choices.text(Key::Listen), "127.0.0.1:8080");
        assert_eq!(choices.text(Key::Advertise), "wapt.example.org:4443");
    }

    #[test]
    fn what_is_written_already_stays_and_what_was_said_wins() {
        let mut facts = bare();
        let text = "role = \"secondary\"\nname = \"a\"\n[http]\nlisten = []\n[mirror]\nwindow = \"\"\n[[folder]]\nname = \"waptwua\"\npath = \"/x\"\n";
        facts.others = given(text, Path::new("/etc/wuasync/wuasync.toml")).unwrap();
        facts.own = given("name = \"b\"\n", Path::new("/etc/wuasync/conf.d/setup.toml")).unwrap();
        let choices = choose(&facts, &wish(Key::Site, "Lyon")).unwrap();
        assert_eq!((choices.text(Key::Name), choices.text(Key::Site)), ("b", "Lyon"));
        assert_eq!((choices.text(Key::Folders), choices.text(Key::Window)), ("waptwua=/x", "off"));
        assert_eq!(choices.text(Key::Listen), "");
        assert_eq!(choices.get(Key::Role).unwrap().why, "as /etc/wuasync/wuasync.toml:1 says");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_option() {
        let mut wishes = wish(Key::Role, "main");
        wishes.insert(Key::Window, "20:00-21:00".to_owned());
        let error = choose(&bare(), &wishes).unwrap_err().to_string();
        assert_eq!(error, "--window is not for a main");
        let error = choose(&bare(), &wish(Key::Role, "boss")).unwrap_err().to_string();
        assert!(error.starts_with("--role: "), "{error}");
    }
}
