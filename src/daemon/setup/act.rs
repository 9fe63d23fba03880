//! Does the steps of a plan, one after the other, and stops at the first that fails.

use super::plan::{Input, SetupPlan, Step};
use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use zeroize::Zeroizing;

/// Why setup ended early. What is done already is no step the next time.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// A file was not written.
    #[error("writing {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program was not there, or could not be run.
    #[error("running `{line}`")]
    Run {
        /// As it would be typed.
        line: String,
        /// Why.
        source: io::Error,
    },
    /// A program ran, and failed.
    #[error("`{line}` failed: {said}")]
    Command {
        /// As it would be typed.
        line: String,
        /// What it said.
        said: String,
    },
}

/// What commands read; never shown.
#[derive(Default)]
pub struct Secrets {
    /// An invitation.
    pub token: Option<Zeroizing<String>>,
    /// What seals the keys.
    pub passphrase: Option<Zeroizing<String>>,
}

/// Does every step; `on_step` hears of each before it is done.
pub fn act(plan: &SetupPlan, secrets: &Secrets, on_step: &mut dyn FnMut(&Step)) -> Result<(), ActError> {
    for step in &plan.steps {
        on_step(step);
        match step {
            Step::File { path, text, keep_as } => {
                write(path, text, keep_as.as_deref()).map_err(|source| ActError::File { path: path.clone(), source })?
            }
            Step::Command { words, input } => run(words, *input, secrets)?,
        }
    }
    Ok(())
}

/// Whole or not at all; for everybody to read, as configuration is.
fn write(path: &Path, text: &str, keep_as: Option<&Path>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    if let Some(kept) = keep_as {
        fs::copy(path, kept)?;
    }
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

fn run(words: &[String], input: Input, secrets: &Secrets) -> Result<(), ActError> {
    let line = || words.join(" ");
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let failed = |source| ActError::Run { line: line(), source };
    let secret = match input {
        Input::None => None,
        Input::Token => secrets.token.as_ref(),
        Input::Passphrase => secrets.passphrase.as_ref(),
    };
    let stdin = if secret.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut command = Command::new(program);
    command.args(arguments).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let (Some(mut stdin), Some(secret)) = (child.stdin.take(), secret) {
        // A program that ends without reading says why itself.
        let _ = stdin.write_all(secret.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
    let said = if said.trim().is_empty() { output.status.to_string() } else { said.trim().to_owned() };
    Err(ActError::Command { line: line(), said })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str], input: Input) -> Step {
        Step::Command { words: words.iter().map(|word| (*word).to_owned()).collect(), input }
    }

    #[test]
    fn files_are_written_whole_and_what_was_there_is_kept_where_that_is_said() {
        let place = tempfile::tempdir().unwrap();
        let (path, kept) = (place.path().join("a/b/x.toml"), place.path().join("a/b/x.toml.before"));
        let file = |text: &str, keep_as| Step::File { path: path.clone(), text: text.to_owned(), keep_as };
        let plan =
            SetupPlan { steps: vec![file("one", None), file("two", Some(kept.clone()))], ..SetupPlan::default() };
        let mut heard = 0;
        act(&plan, &Secrets::default(), &mut |_| heard += 1).unwrap();
        assert_eq!(
            (fs::read_to_string(&path).unwrap(), fs::read_to_string(&kept).unwrap()),
            ("two".into(), "one".into())
        );
        assert_eq!((fs::metadata(&path).unwrap().permissions().mode() & 0o777, heard), (0o644, 2));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn secrets_reach_the_command_that_reads_them_and_no_message() {
        let secrets = Secrets { token: Some(Zeroizing::new("s3cret".to_owned())), ..Secrets::default() };
        let read = command(&["sh", "-c", "read -r x; [ \"$x\" = s3cret ]"], Input::Token);
        act(&SetupPlan { steps: vec![read], ..SetupPlan::default() }, &secrets, &mut |_| {}).unwrap();
        let fail = command(&["sh", "-c", "cat >/dev/null; echo no such luck >&2; exit 3"], Input::Token);
        let plan =
            SetupPlan { steps: vec![fail, command(&["touch", "/nowhere/x"], Input::None)], ..SetupPlan::default() };
        let mut heard = 0;
        let error = act(&plan, &secrets, &mut |_| heard += 1).unwrap_err().to_string();
        assert!(error.ends_with("failed: no such luck") && !error.contains("s3cret") && heard == 1, "{error}");
    }
}
