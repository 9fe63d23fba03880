//! Asking once, or again and again.

use super::{page, watch::Bars};
use crate::{
    base::clock::{Clock, SystemClock},
    cli::{client::Client, context::Context, error::CliError, exit::Exit, progress},
    daemon::api::{self, StateReport, StatusReport},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on until Ctrl-C; on a terminal with a bar for every transfer
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client().await?;
    let report = client.get(api::STATUS).await?;
    show(&report, context)?;
    if args.watch { watch(client, report, context).await } else { Ok(Exit::Done) }
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
    StatusReport { state, ..without_bars(report) }
}

fn show(report: &StatusReport, context: &Context) -> Result<(), CliError> {
    context.out().answer(report, |style| page::page(report, SystemClock.unix_seconds(), style))
}
