//! `wuasync cleanup`.

use crate::{
    base::{
        clock::{Clock, SystemClock},
        units,
    },
    cli::{
        context::Context,
        error::CliError,
        exit::Exit,
        out::{Style, printable},
        progress,
        table::Table,
    },
    daemon::api::{self, CleanupReply, CleanupRequest, UndoReply},
};
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Only tell what would go, and why
    #[arg(long)]
    dry_run: bool,
    /// Also more than the cap on deletions lets go
    #[arg(long)]
    force: bool,
    /// Make so much room: what is in the trash goes first, the oldest first; then files go past the trash, the least
    /// asked for first, as far as the plan lets them
    #[arg(long, value_name = "SIZE", value_parser = size)]
    free: Option<u64>,
    /// Also files that belong to no known update, where nobody asked for them in 90 days
    #[arg(long)]
    unknown: bool,
    #[command(subcommand)]
    command: Option<CleanupCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum CleanupCommand {
    /// Bring back what the last cleanup let go, as far as it rests in the trash
    Undo,
}

fn size(text: &str) -> Result<u64, String> {
    units::parse_bytes(text).ok_or_else(|| format!("{text:?} is no size; write it as 20GiB"))
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    match args.command {
        Some(CleanupCommand::Undo) => undo(context).await,
        None => clean_up(args, context).await,
    }
}

async fn clean_up(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let Args { dry_run, force, free, unknown, .. } = *args;
    let mut client = context.client().await?;
    let spinner = progress::spinner("looking at files, updates and hosts");
    let reply = client.post(api::CLEANUP, &CleanupRequest { dry_run, force, free, unknown }).await;
    spinner.finish_and_clear();
    let reply: CleanupReply = reply?;
    context.out().answer(&reply, |style| page(&reply, free, style, SystemClock.unix_seconds()))?;
    Ok(if reply.withheld.is_some() { Exit::Refused } else { Exit::Done })
}

fn page(reply: &CleanupReply, free: Option<u64>, style: Style, now: u64) -> String {
    let mut page = String::new();
    if !reply.leaving.is_empty() {
        let mut table = Table::new(&[">SIZE", "LAST USE", "FILE", "WHY"]);
        for file in &reply.leaving {
            let age = Duration::from_secs(now.saturating_sub(file.last_use));
            table.row([
                units::bytes(file.size),
                format!("{} ago", units::duration(age)),
                printable(&file.name),
                file.why.clone(),
            ]);
        }
        page += &table.show(style, "");
        page.push('\n');
    }
    for staying in &reply.staying {
        let stay = if staying.files == 1 { "stays" } else { "stay" };
        page += &format!("{} {stay}: {}\n", files(staying.files, staying.bytes), staying.why);
    }
    match reply.hosts {
        None if reply.staying.is_empty() && reply.leaving.is_empty() => {}
        None => page += "nothing was ever told of any host: only what nobody asked for may go\n",
        Some(1) => page += "1 host is known\n",
        Some(hosts) => page += &format!("{hosts} hosts are known\n"),
    }
    let (many, bytes) = (reply.leaving.len() as u64, reply.leaving.iter().map(|file| file.size).sum());
    let trash = files(reply.trash_files, reply.trash_bytes);
    page += &match (reply.dry_run, reply.withheld) {
        (true, _) if reply.trash_files > 0 => {
            format!("{} would go, and {trash} would leave the trash", files(many, bytes))
        }
        (true, _) => format!("{} would go", files(many, bytes)),
        (false, Some(allowed)) => format!(
            "nothing went: {many} files are more than the {allowed} that the cap lets go at once; `wuasync cleanup --force` \
             lets them go"
        ),
        (false, None) if reply.trash_files > 0 => {
            format!("{} went to the trash, and {trash} left it for good", files(reply.files, reply.bytes))
        }
        (false, None) => {
            format!("{} went to the trash; `wuasync cleanup undo` brings them back", files(reply.files, reply.bytes))
        }
    };
    if let Some(free) = free.filter(|free| reply.withheld.is_none() && bytes + reply.trash_bytes < *free) {
        page += &format!("; there is nothing more to let go, and {} were asked for", units::bytes(free));
    }
    page
}

fn files(many: u64, bytes: u64) -> String {
    format!("{} with {}", units::count(many, "file"), units::bytes(bytes))
}

async fn undo(context: &Context) -> Result<Exit, CliError> {
    let spinner = progress::spinner("bringing files back");
    let reply = context.client().await?.post(api::CLEANUP_UNDO, &()).await;
    spinner.finish_and_clear();
    let reply: UndoReply = reply?;
    context.out().answer(&reply, |_| undone(reply))?;
    Ok(Exit::Done)
}

fn undone(reply: UndoReply) -> String {
    let UndoReply { at, files, bytes, lost } = reply;
    match (at, lost) {
        (None, _) => "no cleanup is there to undo".to_owned(),
        (Some(_), 0) => {
            format!("{files} files with {} are back; they are as young as if they had just come", units::bytes(bytes))
        }
        (Some(_), lost) => format!(
            "{files} files with {} are back; {lost} have left the trash, or another file has their name",
            units::bytes(bytes)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::out::Out,
        daemon::api::{LeavingFile, StayingFiles},
    };

    #[test]
    fn a_plan_names_each_file_with_its_reason_and_what_stays_with_theirs() {
        let reply = CleanupReply {
            dry_run: true,
            hosts: Some(3),
            leaving: vec![LeavingFile {
                name: "a\x1b.cab".to_owned(),
                size: 2048,
                why: "no host has it".to_owned(),
                last_use: 100,
            }],
            staying: vec![StayingFiles { why: "needed by a host".to_owned(), files: 2, bytes: 10 }],
            ..CleanupReply::default()
        };
        let text = page(&reply, None, Out::new(false).style(), 100 + 86_400);
        for part in ["a\u{fffd}.cab", "no host has it", "1 d 0 h ago", "2 files with 10 B stay: needed by a host"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.ends_with("3 hosts are known\n1 file with 2.0 KiB would go"), "{text}");
        let short = page(&reply, Some(1 << 30), Out::new(false).style(), 100);
        assert!(short.ends_with("would go; there is nothing more to let go, and 1.0 GiB were asked for"), "{short}");
        let withheld = CleanupReply { dry_run: false, withheld: Some(0), hosts: None, ..reply };
        let text = page(&withheld, None, Out::new(false).style(), 100);
        assert!(text.contains("nothing was ever told of any host") && text.contains("--force"), "{text}");
    }
}
