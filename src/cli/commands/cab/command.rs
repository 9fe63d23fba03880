//! Which subcommand is meant.

use super::{contents, diff, rollback, trust, verify};
use crate::cli::{commands::refresh, context::Context, error::CliError, exit::Exit};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Cab {
    /// Show header, folders, and whether a signature follows (which is not verified)
    Info(contents::InfoArgs),
    /// List the members
    List(contents::ListArgs),
    /// Verify who signed a cabinet, and that nothing was changed
    Verify(verify::Args),
    /// Look at who signed a cabinet, and believe them from here on
    Trust(trust::Args),
    /// Show which editions of Microsoft's index were published, and which attempts there were
    History,
    /// Show what one edition tells otherwise than another
    Diff(diff::Args),
    /// Take the published edition back and publish the one before again, at the main
    Rollback(rollback::Args),
}

pub(crate) fn run(command: &Cab, context: &Context) -> Result<Exit, CliError> {
    match command {
        Cab::Info(args) => contents::info(args, context),
        Cab::List(args) => contents::list(args, context),
        Cab::Verify(args) => verify::run(args, context),
        Cab::Trust(args) => trust::run(args, context),
        Cab::History => context.wait_for(refresh::history(context)),
        Cab::Diff(args) => context.wait_for(diff::run(args, context)),
        Cab::Rollback(args) => context.wait_for(rollback::run(args, context)),
    }
}
