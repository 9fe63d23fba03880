//! `wuasync cab verify`.

use super::signature::{self, Reading};
use crate::{
    base::clock::{Clock, SystemClock},
    cli::{context::Context, error::CliError, exit::Exit},
    daemon,
};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The cabinet
    file: PathBuf,
    /// Believe the issuers in this file and nobody else; may be repeated [default: upstream.trust_roots, and what
    /// `cab trust` pinned]
    #[arg(long, value_name = "PEM")]
    root: Vec<PathBuf>,
    /// Believe these for time stamps; may be repeated [default: those of --root]
    #[arg(long, value_name = "PEM", requires = "root")]
    tsa_root: Vec<PathBuf>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let trust = match args.root.is_empty() {
        true => daemon::configured_trust(&context.config_or_defaults(&[])?)?,
        false => daemon::trust_in_files(&args.root, &args.tsa_root)?,
    };
    let reading = Reading::of(&args.file);
    let now = SystemClock.unix_seconds();
    let report = daemon::verify_signature(&args.file, &trust, now, &mut |read, len| reading.on_progress(read, len))?;
    drop(reading);
    context.out().answer(&report, |style| signature::page(&report, style) + "the signature holds\n")?;
    Ok(Exit::Done)
}
