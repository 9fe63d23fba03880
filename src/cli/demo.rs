//! `wuasync demo`: a main and a secondary on this machine, to look at.

use super::{error::CliError, exit::Exit, out::Out};
use std::path::PathBuf;

/// Shows how a folder travels.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is mirrored; without it a folder with a few files is made up
    folder: Option<PathBuf>,
    /// End once everything has arrived
    #[arg(long)]
    once: bool,
}

/// Runs it until Ctrl-C, or with `--once` until everything has arrived.
pub fn run(args: &Args, _out: &Out) -> Result<Exit, CliError> {
    let what = args.folder.as_ref().map_or("a demonstration".into(), |folder| folder.display().to_string());
    let how = if args.once { " once" } else { "" };
    Err(CliError::Failed(format!("{what} can't be shown{how} by this build")))
}
