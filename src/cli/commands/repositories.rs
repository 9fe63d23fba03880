//! `wuasync repositories list`, `nearest`, `test`, `distance`, and `rules list|add|move|remove`.

use super::{agent, files::folder_name};
use crate::{
    agent::course::Place,
    base::units,
    cli::{
        client::percent_encoded,
        context::Context,
        error::CliError,
        exit::Exit,
        out::{Style, printable},
        table::Table,
    },
    daemon::api::{
        self, DistanceRequest, MoveRequest, NearestReply, RepositoryReport, RepositoryRuleReport,
        RepositoryRuleRequest, RepositoryRulesReport,
    },
    domain::{member::SiteName, name::FolderName, nearest::RuleName},
};
use std::{net::IpAddr, path::PathBuf, time::Duration};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Repositories {
    /// List every repository: who lacks what, and when it was heard of
    List,
    /// Show where a host would pull from, and why
    Nearest(NearestArgs),
    /// Ask every repository that a host would pull from whether it answers, as that host would, from this machine
    Test(TestArgs),
    /// Say how far two sites are from each other, in whatever unit; run this at the main
    Distance(DistanceArgs),
    /// Say which hosts belong to which repository
    #[command(subcommand)]
    Rules(Rules),
}

#[derive(Debug, clap::Args)]
pub(crate) struct NearestArgs {
    /// The host: its address or its name
    host: String,
    /// A file that it needs
    #[arg(long)]
    file: Option<String>,
    /// The file's folder [default: waptwua]
    #[arg(long, value_parser = folder_name)]
    folder: Option<FolderName>,
    /// The host's DNS domain
    #[arg(long)]
    domain: Option<String>,
    /// The host's Active Directory site
    #[arg(long)]
    site: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    nearest: NearestArgs,
    /// A PEM file: an authority to believe besides the machine's; may be repeated
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
}

/// What a repository answered.
#[derive(Debug, serde::Serialize)]
struct Tested {
    name: Option<String>,
    url: String,
    asked: String,
    answers: bool,
    size: Option<u64>,
    why: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DistanceArgs {
    /// One site
    one: SiteName,
    /// The other
    other: SiteName,
    /// Their distance, smaller being nearer
    #[arg(required_unless_present = "unset")]
    distance: Option<u32>,
    /// Say nothing of it any longer
    #[arg(long, conflicts_with = "distance")]
    unset: bool,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Rules {
    /// List rules in their order, and WAPT's after them
    List,
    /// Add a rule, or put it in the place of the one of its name; run this at the main
    Add(AddArgs),
    /// Move a rule to another place; run this at the main
    Move {
        /// The rule
        name: RuleName,
        /// Its place, the first being 1
        place: u32,
    },
    /// Remove a rule; run this at the main
    Remove {
        /// The rule
        name: RuleName,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The rule's name
    name: RuleName,
    /// Where its hosts pull from: a member's name, or the address of a repository
    #[arg(long)]
    to: String,
    #[command(flatten)]
    condition: ConditionArgs,
    /// Its hosts are those of which the condition does not hold
    #[arg(long)]
    not: bool,
    /// Its hosts go nowhere else
    #[arg(long)]
    no_fallback: bool,
    /// The proxy through which its hosts go there
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Its number: smaller ones are looked at first [default: behind the last]
    #[arg(long)]
    sequence: Option<u32>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ConditionArgs {
    /// Hosts with an address in this network
    #[arg(long, value_name = "NETWORK")]
    agent_ip: Option<String>,
    /// Hosts that are seen from this network
    #[arg(long, value_name = "NETWORK")]
    public_ip: Option<String>,
    /// Hosts of this DNS domain; * and ? stand for any text and any character
    #[arg(long)]
    domain: Option<String>,
    /// Hosts of this Active Directory site
    #[arg(long)]
    site: Option<String>,
    /// Hosts of this name
    #[arg(long)]
    hostname: Option<String>,
}

impl ConditionArgs {
    /// Kind and value; clap has seen to it that there is one.
    fn into_parts(self) -> Option<(&'static str, String)> {
        let kinds = [
            ("AGENT IP", self.agent_ip),
            ("PUBLIC IP", self.public_ip),
            ("DOMAIN", self.domain),
            ("SITE", self.site),
            ("HOSTNAME", self.hostname),
        ];
        kinds.into_iter().find_map(|(kind, value)| Some((kind, value?)))
    }
}

pub(super) async fn run(command: Repositories, context: &Context) -> Result<Exit, CliError> {
    match command {
        Repositories::List => {
            let list: Vec<RepositoryReport> = context.client().await?.get(api::REPOSITORIES).await?;
            context.out().answer(&list, |style| repositories(&list, style))?;
        }
        Repositories::Nearest(args) => {
            let reply: NearestReply = context.client().await?.get(&nearest_path(&args)).await?;
            context.out().answer(&reply, |style| places(&reply, style))?;
        }
        Repositories::Test(args) => return test(&args, context).await,
        Repositories::Distance(DistanceArgs { one, other, distance, unset: _ }) => {
            let request = DistanceRequest { one, other, distance };
            let reply: DistanceRequest = context.client().await?.post(api::DISTANCES, &request).await?;
            context.out().answer(&reply, |_| distance_line(&reply))?;
        }
        Repositories::Rules(command) => rules(command, context).await?,
    }
    Ok(Exit::Done)
}

/// With a file: whether each has it. Without: whether each lives.
async fn test(args: &TestArgs, context: &Context) -> Result<Exit, CliError> {
    let reply: NearestReply = context.client().await?.get(&nearest_path(&args.nearest)).await?;
    let client = agent::client(&args.ca)?;
    let mut tested = Vec::new();
    for place in reply.places {
        let asked = place.file_url.unwrap_or_else(|| format!("{}/healthz", place.url));
        let (url, name, proxy) = (place.url, place.name, place.proxy);
        let probe = Place { url: url.clone(), file_url: asked.clone(), name: name.clone(), proxy };
        let answer = client.probe(&probe).await;
        let (answers, size, why) = match answer {
            Ok(about) => (true, about.size, None),
            Err(fault) => (false, None, Some(fault.to_string())),
        };
        tested.push(Tested { name, url, asked, answers, size, why });
    }
    context.out().answer(&tested, |style| tested_table(&tested, style))?;
    let is_well = !tested.is_empty() && tested.iter().all(|tested| tested.answers);
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

fn tested_table(tested: &[Tested], style: Style) -> String {
    if tested.is_empty() {
        return "no repository can be used".to_owned();
    }
    let mut table = Table::new(&["NAME", "ASKED", "ANSWER"]);
    for tested in tested {
        let answer = tested.why.clone().unwrap_or_else(|| "it answers".to_owned());
        table.row([tested.name.clone().unwrap_or_default(), tested.asked.clone(), answer]);
    }
    table.show(style, "")
}

async fn rules(command: Rules, context: &Context) -> Result<(), CliError> {
    let mut client = context.client().await?;
    match command {
        Rules::List => {
            let report: RepositoryRulesReport = client.get(api::REPOSITORY_RULES).await?;
            context.out().answer(&report, |style| rule_tables(&report, style))
        }
        Rules::Add(args) => {
            let AddArgs { name, to, condition, not, no_fallback, proxy, sequence } = args;
            let Some((condition, value)) = condition.into_parts() else {
                return Err(CliError::Usage("give a condition, such as --agent-ip 10.1.0.0/16".to_owned()));
            };
            let condition = condition.to_owned();
            let request =
                RepositoryRuleRequest { name, sequence, condition, value, negation: not, no_fallback, to, proxy };
            let reply: RepositoryRuleReport = client.post(api::REPOSITORY_RULES, &request).await?;
            context.out().answer(&reply, |style| added(&reply, style))
        }
        Rules::Move { name, place } => {
            let report: RepositoryRulesReport = client.post(api::MOVE_RULE, &MoveRequest { name, place }).await?;
            context.out().answer(&report, |style| rule_tables(&report, style))
        }
        Rules::Remove { name } => {
            let path = format!("{}?name={}", api::REPOSITORY_RULES, percent_encoded(name.as_str()));
            let reply: RepositoryRuleReport = client.delete(&path).await?;
            context.out().answer(&reply, |_| format!("{} is removed", reply.name))
        }
    }
}

fn added(rule: &RepositoryRuleReport, style: Style) -> String {
    let goes = format!("{} goes to {}", rule.name, rule.to);
    rule.unused.as_ref().map_or_else(|| goes.clone(), |why| format!("{goes}; {}: {why}", style.alarm("not used")))
}

fn nearest_path(args: &NearestArgs) -> String {
    let mut pairs = vec![if args.host.parse::<IpAddr>().is_ok() { ("ip", &args.host) } else { ("host", &args.host) }];
    pairs.extend(args.file.as_ref().map(|file| ("file", file)));
    pairs.extend(args.domain.as_ref().map(|domain| ("domain", domain)));
    pairs.extend(args.site.as_ref().map(|site| ("site", site)));
    let mut query: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key}={}", percent_encoded(value))).collect();
    query.extend(args.folder.as_ref().map(|folder| format!("folder={folder}")));
    format!("{}?{}", api::NEAREST, query.join("&"))
}

fn repositories(list: &[RepositoryReport], style: Style) -> String {
    if list.is_empty() {
        return "no repository is known: this node has not joined a line".to_owned();
    }
    let mut table =
        Table::new(&["NAME", "SITE", "ROLE", "HEARD", ">LACKS", ">BYTES", ">ARRIVING", ">RTT", "FOR HOSTS AT"]);
    for repository in list {
        let heard = match (repository.is_here, repository.silent_seconds) {
            (true, _) => "here".to_owned(),
            (_, Some(seconds @ ..60)) => format!("{seconds} s ago"),
            (_, Some(seconds)) => format!("{} ago", units::duration(Duration::from_secs(seconds))),
            (_, None) => "never".to_owned(),
        };
        // Nobody said what it lacks.
        let is_known = repository.is_here || repository.silent_seconds.is_some();
        let told = |text: String| if is_known { text } else { String::new() };
        table.row([
            repository.name.clone(),
            repository.site.clone(),
            repository.role.to_string(),
            heard,
            told(repository.lag_files.to_string()),
            told(units::bytes(repository.lag_bytes)),
            told(format!("{}/s", units::bytes(repository.arriving_bytes_per_second))),
            repository.round_trip_ms.map_or_else(String::new, |ms| format!("{ms} ms")),
            repository.url.clone().unwrap_or_else(|| "nowhere: set its http.public_url".to_owned()),
        ]);
    }
    table.show(style, "")
}

fn places(reply: &NearestReply, style: Style) -> String {
    let mut text = match reply.places.is_empty() {
        true => "no repository can be used\n".to_owned(),
        false => {
            let mut table = Table::new(&[">", "NAME", "HAS IT", "AT", "WHY"]);
            for (number, place) in (1..).zip(&reply.places) {
                let has = match place.holds {
                    Some(true) => "yes",
                    Some(false) => "fetches it",
                    None => "",
                };
                table.row([
                    number.to_string(),
                    place.name.clone().unwrap_or_default(),
                    has.to_owned(),
                    place.url.clone(),
                    place.reason.clone(),
                ]);
            }
            table.show(style, "")
        }
    };
    if reply.is_unknown {
        let file = printable(reply.file.as_deref().unwrap_or_default());
        text +=
            &format!("{file} is in no signed state: it comes only if the main was told of it, else all answer 404\n");
    }
    for passed in &reply.passed_over {
        text += &format!("{} is passed over: {}\n", printable(&passed.who), printable(&passed.why));
    }
    text
}

fn rule_tables(report: &RepositoryRulesReport, style: Style) -> String {
    let mut text = rule_table(&report.rules, style);
    if text.is_empty() {
        text = "no rules: add one with `wuasync repositories rules add`\n".to_owned();
    }
    if !report.wapt.is_empty() {
        text += &format!("{}\n{}", style.bold("WAPT's rules"), rule_table(&report.wapt, style));
    }
    if let Some(error) = &report.wapt_error {
        text += &format!("{}\n", style.alarm(&printable(error)));
    }
    let distances = report.distances.iter().map(|distance| distance_line(distance) + "\n");
    text + &distances.collect::<String>()
}

fn rule_table(rules: &[RepositoryRuleReport], style: Style) -> String {
    let mut table = Table::new(&[">", "NAME", "CONDITION", "TO", "", "NOT USED"]);
    for rule in rules {
        let not = if rule.negation { "not " } else { "" };
        let mut notes = Vec::new();
        notes.extend(rule.no_fallback.then(|| "no fallback".to_owned()));
        notes.extend(rule.proxy.as_ref().map(|proxy| format!("through {proxy}")));
        table.row([
            rule.sequence.to_string(),
            rule.name.clone(),
            format!("{not}{} {}", rule.condition, rule.value),
            rule.to.clone(),
            notes.join(", "),
            rule.unused.clone().unwrap_or_default(),
        ]);
    }
    table.show(style, "")
}

fn distance_line(distance: &DistanceRequest) -> String {
    let DistanceRequest { one, other, distance } = distance;
    match distance {
        Some(distance) => format!("from {one} to {other}: {distance}"),
        None => format!("nothing is said of the distance of {one} and {other}"),
    }
}
