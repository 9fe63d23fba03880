//! `wuasync refresh`.

use crate::{
    base::{
        clock::{Clock, SystemClock},
        units,
    },
    cli::{context::Context, error::CliError, exit::Exit, out::printable, progress, table::Table},
    daemon::api::{self, RefreshReport, RefreshRequest, RefreshesReport},
};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fetch and publish it even if it seems to be the published one
    #[arg(long)]
    force: bool,
    /// Ask nobody: show what was tried, and what is next
    #[arg(long, conflicts_with = "force")]
    history: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    if args.history {
        return history(context).await;
    }
    let mut client = context.client().await?;
    let spinner = progress::spinner("asking Microsoft for an edition; fetching and reading one takes some minutes");
    let report = client.post(api::REFRESH, &RefreshRequest { force: args.force }).await;
    spinner.finish_and_clear();
    let report: RefreshReport = report?;
    context.out().answer(&report, |_| outcome(&report))?;
    Ok(if report.outcome == "failed" { Exit::Failed } else { Exit::Done })
}

fn outcome(report: &RefreshReport) -> String {
    let size = report.cab_size.map(|size| format!(" ({})", units::bytes(size))).unwrap_or_default();
    match report.outcome.as_str() {
        "published" => format!("another edition is published{size}"),
        "skipped" => format!("Microsoft has the published edition{size}"),
        _ => format!("nothing is published: {}", printable(report.error.as_deref().unwrap_or("it failed"))),
    }
}

async fn history(context: &Context) -> Result<Exit, CliError> {
    let report: RefreshesReport = context.client().await?.get(api::REFRESH).await?;
    context.out().answer(&report, |style| {
        let now = SystemClock.unix_seconds();
        let mut table = Table::new(&["AGO", "TOOK", "CAB", ">SIZE", "OUTCOME", "WHY"]);
        for refresh in &report.refreshes {
            table.row([
                duration(now.saturating_sub(refresh.started_at)),
                duration(refresh.finished_at.saturating_sub(refresh.started_at)),
                refresh.cab_modified.and_then(date).unwrap_or_default(),
                refresh.cab_size.map(units::bytes).unwrap_or_default(),
                format!("{}{}", refresh.outcome, if refresh.forced { ", forced" } else { "" }),
                printable(refresh.error.as_deref().unwrap_or_default()),
            ]);
        }
        let tried =
            if report.refreshes.is_empty() { "nothing was tried yet\n".to_owned() } else { table.show(style, "") };
        format!("{}{}\n\n{tried}", edition(&report), next(&report, now))
    })?;
    Ok(Exit::Done)
}

fn edition(report: &RefreshesReport) -> String {
    match &report.edition {
        Some(edition) => format!(
            "edition of {}: {} updates, {} files\n",
            date(edition.created).unwrap_or_default(),
            edition.updates,
            edition.files
        ),
        None => "no edition is known\n".to_owned(),
    }
}

fn next(report: &RefreshesReport, now: u64) -> String {
    match (report.is_running, report.next_at, &report.why) {
        (true, ..) => "refresh-cab runs".to_owned(),
        (false, Some(at), Some(why)) => format!("refresh-cab in {}: {why}", duration(at.saturating_sub(now))),
        _ => "refresh-cab does not run here: the main does it".to_owned(),
    }
}

fn date(seconds: i64) -> Option<String> {
    jiff::Timestamp::from_second(seconds).ok().map(|at| at.strftime("%Y-%m-%d %H:%MZ").to_string())
}

fn duration(seconds: u64) -> String {
    units::duration(Duration::from_secs(seconds))
}
