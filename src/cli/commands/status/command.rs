//! Asking once, or again and again.

use super::{page, watch::Bars};
use crate::{
    base::clock::{Clock, SystemClock},
    cli::{client::Client, context::Context, error::CliError, exit::Exit, progress},
    daemon::api::{self, StatusReport},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on until Ctrl-C; on a terminal with a bar for every transfer
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client().await?;
    show(&client.get(api::STATUS).await?, context)?;
    if args.watch { watch(client, context).await } else { Ok(Exit::Done) }
}

async fn watch(mut client: Client, context: &Context) -> Result<Exit, CliError> {
    let mut bars = Bars::default();
    let draws = context.out().is_terminal() && !context.out().is_json();
    loop {
        tokio::time::sleep(progress::POLL).await;
        let report: StatusReport = client.get(api::STATUS).await?;
        if draws {
            bars.show(&report);
        } else {
            show(&report, context)?;
        }
    }
}

fn show(report: &StatusReport, context: &Context) -> Result<(), CliError> {
    context.out().answer(report, |style| page::page(report, SystemClock.unix_seconds(), style))
}
