//! `wuasync demo`: a main and a secondary on this machine, real in everything but their distance.
//!
//! Two daemons of this very binary run in a temporary directory with folders and states of their
//! own. The folder that is shown is linked or copied into the main's; the original is never touched.

mod http;
mod nodes;
mod story;
mod tree;

use super::{error::CliError, exit::Exit, out::Out};
use std::path::PathBuf;

/// Shows how a folder travels.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is mirrored; without it a small folder is made up
    folder: Option<PathBuf>,
    /// End after the checks, with exit code 0 or 1
    #[arg(long)]
    once: bool,
}

/// Runs until Ctrl-C, or with `--once` until everything was checked.
pub fn run(args: &Args, out: &Out) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(story::tell(args.folder.as_deref(), args.once, out))
}
