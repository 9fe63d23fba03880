//! `wapt-get.ini`, the configuration of a WAPT agent: what is of use here of `[global]`, and `[repo-sync]`, by which an
//! agent mirrors folders of its server.

use super::ini::Ini;
use crate::base::units;
use jiff::civil::Time;
use std::time::Duration;

const GLOBAL: &str = "global";
const SYNC: &str = "repo-sync";

/// An agent's configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentIni {
    /// The repository of packages, `https://srv/wapt`.
    pub repo_url: Option<String>,
    /// The server, `https://srv`.
    pub wapt_server: Option<String>,
    /// Whether `rules.json` of the server chooses the repository.
    pub use_repo_rules: Option<bool>,
    /// What the agent mirrors; `None` where there is no such section.
    pub repo_sync: Option<RepoSync>,
}

/// WAPT's own replication, with WAPT's defaults for what is not set.
#[derive(Debug, Clone, PartialEq)]
pub struct RepoSync {
    /// Whether it is on.
    pub enabled: bool,
    /// What the folders lie in.
    pub path: String,
    /// Which folders.
    pub folders: Vec<String>,
    /// Between two looks. WAPT ignores it where there is a window.
    pub period: Option<Duration>,
    /// From and to when files may travel, in local time.
    pub window: Option<(Time, Time)>,
    /// The limit's number: documented as Mbit/s, applied as MiB/s.
    pub limit: Option<f64>,
    /// Whose folders they are, where that is not the server.
    pub remote_repo_url: Option<String>,
    /// Keys whose values make no sense.
    pub not_understood: Vec<String>,
}

impl AgentIni {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Self {
        let ini = Ini::parse(text);
        let value = |key| ini.value(GLOBAL, key).map(str::to_owned);
        Self {
            repo_url: value("repo_url"),
            wapt_server: value("wapt_server"),
            use_repo_rules: ini.flag(GLOBAL, "use_repo_rules"),
            repo_sync: ini.entries().iter().any(|entry| entry.section == SYNC).then(|| RepoSync::read(&ini)),
        }
    }
}

impl RepoSync {
    fn read(ini: &Ini) -> Self {
        let mut not_understood = Vec::new();
        let from = given(ini, "local_repo_time_for_sync_start", wall_time, &mut not_understood);
        let to = given(ini, "local_repo_time_for_sync_end", wall_time, &mut not_understood);
        let period = given(ini, "local_repo_sync_task_period", units::parse_duration, &mut not_understood);
        let limit = given(ini, "local_repo_limit_bandwidth", limit, &mut not_understood);
        let folders = ini.list(SYNC, "remote_repo_dirs").unwrap_or_else(|| vec!["wapt", "waptwua"]);
        Self {
            enabled: ini.flag(SYNC, "enable_remote_repo").unwrap_or(false),
            path: ini.value(SYNC, "local_repo_path").unwrap_or("/var/www/").to_owned(),
            folders: folders.into_iter().map(str::to_owned).collect(),
            period,
            window: from.zip(to).filter(|(from, to)| from != to),
            limit: limit.filter(|limit| *limit > 0.0),
            remote_repo_url: ini.value(SYNC, "remote_repo_url").map(str::to_owned),
            not_understood,
        }
    }
}

/// A value that is set; one that makes no sense is noted.
fn given<T>(ini: &Ini, key: &str, read: fn(&str) -> Option<T>, not_understood: &mut Vec<String>) -> Option<T> {
    let found = read(ini.value(SYNC, key)?);
    if found.is_none() {
        not_understood.push(key.to_owned());
    }
    found
}

/// `22:30`, and also `2:5`.
fn wall_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    Time::new(hour.trim().parse().ok()?, minute.trim().parse().ok()?, 0, 0).ok()
}

fn limit(text: &str) -> Option<f64> {
    text.parse().ok().filter(|limit: &f64| limit.is_finite() && *limit >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(hour: i8, minute: i8) -> Time {
        Time::constant(hour, minute, 0, 0)
    }

    #[test]
    fn replication_is_read_with_its_window_period_and_limit() {
        let text = "[global]\nrepo_url = https://srv/wapt\nwapt_server=https://srv\nuse_repo_rules = True\n\
                    [repo-sync]\nenable_remote_repo = True\nlocal_repo_path = /srv/www\nremote_repo_dirs = wapt, waptwua,wads\n\
                    local_repo_time_for_sync_start = 23:30\nlocal_repo_time_for_sync_end = 5:5\n\
                    local_repo_sync_task_period = 2h\nlocal_repo_limit_bandwidth = 10\n";
        let ini = AgentIni::parse(text);
        assert_eq!((ini.repo_url.as_deref(), ini.use_repo_rules), (Some("https://srv/wapt"), Some(true)));
        assert_eq!(ini.wapt_server.as_deref(), Some("https://srv"));
        let sync = ini.repo_sync.unwrap();
        assert_eq!((sync.enabled, sync.path.as_str()), (true, "/srv/www"));
        assert_eq!(sync.folders, ["wapt", "waptwua", "wads"]);
        assert_eq!(sync.window, Some((time(23, 30), time(5, 5))));
        assert_eq!((sync.period, sync.limit), (Some(Duration::from_secs(7_200)), Some(10.0)));
        assert!(sync.not_understood.is_empty());
    }

    #[test]
    fn what_is_not_set_is_as_wapt_has_it_and_what_makes_no_sense_is_named() {
        assert_eq!(AgentIni::parse("[global]\nrepo_url=x\n").repo_sync, None);
        let text = "[repo-sync]\nlocal_repo_time_for_sync_start = 25:00\nlocal_repo_limit_bandwidth = fast\nlocal_repo_sync_task_period=x\n";
        let sync = AgentIni::parse(text).repo_sync.unwrap();
        assert_eq!(
            (sync.enabled, sync.path.as_str(), sync.folders),
            (false, "/var/www/", vec!["wapt".to_owned(), "waptwua".to_owned()])
        );
        assert_eq!((sync.window, sync.limit, sync.period), (None, None, None));
        let odd = ["local_repo_time_for_sync_start", "local_repo_sync_task_period", "local_repo_limit_bandwidth"];
        assert_eq!(sync.not_understood, odd);
        let half = AgentIni::parse("[repo-sync]\nlocal_repo_time_for_sync_start=1:00\n").repo_sync.unwrap();
        assert_eq!(half.window, None, "half a window is none");
    }
}
