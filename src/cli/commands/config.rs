//! `wuasync config check` and `wuasync config show`.

use super::nginx;
use crate::{
    cli::{context::Context, error::CliError, exit::Exit},
    daemon,
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Config {
    /// Find every mistake, by file and line
    Check(Args),
    /// Show the settings in effect, defaults included and passwords masked
    Show(Args),
    /// Print what nginx needs to serve hosts beside the daemon
    Nginx(nginx::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// With this setting changed
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(super) fn run(command: &Config, context: &Context) -> Result<Exit, CliError> {
    match command {
        Config::Check(args) => check(args, context),
        Config::Show(args) => show(args, context),
        Config::Nginx(args) => nginx::run(args, context),
    }
}

fn check(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let config = context.config(&args.set)?;
    let problems = daemon::inspect(&config);
    let answer = serde_json::json!({ "not_in_effect": config.not_in_effect, "problems": problems });
    context.out().answer(&answer, |_| {
        let notes = config.not_in_effect.iter().map(|key| format!("not in effect in this version: {key}\n"));
        let problems = problems.iter().map(|problem| format!("{problem}\n"));
        let verdict = if problems.len() == 0 {
            "the configuration is right"
        } else {
            "the text is right, and a daemon of this user could not start with it"
        };
        notes.chain(problems).collect::<String>() + verdict
    })?;
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Usage })
}

fn show(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let config = context.config_or_defaults(&args.set)?;
    if context.out().is_json() {
        context.out().json(&config)?;
    } else {
        context.out().text(&config.to_toml().map_err(|error| CliError::Format(error.to_string()))?)?;
    }
    Ok(Exit::Done)
}
