//! `wuasync rules`.

use crate::{
    base::{
        clock::{Clock, SystemClock},
        units,
    },
    cli::{
        client::percent_encoded,
        context::Context,
        error::CliError,
        exit::Exit,
        out::{Style, printable},
        table::Table,
    },
    daemon::{
        api::{
            self, EditRulesRequest, ImportRulesReply, ImportRulesRequest, RemoveRulesReply, RuleSetReport,
            TestRulesReply, TestRulesRequest, UpdateRulesReport,
        },
        ini_problems, ini_with, package_parts,
    },
    domain::{
        host::{HostSettings, Maturity},
        rules::{Criterion, ParseCriterionError, RuleChange, SetEdit, SetName},
        update::UpdateId,
    },
};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// Most bytes of a file of facts: thousands of updates.
const MAX_FACTS_BYTES: u64 = 3 << 20;

const ORDER: &str = "\
An update is let through or not in this order: what is forbidden is not, whatever else is said; what is allowed is; \
then the host's own rules decide, where it told what they say, and at last default_allow of wapt-get.ini. An UpdateID \
without a revision means all its revisions. Rules are changed at the main; every secondary has them.";

const FACTS: &str = "\
FILE.json is a report of one host as WAPT's agent writes it and `wuasync hosts import` takes it: \"uuid\", \
\"waptwua_status\", \"waptwua_updates\" and \"waptwua_updates_localstatus\". It is not kept.

Exit codes: 0 the host may have it (OK, PENDING, MISSING); 1 it may not (DISCARDED), or the work failed; 2 wrong usage; \
3 the daemon can't be reached.";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Rules {
    /// List rule sets, by name
    List,
    /// Show the rules of a set, or all, and what wapt-get.ini says
    Show {
        /// The set
        set: Option<SetName>,
    },
    /// Show who changed what and when, the newest first
    History,
    /// Let updates through
    #[command(after_help = ORDER)]
    Allow(EditArgs),
    /// Let updates not through, whatever else allows them
    #[command(after_help = ORDER)]
    Forbid(EditArgs),
    /// Take what was said of updates out of a set, or with --all remove the set
    #[command(after_help = ORDER)]
    Reset(ResetArgs),
    /// Say which hosts a set counts for: those of this maturity and of earlier ones
    Maturity {
        /// DEV, PREPROD or PROD
        maturity: Maturity,
        /// The set
        #[arg(long, default_value = SetName::DEFAULT)]
        set: SetName,
    },
    /// Take a rule package of WAPT, in place of the one before of its name
    Import {
        /// A .wapt file, or the folder of an unpacked one
        path: PathBuf,
        /// Take it though nobody in `rules.trusted_certificates` has signed it
        #[arg(long)]
        unsigned: bool,
    },
    /// Where an update stands for a host, and why
    #[command(after_help = FACTS)]
    Test {
        /// The host: its UUID or its name
        host: String,
        /// UpdateID and RevisionNumber
        #[arg(value_name = "GUID_REV")]
        update: UpdateId,
        /// A report of the host, in place of what it reported; see below
        #[arg(long, value_name = "FILE.json")]
        facts: Option<PathBuf>,
    },
    /// Look for mistakes in [waptwua] of a wapt-get.ini, or change an option of it
    Ini {
        /// The file
        #[arg(long, default_value = "/opt/wapt/wapt-get.ini")]
        file: PathBuf,
        /// An option and its value, as `install_delay=3d`; without a value it is taken out. Everything else stays
        #[arg(value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct EditArgs {
    #[command(flatten)]
    what: Criteria,
    /// The set
    #[arg(long, default_value = SetName::DEFAULT)]
    set: SetName,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    what: Criteria,
    /// The set
    #[arg(long, default_value = SetName::DEFAULT)]
    set: SetName,
    /// The whole set
    #[arg(long, conflicts_with_all = ["updates", "kb", "product", "severity", "classification"])]
    all: bool,
}

#[derive(Debug, clap::Args)]
struct Criteria {
    /// UpdateIDs, with or without _RevisionNumber, and articles (KB5087058)
    #[arg(value_name = "UPDATE|KB", value_parser = update_or_kb)]
    updates: Vec<Criterion>,
    /// Every update of an article; may be repeated
    #[arg(long, value_parser = Criterion::kb)]
    kb: Vec<Criterion>,
    /// Every update of a product; may be repeated
    #[arg(long, value_parser = Criterion::product)]
    product: Vec<Criterion>,
    /// Every update of a severity: Critical, Important, Moderate or Low; may be repeated
    #[arg(long, value_parser = Criterion::severity)]
    severity: Vec<Criterion>,
    /// Every update of a classification, such as SecurityUpdates; may be repeated
    #[arg(long, value_parser = Criterion::classification)]
    classification: Vec<Criterion>,
}

/// An article has letters before its number or no hyphen; anything else is an update.
fn update_or_kb(text: &str) -> Result<Criterion, ParseCriterionError> {
    if text.contains('-') { Criterion::update(text) } else { Criterion::kb(text) }
}

impl Criteria {
    fn all(self) -> Result<BTreeSet<Criterion>, CliError> {
        let Self { updates, kb, product, severity, classification } = self;
        let all: BTreeSet<_> = [updates, kb, product, severity, classification].into_iter().flatten().collect();
        let none = "say which updates: by UpdateID or KB, or with --product, --severity or --classification";
        if all.is_empty() { Err(CliError::Usage(none.to_owned())) } else { Ok(all) }
    }
}

pub(super) async fn run(command: Rules, context: &Context) -> Result<Exit, CliError> {
    match command {
        Rules::List => list(context).await,
        Rules::Show { set } => show(set.as_ref(), context).await,
        Rules::History => history(context).await,
        Rules::Allow(EditArgs { what, set }) => edit(set, SetEdit::Allow(what.all()?), context).await,
        Rules::Forbid(EditArgs { what, set }) => edit(set, SetEdit::Forbid(what.all()?), context).await,
        Rules::Reset(ResetArgs { set, all: true, .. }) => remove(&set, context).await,
        Rules::Reset(ResetArgs { what, set, .. }) => edit(set, SetEdit::Reset(what.all()?), context).await,
        Rules::Maturity { maturity, set } => edit(set, SetEdit::Maturity(maturity), context).await,
        Rules::Import { path, unsigned } => import(&path, unsigned, context).await,
        Rules::Test { host, update, facts } => test(host, update, facts.as_deref(), context).await,
        Rules::Ini { file, set } => ini(&file, &set, context),
    }
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let report: UpdateRulesReport = context.client().await?.get(api::UPDATE_RULES).await?;
    context.out().answer(&report, |style| {
        let mut table = Table::new(&["SET", "MATURITY", ">ALLOWS", ">FORBIDS", "ORIGIN"]);
        let count = |criteria: &BTreeSet<Criterion>| criteria.len().to_string();
        let UpdateRulesReport { ini, sets } = &report;
        table.row(["[waptwua]".to_owned(), String::new(), count(&ini.allowed), count(&ini.forbidden), {
            let options = options(&ini.settings);
            format!("wapt-get.ini{}{}", if options.is_empty() { "" } else { ": " }, options.join(", "))
        }]);
        for set in sets {
            let (allows, forbids) = (count(&set.allowed), count(&set.forbidden));
            table.row([set.name.to_string(), set.maturity.to_string(), allows, forbids, set.origin.to_string()]);
        }
        table.show(style, "")
    })?;
    Ok(Exit::Done)
}

/// What the configuration file says, as it is written there.
fn options(settings: &HostSettings) -> Vec<String> {
    let HostSettings { enabled, direct_download, default_allow, include_potentially_superseded_updates, install_delay } =
        settings;
    let flags = [
        ("enabled", enabled),
        ("direct_download", direct_download),
        ("default_allow", default_allow),
        ("include_potentially_superseded_updates", include_potentially_superseded_updates),
    ];
    let flags = flags.into_iter().filter_map(|(key, flag)| Some(format!("{key} = {}", flag.as_ref()?)));
    let delay =
        install_delay.map(|seconds| format!("install_delay = {}", units::duration(Duration::from_secs(seconds))));
    flags.chain(delay).collect()
}

async fn show(set: Option<&SetName>, context: &Context) -> Result<Exit, CliError> {
    let mut report: UpdateRulesReport = context.client().await?.get(api::UPDATE_RULES).await?;
    if let Some(wanted) = set {
        report.sets.retain(|set| set.name == *wanted);
        let Some(found) = report.sets.first() else {
            context.out().note(&format!("there is no rule set {wanted}; `wuasync rules list` lists them"));
            return Ok(Exit::Failed);
        };
        context.out().answer(found, |style| page(found, style))?;
        return Ok(Exit::Done);
    }
    context.out().answer(&report, |style| {
        let lines = options(&report.ini.settings).into_iter().map(|option| format!("  {option}\n"));
        let ini = criteria(&report.ini.allowed, &report.ini.forbidden);
        let ini = format!("{}\n{}{ini}", style.bold("[waptwua] of wapt-get.ini"), lines.collect::<String>());
        let sets: String = report.sets.iter().map(|set| format!("\n{}", page(set, style))).collect();
        format!("{ini}{sets}")
    })?;
    Ok(Exit::Done)
}

fn page(set: &RuleSetReport, style: Style) -> String {
    let heading = style.bold(&printable(&format!("{} ({}, {})", set.name, set.maturity, set.origin)));
    format!("{heading}\n{}", criteria(&set.allowed, &set.forbidden))
}

fn criteria(allowed: &BTreeSet<Criterion>, forbidden: &BTreeSet<Criterion>) -> String {
    let lines = |word: &'static str, criteria: &BTreeSet<Criterion>| {
        criteria.iter().map(|criterion| format!("  {word} {}\n", printable(&criterion.to_string()))).collect::<String>()
    };
    lines("forbid", forbidden) + &lines("allow ", allowed)
}

async fn history(context: &Context) -> Result<Exit, CliError> {
    let changes: Vec<RuleChange> = context.client().await?.get(api::RULE_CHANGES).await?;
    let now = SystemClock.unix_seconds();
    context.out().answer(&changes, |style| {
        let mut table = Table::new(&[">NUMBER", ">AGO", "WHO", "SET", "WHAT"]);
        for change in &changes {
            table.row([
                change.number.to_string(),
                units::duration(Duration::from_secs(now.saturating_sub(change.at))),
                change.by.clone(),
                change.set.as_ref().map_or_else(|| "[waptwua]".to_owned(), ToString::to_string),
                change.what.clone(),
            ]);
        }
        if changes.is_empty() { "no rule was changed yet\n".to_owned() } else { table.show(style, "") }
    })?;
    Ok(Exit::Done)
}

async fn edit(set: SetName, edit: SetEdit, context: &Context) -> Result<Exit, CliError> {
    let request = EditRulesRequest { set, edit };
    let reply: RuleSetReport = context.client().await?.post(api::UPDATE_RULES, &request).await?;
    context.out().answer(&reply, |style| page(&reply, style))?;
    Ok(Exit::Done)
}

async fn remove(set: &SetName, context: &Context) -> Result<Exit, CliError> {
    let path = format!("{}?set={}", api::UPDATE_RULES, percent_encoded(set.as_str()));
    let reply: RemoveRulesReply = context.client().await?.delete(&path).await?;
    context.out().answer(&reply, |_| format!("rule set {} is gone", reply.removed))?;
    Ok(Exit::Done)
}

async fn import(path: &Path, unsigned: bool, context: &Context) -> Result<Exit, CliError> {
    let parts = package_parts(path).map_err(|error| CliError::Usage(crate::base::chain::chain(&error)))?;
    let request = ImportRulesRequest { parts, unsigned };
    let reply: ImportRulesReply = context.client().await?.post(api::RULE_PACKAGES, &request).await?;
    context.out().answer(&reply, |style| {
        let remarks = reply.remarks.iter().map(|remark| format!("passed over: {}\n", printable(remark)));
        remarks.collect::<String>() + &page(&reply.set, style)
    })?;
    Ok(Exit::Done)
}

async fn test(host: String, update: UpdateId, facts: Option<&Path>, context: &Context) -> Result<Exit, CliError> {
    let facts = facts.map(read_facts).transpose()?;
    let request = TestRulesRequest { host, update, facts };
    let reply: TestRulesReply = context.client().await?.post(api::RULE_TEST, &request).await?;
    context.out().answer(&reply, |style| {
        let mut page = format!("{}: {}\n", style.bold(&reply.state), printable(&reply.why));
        if let Some(until) = reply.delayed_until {
            let left = until.saturating_sub(SystemClock.unix_seconds());
            page += &format!("the delay is over in {}\n", units::duration(Duration::from_secs(left)));
        }
        if !reply.reported {
            page += "the host did not report this update: it was judged as if Windows offered it\n";
        }
        let sets: Vec<_> = reply.sets.iter().map(SetName::as_str).collect();
        let sets = if sets.is_empty() { "none".to_owned() } else { sets.join(", ") };
        page + &format!("host {} is {}; rule sets that count for it: {sets}\n", reply.host, reply.maturity)
    })?;
    Ok(if reply.state == "DISCARDED" { Exit::Failed } else { Exit::Done })
}

fn read_facts(path: &Path) -> Result<serde_json::Value, CliError> {
    let unreadable = |source| CliError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(MAX_FACTS_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    let wrong = |why: String| CliError::Usage(format!("{}: {why}", path.display()));
    if bytes.len() as u64 > MAX_FACTS_BYTES {
        return Err(wrong(format!("more than {}", units::bytes(MAX_FACTS_BYTES))));
    }
    serde_json::from_slice(&bytes).map_err(|error| wrong(printable(&error.to_string())))
}

/// What `rules ini` found.
#[derive(serde::Serialize)]
struct IniAnswer {
    file: PathBuf,
    problems: Vec<String>,
}

fn ini(path: &Path, sets: &[String], context: &Context) -> Result<Exit, CliError> {
    let unusable = |source| CliError::File { path: path.to_owned(), source };
    if !sets.is_empty() {
        let before = fs::read_to_string(path).map_err(unusable)?;
        let mut text = before.clone();
        for set in sets {
            let Some((key, value)) = set.split_once('=') else {
                return Err(CliError::Usage(format!("{set:?} is no KEY=VALUE")));
            };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            let value = (!value.is_empty()).then_some(value);
            text = ini_with(&text, &key, value).map_err(|error| CliError::Usage(error.to_string()))?;
        }
        if text != before {
            replace(path, &text).map_err(unusable)?;
        }
    }
    let problems = ini_problems(path).map_err(unusable)?;
    let answer = IniAnswer { file: path.to_owned(), problems };
    context.out().answer(&answer, |_| match answer.problems.is_empty() {
        true => format!("[waptwua] of {} is right\n", path.display()),
        false => {
            answer.problems.iter().map(|problem| format!("{}, {}\n", path.display(), printable(problem))).collect()
        }
    })?;
    Ok(if answer.problems.is_empty() { Exit::Done } else { Exit::Failed })
}

/// A new file in the place of the old one, with its rights and its owner: whoever reads meanwhile reads one of them.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let path = fs::canonicalize(path)?;
    let before = fs::metadata(&path)?;
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(before.permissions())?;
    if let Err(error) = fchown(file.as_file(), Some(before.uid()), Some(before.gid())) {
        // Its owner may write it without being allowed to give files away.
        let made = file.as_file().metadata()?;
        if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
            return Err(error);
        }
    }
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_article_and_an_update_are_told_apart() {
        let guid = "0fa1201d-4330-4fa8-8ae9-b877473b6441";
        for (text, told) in [
            ("kb1".to_owned(), Some("KB1".to_owned())),
            ("5087058".to_owned(), Some("KB5087058".to_owned())),
            (guid.to_owned(), Some(format!("update {guid}"))),
            (format!("{guid}_3"), Some(format!("update {guid}_3"))),
            ("critical".to_owned(), None),
            (format!("{guid}_"), None),
        ] {
            assert_eq!(update_or_kb(&text).ok().map(|criterion| criterion.to_string()), told, "{text}");
        }
    }

    #[test]
    fn a_changed_file_keeps_its_rights() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wapt-get.ini");
        fs::write(&path, "a").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, "b").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "b");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
