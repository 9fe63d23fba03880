//! `wuasync agent pull`: the hosts' side.

mod shown;

use super::files::folder_name;
use crate::{
    agent::{
        client::AgentClient,
        course::Fault,
        pull::{Leg, PullFileError, Pulled, Settings, pull},
    },
    base::{clock::SystemClock, units},
    cli::{context::Context, error::CliError, exit::Exit, out::printable},
    domain::{
        name::{FileName, FolderName},
        nearest::{NearestQuery, RepositoryUrl},
    },
    wapt::host_report::read_report,
};
use shown::Shown;
use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

/// Largest list of wanted files that is read.
const MAX_LIST_BYTES: u64 = 16 << 20;

const HELP: &str = "\
The repositories of --from are asked which one is nearest to this host, in order, until one answers. A file is \
pulled from there, and goes on elsewhere, where it stopped, when that one dies or lags. What arrived stays after an \
interruption. A name that carries a SHA-1 is given only to bytes that have it; others are compared with the \
repository's ETag. Where nobody gives a file all are asked again until --patience ends \
or each has refused it twice.

--wanted FILE reads names, one to a line, and - reads them from standard input; `folder/name` for other folders. It also
takes what this host reports to its server, as JSON: then the files are wanted of updates that are allowed and neither
installed nor here, and what was asked for in vain.

Exit codes: 0 all are here; 1 one is not; 2 wrong usage; 5 interrupted.";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Agent {
    /// Pull files from the nearest repository
    Pull(PullArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct PullArgs {
    /// The files' names
    #[arg(value_name = "NAME", required_unless_present = "wanted")]
    names: Vec<String>,
    /// Read the names, or this host's own report, from a file or from standard input
    #[arg(long, value_name = "FILE|-")]
    wanted: Option<PathBuf>,
    /// A repository that knows the others, such as https://wapt.example.org; may be repeated
    #[arg(long, value_name = "URL", required = true)]
    from: Vec<RepositoryUrl>,
    /// The files' folder
    #[arg(long, value_parser = folder_name, default_value = "waptwua")]
    folder: FolderName,
    /// Where they are put
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
    /// A PEM file: an authority to believe besides the machine's; may be repeated
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// This host's addresses, with commas between them [default: as it is seen]
    #[arg(long)]
    ip: Option<String>,
    /// This host's name [default: its own]
    #[arg(long)]
    host: Option<String>,
    /// This host's DNS domain
    #[arg(long)]
    domain: Option<String>,
    /// This host's Active Directory site
    #[arg(long)]
    site: Option<String>,
    /// Leave a repository from which nothing comes for so long
    #[arg(long, default_value = "3s", value_parser = period)]
    stall: Duration,
    /// Leave a repository that gives fewer bytes per second, if there is another
    #[arg(long, value_name = "BYTES", default_value = "64 KiB", value_parser = rate)]
    least_rate: u64,
    /// Give a file up when nobody gave a byte for so long
    #[arg(long, default_value = "5m", value_parser = period)]
    patience: Duration,
}

fn period(text: &str) -> Result<Duration, String> {
    let period = units::parse_duration(text).filter(|period| !period.is_zero());
    period.ok_or_else(|| "write a number and one of s, m, h, d, w: 3s".to_owned())
}

fn rate(text: &str) -> Result<u64, String> {
    units::parse_bytes(text).ok_or_else(|| "write a number of bytes: 64 KiB".to_owned())
}

pub(super) async fn run(command: Agent, context: &Context) -> Result<Exit, CliError> {
    let Agent::Pull(args) = command;
    let files = files(&args)?;
    let client = client(&args.ca)?;
    let settings = Settings {
        from: args.from,
        host: NearestQuery {
            ip: args.ip,
            host: Some(args.host.unwrap_or_else(own_name)),
            domain: args.domain,
            site: args.site,
            ..NearestQuery::default()
        },
        stall: args.stall,
        least_rate: args.least_rate,
        patience: args.patience,
    };
    let mut exit = Exit::Done;
    for (folder, name) in &files {
        let mut shown = Shown::new(name, context.out());
        let pulled = pull(&client, &SystemClock, &settings, (folder, name), &args.to, &mut shown).await;
        shown.clear();
        match pulled {
            Ok(pulled) => context.out().answer(&pulled, |_| page(&pulled))?,
            Err(error) => {
                let (why, cure) = (crate::base::chain::chain(&error), cure(&error));
                let failed = serde_json::json!({ "folder": folder, "name": name, "error": why, "cure": cure });
                context.out().answer(&failed, |_| {
                    format!("{} is not here: {}\n  {cure}", printable(name.as_str()), printable(&why))
                })?;
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

/// What somebody can do about it. Whatever arrived stays, so it is always worth to run it again.
fn cure(error: &PullFileError) -> &'static str {
    match error {
        PullFileError::Disk { .. } => "make room on this disk or give another place (--to), and run this again",
        PullFileError::Nobody { fault, .. } => fault.as_ref().map_or("give another repository (--from)", Fault::cure),
        PullFileError::Wrong(_) => Fault::OtherContent.cure(),
    }
}

/// The way to repositories, for every command that asks them as a host does.
pub(super) fn client(authorities: &[PathBuf]) -> Result<AgentClient, CliError> {
    let read = |path: &PathBuf| fs::read(path).map_err(|source| CliError::File { path: path.clone(), source });
    let authorities = authorities.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    AgentClient::new(&authorities).map_err(|error| CliError::Usage(crate::base::chain::chain(&error)))
}

fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn files(args: &PullArgs) -> Result<Vec<(FolderName, FileName)>, CliError> {
    let mut names = args.names.clone();
    if let Some(path) = &args.wanted {
        let text = read_list(path).map_err(|source| CliError::File { path: path.clone(), source })?;
        names.extend(wanted(&text)?);
    }
    names.iter().map(|name| placed(name, &args.folder)).collect()
}

/// The names in a list, or those of the files that a host's report lacks.
fn wanted(text: &str) -> Result<Vec<String>, CliError> {
    if text.trim_start().starts_with('{') {
        let report = read_report(text.as_bytes(), None, 0)
            .map_err(|error| CliError::Usage(format!("--wanted: {}", crate::base::chain::chain(&error))))?;
        return Ok(report.lacking().into_iter().map(ToString::to_string).collect());
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn read_list(path: &PathBuf) -> io::Result<String> {
    let mut text = String::new();
    match path.as_os_str() == "-" {
        true => io::stdin().lock().take(MAX_LIST_BYTES).read_to_string(&mut text),
        false => fs::File::open(path)?.take(MAX_LIST_BYTES).read_to_string(&mut text),
    }?;
    Ok(text)
}

/// `folder/name` or a name of the usual folder.
fn placed(name: &str, usual: &FolderName) -> Result<(FolderName, FileName), CliError> {
    let (folder, name) = match name.split_once('/').map(|(folder, rest)| (FolderName::new(folder), rest)) {
        Some((Ok(folder), rest)) => (folder, rest),
        _ => (usual.clone(), name),
    };
    let wrong = |error| CliError::Usage(format!("{}: {error}", printable(name)));
    Ok((folder, FileName::new(name).map_err(wrong)?))
}

fn page(pulled: &Pulled) -> String {
    let place = printable(&format!("{}/{}", pulled.folder, pulled.name));
    if pulled.was_here {
        return format!("{place} was here, {}", units::bytes(pulled.size));
    }
    let proven = if pulled.is_proven { "SHA-1 proven" } else { "without a SHA-1 in its name" };
    let mut text = format!("{place} is here: {}, {proven}\n", units::bytes(pulled.size));
    if pulled.resumed > 0 {
        text += &format!("  {} were here from before\n", units::bytes(pulled.resumed));
    }
    pulled.legs.iter().for_each(|leg| text += &leg_line(leg));
    if pulled.wasted > 0 {
        text += &format!("  {} came for nothing\n", units::bytes(pulled.wasted));
    }
    text
}

fn leg_line(leg: &Leg) -> String {
    let who = printable(leg.name.as_deref().unwrap_or(&leg.url));
    let left = leg.left.as_ref().map(|left| format!(", left: {}", printable(left))).unwrap_or_default();
    format!("  {} from {who}, bytes {} to {}{left}\n", units::bytes(leg.to - leg.from), leg.from, leg.to)
}
