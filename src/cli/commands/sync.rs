//! `wuasync sync`.

use crate::{
    base::units,
    cli::{client::Client, context::Context, error::CliError, exit::Exit, progress},
    daemon::api::{self, AcceptDeletionsReply, StatusReport, SyncReply},
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// End when every file is here; on a main, when every folder is scanned
    #[arg(long)]
    wait: bool,
    #[command(subcommand)]
    command: Option<SyncCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum SyncCommand {
    /// Sign the deletions that were held back because they are many
    AcceptDeletions,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    match args.command {
        Some(SyncCommand::AcceptDeletions) => accept_deletions(context).await,
        None => sync(args, context).await,
    }
}

async fn sync(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client().await?;
    let mut lag: SyncReply = client.post(api::SYNC, &()).await?;
    let was_asked_to_scan = lag.scanning;
    if args.wait {
        lag = wait(&mut client, lag).await?;
    }
    context.out().answer(&lag, |_| answer(lag, was_asked_to_scan))?;
    Ok(Exit::Done)
}

fn answer(lag: SyncReply, was_asked_to_scan: bool) -> String {
    let withheld =
        format!("{} deletions wait: run `wuasync sync accept-deletions`, or put the files back", lag.withheld_files);
    let scan = match lag.scanning {
        true => "every folder is being scanned; `wuasync sync --wait` waits for it",
        false => "every folder is scanned",
    };
    match lag {
        SyncReply { withheld_files: 1.., .. } => format!("{scan}\n{withheld}"),
        _ if was_asked_to_scan => scan.to_owned(),
        SyncReply { missing_files: 0, .. } => "every file is here".to_owned(),
        SyncReply { missing_files, missing_bytes, .. } => {
            format!("the newest state is here; {missing_files} files with {} follow", units::bytes(missing_bytes))
        }
    }
}

async fn wait(client: &mut Client, mut lag: SyncReply) -> Result<SyncReply, CliError> {
    let bar = progress::bytes_bar("files".to_owned());
    let mut most = 0;
    while lag.missing_files > 0 || lag.scanning {
        tokio::time::sleep(progress::POLL).await;
        let status: StatusReport = client.get(api::STATUS).await?;
        lag = status.lag();
        most = lag.missing_bytes.max(most);
        bar.set_length(most);
        bar.set_position(most - lag.missing_bytes);
        bar.set_message(message(&status, lag));
    }
    bar.finish_and_clear();
    Ok(lag)
}

fn message(status: &StatusReport, lag: SyncReply) -> String {
    match &status.parent {
        Some(parent) if !parent.connected => "the parent is not connected".to_owned(),
        _ if lag.scanning => "scanning".to_owned(),
        _ => format!("{} files to come", lag.missing_files),
    }
}

async fn accept_deletions(context: &Context) -> Result<Exit, CliError> {
    let reply: AcceptDeletionsReply = context.client().await?.post(api::ACCEPT_DELETIONS, &()).await?;
    context.out().answer(&reply, |_| match reply.files {
        0 => "no deletions were waiting".to_owned(),
        files => format!("{files} deletions are signed"),
    })?;
    Ok(Exit::Done)
}
