//! Questions on a terminal: what is proposed stands in brackets, and an empty answer takes it.

use crate::{
    cli::{context::Context, error::CliError, out::printable},
    daemon::setup::{self, ChoiceError, Facts, Key},
};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read},
    path::PathBuf,
};

/// Longer than any setting.
const MAX_ANSWER_BYTES: u64 = 4 * 1024;

/// Asks for every setting that no option gave.
pub(super) fn every_setting(
    facts: &Facts,
    wishes: &mut BTreeMap<Key, String>,
    context: &Context,
) -> Result<(), CliError> {
    for key in Key::ALL {
        if wishes.contains_key(&key) {
            continue;
        }
        let proposed = match setup::choose(facts, wishes) {
            Ok(choices) => match choices.get(key) {
                Some(choice) => Some(choice.clone()),
                None => continue,
            },
            Err(ChoiceError::NoRole) => None,
            Err(error) => return Err(CliError::Usage(error.to_string())),
        };
        let hint = proposed.as_ref().map_or_else(String::new, |choice| {
            let text = if choice.text.is_empty() { "off" } else { &choice.text };
            format!(" [{}]\n  ({})", printable(text), printable(&choice.why))
        });
        while let Some(answer) = answer(&format!("{}{hint}", key.question()), context)? {
            match key.read(&answer) {
                Ok(_) => {
                    wishes.insert(key, answer);
                    break;
                }
                Err(error) => context.out().note(&format!("  {error}")),
            }
        }
    }
    Ok(())
}

/// Asks for what a node of this role may still need.
pub(super) fn secrets(
    is_main: bool,
    token: &mut Option<PathBuf>,
    passphrase: &mut Option<PathBuf>,
    context: &Context,
) -> Result<(), CliError> {
    if is_main && passphrase.is_none() {
        let question = "File with a passphrase that seals the line key for safe keeping [none: later]";
        *passphrase = answer(question, context)?.map(PathBuf::from);
    }
    if !is_main && token.is_none() {
        let question = "File with the token of `wuasync pair invite` [none: later]; - reads it from here";
        *token = answer(question, context)?.map(PathBuf::from);
    }
    Ok(())
}

/// Whether a person types yes.
pub(super) fn yes(question: &str, context: &Context) -> Result<bool, CliError> {
    Ok(answer(question, context)?.is_some_and(|answer| answer == "yes" || answer == "y"))
}

/// One line; `None` where it is empty.
fn answer(question: &str, context: &Context) -> Result<Option<String>, CliError> {
    context.out().note(question);
    let mut line = String::new();
    io::stdin().lock().take(MAX_ANSWER_BYTES).read_line(&mut line).map_err(CliError::Input)?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}
