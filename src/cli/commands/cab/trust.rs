//! `wuasync cab trust`.

use super::{
    confirm::confirmed,
    signature::{self, Reading},
};
use crate::{
    base::clock::{Clock, SystemClock},
    cli::{context::Context, error::CliError, exit::Exit, out::printable},
    daemon::{self, SignatureReport},
};
use serde::Serialize;
use std::path::PathBuf;

/// What is asked.
const QUESTION: &str =
    "Believe whatever these issuers sign? Compare the fingerprints with those that they publish. [yes]";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The cabinet
    file: PathBuf,
    /// Do not ask: the fingerprints were compared already
    #[arg(long)]
    yes: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Trusted<'a> {
    signature: &'a SignatureReport,
    /// Files in the state folder.
    pinned: Vec<PathBuf>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let config = context.config_or_defaults(&[])?;
    let reading = Reading::of(&args.file);
    let now = SystemClock.unix_seconds();
    let candidate = daemon::inspect_signature(&args.file, now, &mut |read, len| reading.on_progress(read, len))?;
    drop(reading);
    let report = &candidate.report;
    let out = context.out();
    if !out.is_json() {
        out.text(&signature::page(report, out.style()))?;
    }
    let pinned = if args.yes || confirmed(context, QUESTION)? { daemon::pin(&config, &candidate)? } else { Vec::new() };
    let exit = if pinned.is_empty() { Exit::Refused } else { Exit::Done };
    out.answer(&Trusted { signature: report, pinned: pinned.clone() }, |_| match &pinned[..] {
        [] => "nothing is believed that was not before; compare the fingerprints, then add --yes".to_owned(),
        files => {
            let files = files.iter().map(|path| format!("  {}\n", printable(&path.display().to_string())));
            format!("believed from here on, until the files are removed:\n{}", files.collect::<String>())
        }
    })?;
    Ok(exit)
}
