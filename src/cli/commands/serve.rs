//! `wuasync serve`.

use crate::{
    cli::{context::Context, error::CliError, exit::Exit},
    daemon,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Change a setting for this run: --set 'http.listen=["127.0.0.1:0"]'
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    daemon::serve(context.config(&args.set)?, context.read_config(&args.set))?;
    Ok(Exit::Done)
}
