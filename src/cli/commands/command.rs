//! Which command is meant.

use super::{
    backup, cab, check, completions, config, doctor, files, join, pair, refresh, restore, scrub, serve, setup, status,
    sync, updates, want,
};
use crate::cli::{context::Context, demo, error::CliError, exit::Exit};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run the daemon
    Serve(serve::Args),
    /// See a main and a secondary at work on this machine
    Demo(demo::Args),
    /// How this node is: folders, parent, children, and what needs a hand
    Status(status::Args),
    /// Look at mirrored files
    #[command(subcommand)]
    Files(files::Files),
    /// Say which files the main has to fetch
    #[command(subcommand, visible_alias = "wants")]
    Want(want::Want),
    /// Look for updates of Microsoft's index
    #[command(subcommand)]
    Updates(updates::Updates),
    /// Ask Microsoft for another edition of its index, at the main
    Refresh(refresh::Args),
    /// Look at what runs when
    #[command(subcommand)]
    Jobs(refresh::Jobs),
    /// Invite other nodes, list them, shut them out
    #[command(subcommand)]
    Pair(pair::Pair),
    /// Make this machine a main or a secondary, by questions or options
    Setup(setup::Args),
    /// Redeem an invitation
    Join(join::Args),
    /// Catch up with the parent at once
    Sync(sync::Args),
    /// Look whether machine, network and what hosts get are as they should be
    Doctor,
    /// Read and verify every file
    Check,
    /// Write what a lost main is brought back from
    Backup(backup::Args),
    /// Bring a main back from a backup, while its daemon is stopped
    Restore(restore::Args),
    /// Verify files at once, and heal what rotted
    Scrub(scrub::Args),
    /// Look into cabinets (CAB files)
    #[command(subcommand)]
    Cab(cab::Cab),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Config),
    /// Write completions for a shell
    Completions(completions::Args),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Serve(args) => serve::run(&args, context),
            Self::Demo(args) => demo::run(&args, context.out()),
            Self::Status(args) => context.wait_for(status::run(&args, context)),
            Self::Files(files) => context.wait_for(files::run(&files, context)),
            Self::Want(want) => context.wait_for(want::run(want, context)),
            Self::Updates(updates) => context.wait_for(updates::run(&updates, context)),
            Self::Refresh(args) => context.wait_for(refresh::run(&args, context)),
            Self::Jobs(jobs) => context.wait_for(refresh::jobs(&jobs, context)),
            Self::Pair(pair) => context.wait_for(pair::run(pair, context)),
            Self::Setup(args) => setup::run(args, context),
            Self::Join(args) => context.wait_for(join::run(args, context)),
            Self::Sync(args) => context.wait_for(sync::run(&args, context)),
            Self::Doctor => context.wait_for(doctor::run(context)),
            Self::Check => context.wait_for(check::run(context)),
            Self::Backup(args) => context.wait_for(backup::run(args, context)),
            Self::Restore(args) => restore::run(&args, context),
            Self::Scrub(args) => context.wait_for(scrub::run(&args, context)),
            Self::Cab(cab) => cab::run(&cab, context),
            Self::Config(config) => config::run(&config, context),
            Self::Completions(args) => completions::run(&args, context.out()),
        }
    }
}
