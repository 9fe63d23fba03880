//! `[waptwua]` of a `wapt-get.ini`: how an agent looks after Windows updates.
//!
//! Every option may be missing, and then nothing was said of it: an agent leaves alone what is unset. What makes no
//! sense is told with its line. An option whose value makes no sense counts as unset; in a list, the rest counts.

use super::ini::{Entry, Ini};
use crate::{
    base::units,
    domain::{
        host::HostSettings,
        rules::{Criterion, IniRules, ParseCriterionError},
    },
};
use std::{collections::BTreeSet, fmt, time::Duration};

/// Its name.
pub const SECTION: &str = "waptwua";

/// Python's words for yes and no.
const YES: [&str; 4] = ["1", "yes", "true", "on"];
const NO: [&str; 4] = ["0", "no", "false", "off"];

/// What kind of value an option has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no.
    Flag,
    /// A length of time: `7d`, `12h`, `30m`; a bare number is days.
    Period,
    /// Anything.
    Text,
    /// Parts between commas, each a criterion.
    List,
}

/// The options that are understood, as WAPT writes them.
pub const OPTIONS: [(&str, Kind); 20] = [
    ("enabled", Kind::Flag),
    ("direct_download", Kind::Flag),
    ("default_allow", Kind::Flag),
    ("download_scheduling", Kind::Period),
    ("install_scheduling", Kind::Period),
    ("install_at_shutdown", Kind::Flag),
    ("install_delay", Kind::Period),
    ("allowed_severities", Kind::List),
    ("include_potentially_superseded_updates", Kind::Flag),
    ("offline", Kind::Flag),
    ("allow_direct_download", Kind::Flag),
    ("filter", Kind::Text),
    ("allowed_products", Kind::List),
    ("allowed_classifications", Kind::List),
    ("allowed_updates", Kind::List),
    ("forbidden_updates", Kind::List),
    ("allowed_kbs", Kind::List),
    ("forbidden_kbs", Kind::List),
    ("postboot_delay", Kind::Period),
    ("user_locale", Kind::Text),
];

/// What the section says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WuaOptions {
    /// The agent looks after Windows updates; unset leaves Windows alone.
    pub enabled: Option<bool>,
    /// Files come from Microsoft.
    pub direct_download: Option<bool>,
    /// What no rule names is allowed.
    pub default_allow: Option<bool>,
    /// How often it looks for updates.
    pub download_scheduling: Option<Duration>,
    /// How often it installs them.
    pub install_scheduling: Option<Duration>,
    /// It installs when the machine is shut down.
    pub install_at_shutdown: Option<bool>,
    /// An update is held back for so long after its last change.
    pub install_delay: Option<Duration>,
    /// Updates that another one supersedes are not hidden.
    pub include_potentially_superseded_updates: Option<bool>,
    /// It looks through the index of the repository, and does not ask Microsoft's services.
    pub offline: Option<bool>,
    /// Files may come from Microsoft where the repository lacks them.
    pub allow_direct_download: Option<bool>,
    /// What Windows is asked for.
    pub filter: Option<String>,
    /// What is let through.
    pub allowed: BTreeSet<Criterion>,
    /// What is not.
    pub forbidden: BTreeSet<Criterion>,
}

/// Something in the file that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its line, the first being 1.
    pub line: usize,
    /// Its option.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// Whether rules may be other than was meant: a rule that forbids is lost, or an option.
    pub is_error: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grade = if self.is_error { "" } else { "passed over: " };
        write!(f, "line {}: {}: {grade}{}", self.line, self.key, self.what)
    }
}

impl WuaOptions {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> (Self, Vec<Problem>) {
        let ini = Ini::parse(text);
        let mut reading = Reading { ini: &ini, problems: Vec::new() };
        let (mut allowed, mut forbidden) = (BTreeSet::new(), BTreeSet::new());
        allowed.extend(reading.list("allowed_updates", Criterion::update));
        allowed.extend(reading.list("allowed_kbs", Criterion::kb));
        allowed.extend(reading.list("allowed_products", Criterion::product));
        allowed.extend(reading.list("allowed_severities", Criterion::severity));
        allowed.extend(reading.list("allowed_classifications", Criterion::classification));
        forbidden.extend(reading.list("forbidden_updates", Criterion::update));
        forbidden.extend(reading.list("forbidden_kbs", Criterion::kb));
        let options = Self {
            enabled: reading.flag("enabled"),
            direct_download: reading.flag("direct_download"),
            default_allow: reading.flag("default_allow"),
            download_scheduling: reading.period("download_scheduling"),
            install_scheduling: reading.period("install_scheduling"),
            install_at_shutdown: reading.flag("install_at_shutdown"),
            install_delay: reading.period("install_delay"),
            include_potentially_superseded_updates: reading.flag("include_potentially_superseded_updates"),
            offline: reading.flag("offline"),
            allow_direct_download: reading.flag("allow_direct_download"),
            filter: ini.value(SECTION, "filter").map(str::to_owned),
            allowed,
            forbidden,
        };
        reading.problems.sort_by_key(|problem| problem.line);
        (options, reading.problems)
    }

    /// What of it decides which updates are let through.
    pub fn rules(&self) -> IniRules {
        IniRules {
            settings: HostSettings {
                enabled: self.enabled,
                direct_download: self.direct_download,
                default_allow: self.default_allow,
                include_potentially_superseded_updates: self.include_potentially_superseded_updates,
                install_delay: self.install_delay.map(|delay| delay.as_secs()),
            },
            allowed: self.allowed.clone(),
            forbidden: self.forbidden.clone(),
        }
    }
}

/// What would be wrong with a value of an option; `Ok` also for options that nothing is known of.
pub fn check_value(key: &str, value: &str) -> Result<(), String> {
    let text = format!("[{SECTION}]\n{key} = {value}\n");
    let (_, problems) = WuaOptions::parse(&text);
    problems.into_iter().next().map_or(Ok(()), |problem| Err(problem.what))
}

struct Reading<'i> {
    ini: &'i Ini,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.ini.value(SECTION, key)?.to_ascii_lowercase();
        if YES.contains(&value.as_str()) || NO.contains(&value.as_str()) {
            return self.ini.flag(SECTION, key);
        }
        self.report(key, format!("{value:?} is neither True nor False"), true);
        None
    }

    fn period(&mut self, key: &str) -> Option<Duration> {
        let value = self.ini.value(SECTION, key)?;
        let period = units::parse_duration(value);
        if period.is_none() {
            self.report(key, format!("{value:?} is no length of time: write 7d, 12h, 30m, or a number of days"), true);
        }
        period
    }

    fn list(&mut self, key: &str, parse: fn(&str) -> Result<Criterion, ParseCriterionError>) -> Vec<Criterion> {
        let mut criteria = Vec::new();
        for part in self.ini.list(SECTION, key).unwrap_or_default() {
            match parse(part) {
                Ok(criterion) => criteria.push(criterion),
                // What is not let through can be let through later; what was to be forbidden must be.
                Err(error) => self.report(key, error.to_string(), key.starts_with("forbidden")),
            }
        }
        criteria
    }

    fn report(&mut self, key: &str, what: String, is_error: bool) {
        let is_it = |entry: &&Entry| entry.section == SECTION && entry.key == key;
        let line = self.ini.entries().iter().rfind(is_it).map_or(0, |entry| entry.lines.start + 1);
        self.problems.push(Problem { line, key: key.to_owned(), what, is_error });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of WAPT's own document.
    const EXAMPLE: &str = "[waptwua]\nenabled = True\ndefault_allow = False\ndirect_download = False\n\
        download_scheduling = 7d\ninstall_at_shutdown = True\ninstall_scheduling = 12h\ninstall_delay = 3d\n";

    fn read(text: &str) -> WuaOptions {
        let (options, problems) = WuaOptions::parse(text);
        assert_eq!(problems, [], "{text}");
        options
    }

    #[test]
    fn the_documents_example_is_read() {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        let expected = WuaOptions {
            enabled: Some(true),
            default_allow: Some(false),
            direct_download: Some(false),
            download_scheduling: days(7),
            install_at_shutdown: Some(true),
            install_scheduling: Some(Duration::from_secs(12 * 3_600)),
            install_delay: days(3),
            ..WuaOptions::default()
        };
        assert_eq!(read(EXAMPLE), expected);
        let rules = read(EXAMPLE).rules();
        assert_eq!((rules.settings.enabled, rules.settings.install_delay), (Some(true), Some(3 * 86_400)));
    }

    #[test]
    fn each_option_of_the_document_is_understood_alone_and_unset_is_untouched() {
        for (key, kind) in OPTIONS {
            let value = match (kind, key) {
                (Kind::Flag, _) => "True",
                (Kind::Period, _) => "30m",
                (Kind::Text, _) => "Type='Software'",
                (Kind::List, "allowed_severities") => "Critical, important",
                (Kind::List, "allowed_kbs" | "forbidden_kbs") => "KB1,2",
                (Kind::List, "allowed_updates" | "forbidden_updates") => "0fa1201d-4330-4fa8-8ae9-b877473b6441",
                (Kind::List, _) => "Windows 10",
            };
            let set = read(&format!("[waptwua]\n{key} = {value}\n"));
            assert_eq!(set == WuaOptions::default(), ["postboot_delay", "user_locale"].contains(&key), "{key}");
            for unset in ["", "None", " none "] {
                assert_eq!(read(&format!("[waptwua]\n{key} ={unset}\n")), WuaOptions::default(), "{key}");
            }
        }
        assert_eq!(read("[global]\nenabled = True\n[other]\nenabled = True\n"), WuaOptions::default());
    }

    #[test]
    fn lengths_of_time_have_their_units_and_days_by_themselves() {
        for (text, seconds) in [("7d", 604_800), ("12h", 43_200), ("30m", 1_800), ("15", 1_296_000), ("1 W", 604_800)] {
            let options = read(&format!("[waptwua]\ninstall_delay = {text}\n"));
            assert_eq!(options.install_delay, Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_by_line_and_the_rest_counts() {
        let text = "[global]\n[waptwua]\n# enabled = perhaps\nenabled = perhaps\ninstall_delay = soon\n\
            allowed_severities = Critical, Gravest\nforbidden_kbs = KB1,\n  KBx\nallowed_kbs = KB2, ?\n";
        let (options, problems) = WuaOptions::parse(text);
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "line 4: enabled: \"perhaps\" is neither True nor False",
                "line 5: install_delay: \"soon\" is no length of time: write 7d, 12h, 30m, or a number of days",
                "line 6: allowed_severities: passed over: \"Gravest\" is none of Critical, Important, Moderate and Low",
                "line 7: forbidden_kbs: \"KBx\" is no KB number",
                "line 9: allowed_kbs: passed over: \"?\" is no KB number",
            ]
        );
        assert_eq!((options.enabled, options.install_delay), (None, None));
        let rules = |texts: &[&str]| texts.iter().map(|text| Criterion::kb(text).unwrap()).collect::<BTreeSet<_>>();
        assert_eq!(options.forbidden, rules(&["1"]));
        let severity = Criterion::severity("critical").unwrap();
        assert_eq!(options.allowed, rules(&["2"]).into_iter().chain([severity]).collect());
    }

    #[test]
    fn a_value_is_checked_before_it_is_written() {
        assert_eq!(check_value("enabled", "True"), Ok(()));
        assert_eq!(check_value("enabled", ""), Ok(()));
        assert!(check_value("install_delay", "soon").is_err());
        assert!(check_value("allowed_severities", "Critical,Bad").is_err());
    }
}
