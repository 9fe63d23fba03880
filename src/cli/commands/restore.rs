//! `wuasync restore`.

use crate::{
    cli::{context::Context, error::CliError, exit::Exit, out::printable},
    daemon::{self, RestoreRequest, api::RestoreReply},
    domain::backup::Passphrase,
};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Backups are well below: a ledger of a large site has some tens of megabytes.
const MAX_BACKUP_BYTES: u64 = 1 << 30;
/// What nobody types by mistake.
const MAX_PASSPHRASE_BYTES: u64 = 4 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A main's backup, or its keys alone (`wuasync backup --keys-only`)
    #[arg(required_unless_present = "new_epoch")]
    file: Option<PathBuf>,
    /// Members as this secondary knows them: what `wuasync backup` wrote there
    #[arg(long, value_name = "FILE", conflicts_with = "new_epoch")]
    from_secondary: Option<PathBuf>,
    /// The passphrase that the keys were sealed with; - reads it from standard input
    #[arg(long, value_name = "FILE", required_unless_present = "new_epoch")]
    passphrase_file: Option<PathBuf>,
    /// Move a state that is there aside
    #[arg(long, conflicts_with = "new_epoch")]
    replace: bool,
    /// Take a secondary's state although the keys were written after it
    #[arg(long, requires = "from_secondary")]
    accept_older: bool,
    /// The state folder itself was put back from a copy: begin a new epoch at the next start
    #[arg(long, conflicts_with = "file")]
    new_epoch: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let config = context.config_or_defaults(&[])?;
    let (Some(file), Some(phrase)) = (&args.file, &args.passphrase_file) else {
        daemon::new_epoch(&config)?;
        context.out().answer(&serde_json::json!({ "new_epoch": true }), |_| {
            "the next start begins a new epoch; secondaries follow it, and transfer nothing that they have".to_owned()
        })?;
        return Ok(Exit::Done);
    };
    let request = RestoreRequest {
        backup: read(file, MAX_BACKUP_BYTES)?,
        from_secondary: args.from_secondary.as_deref().map(|file| read(file, MAX_BACKUP_BYTES)).transpose()?,
        passphrase: passphrase(phrase)?,
        replace: args.replace,
        accept_older: args.accept_older,
    };
    let reply = daemon::restore(&config, &request)?;
    context.out().answer(&reply, |_| page(&reply))?;
    Ok(Exit::Done)
}

fn page(reply: &RestoreReply) -> String {
    let as_of = reply.members_as_of.and_then(|at| i64::try_from(at).ok());
    let as_of = as_of.and_then(|at| jiff::Timestamp::from_second(at).ok());
    let as_of = as_of.map(|at| format!(" as of {at}")).unwrap_or_default();
    let aside = reply.set_aside.as_ref().map(|path| format!("\nthe state that was there lies in {}", printable(path)));
    format!(
        "line {} is back in epoch {} with {} members{as_of}; compare them with `wuasync pair list` once the daemon \
         runs{}",
        printable(&reply.line).chars().take(8).collect::<String>(),
        reply.epoch,
        reply.members,
        aside.unwrap_or_default()
    )
}

/// The passphrase in a file, or on standard input.
pub(super) fn passphrase(path: &Path) -> Result<Passphrase, CliError> {
    let bytes = match path == Path::new("-") {
        true => read_all(io::stdin().lock(), MAX_PASSPHRASE_BYTES).map_err(CliError::Input)?,
        false => read(path, MAX_PASSPHRASE_BYTES)?,
    };
    let text = String::from_utf8(bytes).ok();
    let phrase = text.as_deref().and_then(Passphrase::new);
    phrase.ok_or_else(|| CliError::Usage(format!("{} holds no passphrase", path.display())))
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    read_all(File::open(path).map_err(failed)?, most).map_err(failed)
}

fn read_all(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_any_backup_is_refused() {
        assert_eq!(read_all(&b"1234"[..], 4).unwrap(), b"1234");
        assert_eq!(read_all(io::repeat(0), 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
