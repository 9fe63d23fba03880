//! Which command is meant.

use super::{
    agent, backup, cab, check, cleanup, completions, config, doctor, files, hosts, jobs, join, man, pair, refresh,
    repositories, restore, rules, scrub, serve, setup, status, sync, updates, want,
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
    /// Let go what no host needs, or bring it back
    Cleanup(cleanup::Args),
    /// Look at Windows machines, and say whose reports are believed
    #[command(subcommand)]
    Hosts(hosts::Hosts),
    /// Look for updates of Microsoft's index
    #[command(subcommand)]
    Updates(updates::Updates),
    /// Say which updates hosts may have
    #[command(subcommand)]
    Rules(rules::Rules),
    /// Ask Microsoft for another edition of its index, at the main
    Refresh(refresh::Args),
    /// Look at what runs when, or run it
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// Invite other nodes, list them, shut them out
    #[command(subcommand)]
    Pair(pair::Pair),
    /// Make this machine a main or a secondary, by questions or options
    Setup(setup::Args),
    /// See how repositories stand, and which hosts belong to whom
    #[command(subcommand)]
    Repositories(repositories::Repositories),
    /// Pull files as a host does
    #[command(subcommand)]
    Agent(agent::Agent),
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
    /// Write the manual's pages
    #[command(hide = true)]
    Man(man::Args),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Serve(args) => serve::run(&args, context),
            Self::Demo(args) => demo::run(&args, context.out()),
            Self::Status(args) => context.wait_for(status::run(&args, context)),
            Self::Files(files) => context.wait_for(files::run(&files, context)),
            Self::Want(want) => context.wait_for(want::run(want, context)),
            Self::Cleanup(args) => context.wait_for(cleanup::run(&args, context)),
            Self::Hosts(hosts) => context.wait_for(hosts::run(&hosts, context)),
            Self::Updates(updates) => context.wait_for(updates::run(&updates, context)),
            Self::Rules(rules) => context.wait_for(rules::run(rules, context)),
            Self::Refresh(args) => context.wait_for(refresh::run(&args, context)),
            Self::Jobs(jobs) => context.wait_for(jobs::run(&jobs, context)),
            Self::Pair(pair) => context.wait_for(pair::run(pair, context)),
            Self::Setup(args) => setup::run(args, context),
            Self::Repositories(command) => context.wait_for(repositories::run(command, context)),
            Self::Agent(command) => context.wait_for(agent::run(command, context)),
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
            Self::Man(args) => man::run(&args),
        }
    }
}
