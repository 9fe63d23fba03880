//! Asking once, or again and again.

use super::{page, story, watch::Bars};
use crate::{
    base::clock::{Clock, SystemClock},
    cli::{
        client::{Client, percent_encoded},
        commands::files::{folder_name, placed},
        context::Context,
        error::CliError,
        exit::Exit,
        progress,
    },
    daemon::api::{self, FileStory, RepositoryReport, StateReport, StatusReport},
    domain::name::FolderName,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on until Ctrl-C; on a terminal with a bar for every transfer
    #[arg(long, conflicts_with = "name")]
    watch: bool,
    /// Explain one file: who wants it, where it comes from, how far it is, and what holds it back
    name: Option<String>,
    /// The file's folder
    #[arg(long, value_parser = folder_name, requires = "name")]
    folder: Option<FolderName>,
}

pub(crate) async fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    if let Some(name) = &args.name {
        return explain(name, args.folder.as_ref(), context).await;
    }
    let mut client = context.client().await?;
    let report = client.get(api::STATUS).await?;
    show(&report, context)?;
    if args.watch { watch(client, report, context).await } else { Ok(Exit::Done) }
}

async fn explain(name: &str, folder: Option<&FolderName>, context: &Context) -> Result<Exit, CliError> {
    let config = context.config_or_defaults(&[])?;
    let (folder, name) = placed(name, folder, &config.folders)?;
    let mut client = Client::connect(&config).await?;
    let story: FileStory = client.get(&format!("{}/{folder}/{}", api::STORY, percent_encoded(name))).await?;
    context.out().answer(&story, |style| story::page(&story, SystemClock.unix_seconds(), style))?;
    Ok(Exit::Done)
}

/// Back to the top of a terminal that is empty from there on.
const CLEAR: &str = "\x1b[H\x1b[2J";

async fn watch(mut client: Client, first: StatusReport, context: &Context) -> Result<Exit, CliError> {
    let mut bars = Bars::default();
    let mut drawn = lasting(first);
    let draws = context.out().is_terminal() && !context.out().is_json();
    loop {
        tokio::time::sleep(progress::POLL).await;
        let report: StatusReport = client.get(api::STATUS).await?;
        if draws {
            bars.show(&report);
            let now = lasting(report.clone());
            if now != drawn {
                drawn = now;
                let page = page::page(&without_bars(report), SystemClock.unix_seconds(), context.out().style());
                bars.suspend(|| context.out().text(&format!("{CLEAR}{page}")))?;
            }
        } else {
            show(&report, context)?;
        }
    }
}

/// What the page says beside the bars.
fn without_bars(report: StatusReport) -> StatusReport {
    StatusReport { transfers: Vec::new(), rates: Default::default(), ..report }
}

/// What does not change by the mere passing of time: a page is drawn again when this does.
fn lasting(report: StatusReport) -> StatusReport {
    let state = StateReport { head_age_seconds: None, ..report.state.clone() };
    let repositories = report.repositories.iter().map(|repository| RepositoryReport {
        silent_seconds: None,
        arriving_bytes_per_second: 0,
        load_bytes_per_second: 0,
        round_trip_ms: None,
        whole_at: None,
        ..repository.clone()
    });
    StatusReport { state, repositories: repositories.collect(), ..without_bars(report) }
}

fn show(report: &StatusReport, context: &Context) -> Result<(), CliError> {
    context.out().answer(report, |style| page::page(report, SystemClock.unix_seconds(), style))
}
