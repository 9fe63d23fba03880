//! Whether a person agrees.

use crate::cli::{context::Context, error::CliError};
use std::io::{self, BufRead, IsTerminal, Read};

/// Longer than `yes` and whatever else is typed.
const MAX_ANSWER_BYTES: u64 = 256;

/// Whether a person types yes; nobody is asked where nobody sits.
pub(super) fn confirmed(context: &Context, question: &str) -> Result<bool, CliError> {
    if context.out().is_json() || !io::stdin().is_terminal() {
        return Ok(false);
    }
    context.out().note(question);
    let mut answer = String::new();
    io::stdin().lock().take(MAX_ANSWER_BYTES).read_line(&mut answer).map_err(CliError::Input)?;
    Ok(answer.trim() == "yes")
}
