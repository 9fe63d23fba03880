//! From options to a node that runs.

use super::{ask, page};
use crate::{
    base::chain::chain,
    cli::{context::Context, error::CliError, exit::Exit},
    daemon::{
        config::Config,
        setup::{
            self, ActError, Choice, ChoiceError, Choices, Facts, FactsError, Key, PlanError, Secrets, SetupPlan, Wanted,
        },
    },
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Tokens and passphrases are well below.
const MAX_SECRET_BYTES: u64 = 8 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// main: signs what exists here; secondary: mirrors a main
    #[arg(long)]
    role: Option<String>,
    /// How other nodes know this one
    #[arg(long)]
    name: Option<String>,
    /// Where it stands, for people
    #[arg(long)]
    site: Option<String>,
    /// A folder, such as waptwua=/var/www/waptwua; may be repeated
    #[arg(long, value_name = "NAME=PATH")]
    folder: Vec<String>,
    /// Where hosts are served, such as 0.0.0.0:80; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Where secondaries are served (UDP), such as 0.0.0.0:4443
    #[arg(long, value_name = "ADDRESS")]
    sync_listen: Option<String>,
    /// How secondaries reach this main; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Vec<String>,
    /// Where a main gets wsusscn2.cab; off where something else brings it
    #[arg(long, value_name = "URL|off")]
    cab_url: Option<String>,
    /// When files may travel to a secondary, local time, such as 20:30-05:30
    #[arg(long, value_name = "FROM-TO|off")]
    window: Option<String>,
    /// How much of the line they may take, such as "50 Mbit/s"
    #[arg(long, value_name = "RATE|off")]
    limit: Option<String>,
    /// How often a secondary asks its parent, which tells by itself, too
    #[arg(long, value_name = "PERIOD")]
    pull: Option<String>,
    /// The invitation that `wuasync pair invite` printed on the main; - reads it from standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Of a main: seals the line key with the passphrase in it; - reads it from standard input
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Where the sealed line key goes [default: /root/wuasync-NAME.keys]
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,
    /// Show every file with its contents and every command, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask: what is not said is taken as --dry-run shows it
    #[arg(long, short)]
    yes: bool,
    /// With --yes: also where somebody wrote something else
    #[arg(long)]
    overwrite: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// By setting.
    settings: BTreeMap<&'static str, Told<'a>>,
    #[serde(flatten)]
    plan: &'a SetupPlan,
    /// Whether the steps were done.
    done: bool,
}

#[derive(Debug, Serialize)]
struct Told<'a> {
    value: &'a str,
    why: &'a str,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit, CliError> {
    let config = context.config_path();
    let facts = setup::gather(Path::new("/"), config, &context.host_name()).map_err(facts_error)?;
    if !facts.is_root && !args.dry_run {
        let text = "setup makes users, folders and services: run it as root (`sudo wuasync setup`); `--dry-run` is for everybody";
        return Err(CliError::Refused(text.to_owned()));
    }
    let asks = io::stdin().is_terminal() && !context.out().is_json() && !args.yes && !args.dry_run;
    let mut wishes = wishes(&args);
    if asks {
        ask::every_setting(&facts, &mut wishes, context)?;
    }
    if args.token_file.is_some() && !wishes.contains_key(&Key::Role) {
        wishes.insert(Key::Role, "secondary".to_owned());
    }
    let choices = setup::choose(&facts, &wishes).map_err(choice_error)?;
    let secrets = secrets(&args, choices.is_main(), asks, context)?;
    let plan = plan(&args, &facts, &choices, &secrets)?;
    Config::load_with(config, &plan.texts(), &[], &context.host_name())?;
    if args.dry_run {
        return answer(&choices, &plan, false, context);
    }
    if !context.out().is_json() {
        context.out().text(&page::page(&choices, &plan, context.out().style()))?;
    }
    if !plan.steps.is_empty() {
        agree(&args, &plan, asks, context)?;
        let on_step = &mut |step: &setup::Step| context.out().note(&page::step_line(step));
        setup::act(&plan, &secrets, on_step).map_err(act_error)?;
    }
    done(&choices, &plan, context)
}

/// From files, or from whoever can be asked.
fn secrets(args: &Args, is_main: bool, asks: bool, context: &Context) -> Result<Secrets, CliError> {
    let token_file = match &args.token_file {
        None if asks && !is_main => ask::token_file(context)?,
        given => given.clone(),
    };
    let passphrase = match &args.passphrase_file {
        None if asks && is_main => ask::passphrase(context)?,
        given => secret(given.as_deref(), whole)?,
    };
    Ok(Secrets { token: secret(token_file.as_deref(), last_line)?, passphrase })
}

fn plan(args: &Args, facts: &Facts, choices: &Choices, secrets: &Secrets) -> Result<SetupPlan, CliError> {
    let usual = || PathBuf::from(format!("/root/wuasync-{}.keys", choices.text(Key::Name)));
    let wanted = Wanted {
        token: secrets.token.is_some(),
        passphrase: secrets.passphrase.is_some(),
        keys_file: args.keys_file.clone().unwrap_or_else(usual),
    };
    let on_disk = setup::look(&setup::places(facts, choices, &wanted));
    setup::plan(facts, choices, &on_disk, &wanted).map_err(plan_error)
}

/// What the options say, as people write it.
fn wishes(args: &Args) -> BTreeMap<Key, String> {
    let joined = |list: &[String]| (!list.is_empty()).then(|| list.join(", "));
    let said = [
        (Key::Role, args.role.clone()),
        (Key::Name, args.name.clone()),
        (Key::Site, args.site.clone()),
        (Key::Folders, joined(&args.folder)),
        (Key::Listen, joined(&args.listen)),
        (Key::SyncListen, args.sync_listen.clone()),
        (Key::Advertise, joined(&args.advertise)),
        (Key::CabUrl, args.cab_url.clone()),
        (Key::Window, args.window.clone()),
        (Key::Limit, args.limit.clone()),
        (Key::Pull, args.pull.clone()),
    ];
    said.into_iter().filter_map(|(key, text)| Some((key, text?))).collect()
}

/// Nobody's word is overridden without somebody's consent.
fn agree(args: &Args, plan: &SetupPlan, asks: bool, context: &Context) -> Result<(), CliError> {
    if asks {
        return match ask::yes("Do this? [yes]", context)? {
            true => Ok(()),
            false => Err(CliError::Refused("nothing was changed".to_owned())),
        };
    }
    if !args.yes {
        let text = "nobody can be asked here: look at it with --dry-run, then add --yes";
        return Err(CliError::Usage(text.to_owned()));
    }
    if !plan.overrides.is_empty() && !args.overwrite {
        let text = format!(
            "{}; nothing was changed: add --overwrite, or choose what is written there",
            plan.overrides.join("; ")
        );
        return Err(CliError::Refused(text));
    }
    Ok(())
}

fn answer(choices: &Choices, plan: &SetupPlan, done: bool, context: &Context) -> Result<Exit, CliError> {
    let told = |(key, choice): (Key, &'_ Choice)| (key.setting(), (choice.text.clone(), choice.why.clone()));
    let texts: BTreeMap<_, _> = choices.iter().map(told).collect();
    let settings = texts.iter().map(|(key, (value, why))| (*key, Told { value, why })).collect();
    context.out().answer(&Answer { settings, plan, done }, |style| page::page(choices, plan, style))?;
    Ok(Exit::Done)
}

fn done(choices: &Choices, plan: &SetupPlan, context: &Context) -> Result<Exit, CliError> {
    if context.out().is_json() {
        return answer(choices, plan, true, context);
    }
    let verdict = if plan.steps.is_empty() { "nothing was to be done" } else { "done" };
    context.out().text(verdict)?;
    Ok(Exit::Done)
}

fn secret(path: Option<&Path>, of: fn(&str) -> Option<&str>) -> Result<Option<Zeroizing<String>>, CliError> {
    let Some(path) = path else { return Ok(None) };
    let mut text = Zeroizing::new(String::new());
    let read = match path == Path::new("-") {
        true => io::stdin().lock().take(MAX_SECRET_BYTES).read_to_string(&mut text).map_err(CliError::Input),
        false => File::open(path)
            .and_then(|file| file.take(MAX_SECRET_BYTES).read_to_string(&mut text))
            .map_err(|source| CliError::File { path: path.to_owned(), source }),
    };
    read?;
    let found = of(&text).map(|found| Zeroizing::new(found.to_owned()));
    found.map(Some).ok_or_else(|| CliError::Usage(format!("{} is empty", path.display())))
}

/// What `pair invite` printed may be given as it is.
fn last_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|line| !line.is_empty())
}

fn whole(text: &str) -> Option<&str> {
    (!text.trim().is_empty()).then_some(text)
}

fn facts_error(error: FactsError) -> CliError {
    match error {
        FactsError::Config(errors) => errors.into(),
        FactsError::File { path, source } => CliError::File { path, source },
    }
}

fn choice_error(error: ChoiceError) -> CliError {
    CliError::Usage(error.to_string())
}

fn plan_error(error: PlanError) -> CliError {
    CliError::Usage(error.to_string())
}

fn act_error(error: ActError) -> CliError {
    CliError::Failed(format!("{}; what was done stays done: set it right and run setup again", chain(&error)))
}
