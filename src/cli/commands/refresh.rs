//! `wuasync refresh`.

use crate::{
    base::{
        clock::{Clock, SystemClock},
        units,
    },
    cli::{context::Context, error::CliError, exit::Exit, out::printable, progress, table::Table},
    daemon::api::{self, EditionReport, RefreshReport, RefreshRequest, RefreshesReport},
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
    let odd: String = report.oddities.iter().map(|odd| format!("\nodd: {}", printable(odd))).collect();
    match report.outcome.as_str() {
        "published" => format!("another edition is published{size}{odd}"),
        "skipped" => format!("Microsoft has the published edition{size}"),
        "withheld" => format!(
            "Microsoft has the edition that was taken back{size}: nothing is published; `wuasync refresh --force` \
             publishes it"
        ),
        _ => format!("nothing is published: {}", printable(report.error.as_deref().unwrap_or("it failed"))),
    }
}

pub(super) async fn history(context: &Context) -> Result<Exit, CliError> {
    let report: RefreshesReport = context.client().await?.get(api::REFRESH).await?;
    context.out().answer(&report, |style| {
        let now = SystemClock.unix_seconds();
        let mut table = Table::new(&["DATE", "TOOK", "CAB", ">SIZE", "OUTCOME", "WHY"]);
        for refresh in &report.refreshes {
            table.row([
                i64::try_from(refresh.started_at).ok().and_then(units::date).unwrap_or_default(),
                duration(refresh.finished_at.saturating_sub(refresh.started_at)),
                refresh.cab_modified.and_then(units::date).unwrap_or_default(),
                refresh.cab_size.map(units::bytes).unwrap_or_default(),
                format!("{}{}", refresh.outcome, if refresh.forced { ", forced" } else { "" }),
                printable(&refresh.error.clone().unwrap_or_else(|| refresh.oddities.join("; "))),
            ]);
        }
        let tried =
            if report.refreshes.is_empty() { "nothing was tried yet\n".to_owned() } else { table.show(style, "") };
        format!("{}{}\n\n{tried}", edition(&report), next(&report, now))
    })?;
    Ok(Exit::Done)
}

fn edition(report: &RefreshesReport) -> String {
    let told = |edition: &EditionReport| {
        let created = units::date(edition.created).unwrap_or_default();
        format!("edition of {created}: {} updates, {} files\n", edition.updates, edition.files)
    };
    let mut text = report.edition.as_ref().map_or_else(|| "no edition is known\n".to_owned(), told);
    if let Some(withdrawn) = &report.withdrawn {
        let (cab, at) = (units::date(withdrawn.modified), i64::try_from(withdrawn.at).ok().and_then(units::date));
        let (cab, at) = (cab.unwrap_or_default(), at.unwrap_or_default());
        text.push_str(&format!(
            "the cabinet of {cab} was taken back at {at}: it is published again by --force alone\n"
        ));
    }
    if let Some(kept) = &report.kept {
        let date = units::date(kept.modified).unwrap_or_default();
        text.push_str(&format!(
            "kept for `wuasync cab rollback`: the cabinet of {date}, {}\n",
            units::bytes(kept.size)
        ));
    }
    text
}

fn next(report: &RefreshesReport, now: u64) -> String {
    match (report.is_running, report.next_at, &report.why) {
        (true, ..) => "refresh-cab runs".to_owned(),
        (false, Some(at), Some(why)) => format!("refresh-cab in {}: {why}", duration(at.saturating_sub(now))),
        _ => "refresh-cab does not run here: it does on a main where `upstream.enabled` is true".to_owned(),
    }
}

fn duration(seconds: u64) -> String {
    units::duration(Duration::from_secs(seconds))
}
