//! `wuasync man`: the pages of the manual, for whoever makes a package.

use crate::cli::{Cli, error::CliError, exit::Exit};
use clap::CommandFactory;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory that they go to, one for each command
    directory: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<Exit, CliError> {
    std::fs::create_dir_all(&args.directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.directory))
        .map_err(|source| CliError::File { path: args.directory.clone(), source })?;
    Ok(Exit::Done)
}
