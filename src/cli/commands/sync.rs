//! `wuasync sync`.

use crate::{
    base::units,
    cli::{client::Client, context::Context, error::CliError, exit::Exit, out::printable, progress},
    daemon::api::{self, AcceptDeletionsReply, PruneReply, PruneRequest, StatusReport, SyncReply},
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
    /// Move files that no index names to the trash
    Prune(PruneArgs),
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct PruneArgs {
    /// Only tell what would go
    #[arg(long)]
    dry_run: bool,
    /// Also more than the cap on deletions lets go
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    match args.command {
        Some(SyncCommand::AcceptDeletions) => accept_deletions(context).await,
        Some(SyncCommand::Prune(args)) => prune(args, context).await,
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
        SyncReply { missing_files, missing_bytes, opens_at: Some(_), .. } => {
            let bytes = units::bytes(missing_bytes);
            format!(
                "the newest state is here; {missing_files} files with {bytes} wait until the window opens: see \
                 `wuasync status`"
            )
        }
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
        _ if lag.opens_at.is_some() => format!("the window is closed, {} files wait", lag.missing_files),
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

async fn prune(args: PruneArgs, context: &Context) -> Result<Exit, CliError> {
    let PruneArgs { dry_run, force } = args;
    let reply: PruneReply = context.client().await?.post(api::PRUNE, &PruneRequest { dry_run, force }).await?;
    context.out().answer(&reply, |_| pruned(&reply))?;
    Ok(Exit::Done)
}

fn pruned(reply: &PruneReply) -> String {
    let size = units::bytes(reply.bytes);
    let mut text = match (reply.files, reply.removed) {
        (0, _) => "no file is unlisted".to_owned(),
        (files, true) => format!("{files} unlisted files with {size} are in the trash"),
        (files, false) => format!("{files} unlisted files with {size} would go to the trash"),
    };
    if reply.removed {
        return text;
    }
    for name in &reply.examples {
        text += &format!("\n  {}", printable(name));
    }
    let unnamed = reply.files.saturating_sub(reply.examples.len() as u64);
    if unnamed > 0 {
        text += &format!("\n  and {unnamed} more: `wuasync files list --unlisted`");
    }
    reply.refused.iter().for_each(|why| text += &format!("\nrefused without --force: {why}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_names_what_would_go_and_what_stands_against_it() {
        let reply = PruneReply {
            files: 3,
            bytes: 2048,
            removed: false,
            examples: vec!["waptwua/a".to_owned(), "waptwua/b\x1b".to_owned()],
            refused: vec!["too many".to_owned()],
        };
        let expected = "3 unlisted files with 2.0 KiB would go to the trash\n  waptwua/a\n  waptwua/b\u{fffd}\n  \
                        and 1 more: `wuasync files list --unlisted`\nrefused without --force: too many";
        assert_eq!(pruned(&reply), expected);
        let gone = PruneReply { removed: true, ..reply };
        assert_eq!(pruned(&gone), "3 unlisted files with 2.0 KiB are in the trash");
    }
}
