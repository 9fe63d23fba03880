//! Questions on a terminal: what is proposed stands in brackets, and an empty answer takes it.

use super::hidden::{self, Typed};
use crate::{
    cli::{context::Context, error::CliError, out::printable},
    daemon::setup::{self, ChoiceError, Facts, Key},
};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read},
    path::PathBuf,
};
use zeroize::Zeroizing;

/// Longer than any setting.
const MAX_ANSWER_BYTES: u64 = 4 * 1024;
/// As much as a terminal takes in one line.
const MAX_PASSPHRASE_BYTES: usize = 4 * 1024;

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

/// Asks for the file with a secondary's token; `None` leaves joining for later.
pub(super) fn token_file(context: &Context) -> Result<Option<PathBuf>, CliError> {
    let question = "File with the token of `wuasync pair invite` [none: later]; - reads it from here";
    Ok(answer(question, context)?.map(PathBuf::from))
}

/// Asks for a main's passphrase, which is not shown, until it was typed twice alike; `None` leaves it for later.
pub(super) fn passphrase(context: &Context) -> Result<Option<Zeroizing<String>>, CliError> {
    loop {
        let first = hidden("Passphrase that seals the line key for safe keeping, not shown [none: later]", context)?;
        if first.trim().is_empty() {
            return Ok(None);
        }
        if hidden("The same once more", context)? == first {
            return Ok(Some(first));
        }
        context.out().note("  these were two");
    }
}

fn hidden(question: &str, context: &Context) -> Result<Zeroizing<String>, CliError> {
    let typed = hidden::read(io::stdin(), MAX_PASSPHRASE_BYTES, || context.out().note(question));
    match typed.map_err(CliError::Input)? {
        Typed::Line(line) => Ok(line),
        Typed::Interrupted => Err(CliError::Interrupted),
    }
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
