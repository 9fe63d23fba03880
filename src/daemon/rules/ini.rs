//! `[waptwua]` of an agent's configuration on the main's machine: read at the start and whenever the file changes.
//!
//! A file with an error (a rule that forbids would be lost) changes nothing: what was read before stays, and an
//! alarm says what is wrong by line. A file that is not there says nothing. It may be replaced by another one, so it
//! is looked at twice before it counts as gone.

use crate::{
    domain::rules::IniRules,
    repository::{Alarm, Repository, RepositoryError},
    wapt::{
        ini_edit::{self, EditError},
        waptwua::{self, OPTIONS, Problem, WuaOptions},
    },
};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio_util::sync::CancellationToken;

/// How often the file is looked at: one question to the file system each time.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// No configuration file of WAPT comes near it.
const MAX_BYTES: u64 = 1 << 20;
const DOING: &str = "reading [waptwua]";

/// Follows the file until `cancel`.
/// `on_change` is told when it says something else.
pub(in super::super) async fn follow_ini(
    repository: Arc<Repository>,
    path: PathBuf,
    on_change: impl Fn() + Send + 'static,
    cancel: CancellationToken,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut following = Following { repository, path, read: None, is_gone: false, has_changed: false };
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = look.tick() => match tokio::task::spawn_blocking(move || { following.look(); following }).await {
                Ok(back) => {
                    following = back;
                    if std::mem::take(&mut following.has_changed) {
                        on_change();
                    }
                }
                Err(error) => return tracing::error!(%error, "{DOING} was cut short"),
            }
        }
    }
}

/// Which content a file has, without reading it.
type Stamp = (u64, Option<SystemTime>, u64);

struct Following {
    repository: Arc<Repository>,
    path: PathBuf,
    /// What was read last; of a file that is not there nothing.
    read: Option<Option<Stamp>>,
    /// Whether it was not there at the last look.
    is_gone: bool,
    /// Whether the last look found other rules.
    has_changed: bool,
}

impl Following {
    fn look(&mut self) {
        let stamp = match stamp(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return self.raise(format!("{}: {error}", self.path.display())),
            Ok(stamp) => Some(stamp),
        };
        let was_gone = std::mem::replace(&mut self.is_gone, stamp.is_none());
        let is_replaced = stamp.is_none() && !was_gone && self.read.is_some();
        if self.read == Some(stamp) || is_replaced {
            return;
        }
        match self.take(stamp.is_some()) {
            Ok(()) => {
                self.read = Some(stamp);
                self.repository.attention.clear(&Alarm::Failing(DOING));
            }
            Err(what) => {
                // What is wrong stays wrong until the file changes; a failing disk may recover.
                self.read = what.is_of_file.then_some(stamp).or(self.read);
                self.raise(what.text);
            }
        }
    }

    fn take(&mut self, is_there: bool) -> Result<(), Failure> {
        let rules = match is_there {
            true => read_rules(&self.path).map_err(|text| Failure { text, is_of_file: true })?,
            false => IniRules::default(),
        };
        let by = self.path.display().to_string();
        let failed = |error: RepositoryError| Failure { text: crate::base::chain::chain(&error), is_of_file: false };
        self.has_changed = self.repository.put_ini_rules(&rules, &by).map_err(failed)?;
        if self.has_changed {
            tracing::info!(path = %self.path.display(), "[waptwua] was read");
        }
        Ok(())
    }

    fn raise(&self, what: String) {
        let what = format!("{DOING} failed, and what it said before stays: {what}");
        let cure = format!("put {} right: it is read again when it changes", self.path.display());
        self.repository.attention.raise(Alarm::Failing(DOING), what, cure);
    }
}

struct Failure {
    text: String,
    is_of_file: bool,
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path)?;
    Ok((metadata.len(), metadata.modified().ok(), metadata.ino()))
}

/// Its rules, or its errors, each with its line.
fn read_rules(path: &Path) -> Result<IniRules, String> {
    let text = read_text(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (options, problems) = WuaOptions::parse(&text);
    let (errors, warnings): (Vec<Problem>, Vec<_>) = problems.into_iter().partition(|problem| problem.is_error);
    for problem in &warnings {
        tracing::warn!(path = %path.display(), %problem, "[waptwua]");
    }
    match errors.is_empty() {
        true => Ok(options.rules()),
        false => {
            let told: Vec<_> = errors.iter().map(|problem| format!("{}, {problem}", path.display())).collect();
            Err(told.join("; "))
        }
    }
}

/// Bytes that are no UTF-8 count as a sign each: they may stand in comments.
fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than any such file"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Why a file that is there would change no rule.
pub(in super::super) fn ini_problem(path: &Path) -> Option<String> {
    if path.exists() { read_rules(path).err() } else { None }
}

/// What makes no sense in `[waptwua]` of a file, by line.
pub fn ini_problems(path: &Path) -> io::Result<Vec<String>> {
    let (_, problems) = WuaOptions::parse(&read_text(path)?);
    Ok(problems.iter().map(ToString::to_string).collect())
}

/// An option that is not written.
#[derive(Debug, thiserror::Error)]
pub enum IniChangeError {
    /// No such option.
    #[error("{0:?} is no option of [waptwua]: {known}", known = OPTIONS.map(|(key, _)| key).join(", "))]
    Unknown(String),
    /// The value makes no sense.
    #[error("{key}: {what}")]
    Value {
        /// The option.
        key: String,
        /// What is wrong with its value.
        what: String,
    },
    /// The file can't be changed so.
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// The text of a file with one option of `[waptwua]` set, or with `None` taken out; everything else stays.
pub fn ini_with(text: &str, key: &str, value: Option<&str>) -> Result<String, IniChangeError> {
    if !OPTIONS.iter().any(|(known, _)| *known == key) {
        return Err(IniChangeError::Unknown(key.chars().take(80).collect()));
    }
    let changed = ini_edit::with_value(text, waptwua::SECTION, key, value)?;
    let wrong = |what| IniChangeError::Value { key: key.to_owned(), what };
    waptwua::check_value(key, value.unwrap_or_default()).map_err(wrong)?;
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_makes_sense_is_written() {
        let told = |key, value| ini_with("[waptwua]\n", key, Some(value)).map_err(|error| error.to_string());
        assert_eq!(told("install_delay", "3d").unwrap(), "[waptwua]\ninstall_delay = 3d\n");
        assert!(told("install_delay", "soon").unwrap_err().starts_with("install_delay: \"soon\" is no length"));
        assert!(told("instal_delay", "3d").unwrap_err().contains("no option of [waptwua]: enabled, "));
        assert!(told("enabled", "True\n[x]").unwrap_err().contains("one line"));
    }
}
