//! `wuasync backup`.

use super::restore::passphrase;
use crate::{
    base::units,
    cli::{
        client::{Client, ClientError},
        context::Context,
        error::CliError,
        exit::Exit,
        out::printable,
    },
    daemon::{
        self,
        api::{self, BackupReply, BackupRequest, BackupSummary},
    },
    domain::backup::BackupKind,
};
use serde::Serialize;
use std::{
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to write, for its owner alone; one that is there is replaced
    file: PathBuf,
    /// Of a main: the keys alone, for the day when nothing else is left
    #[arg(long)]
    keys_only: bool,
    /// The passphrase that seals a main's keys; - reads it from standard input
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Written {
    path: String,
    bytes: u64,
    #[serde(flatten)]
    summary: BackupSummary,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, CliError> {
    let passphrase = args.passphrase_file.as_deref().map(passphrase).transpose()?;
    let request = BackupRequest { keys_only: args.keys_only, passphrase };
    let config = context.config_or_defaults(&[])?;
    let reply: BackupReply = match Client::connect(&config).await {
        Ok(mut client) => client.post(api::BACKUP, &request).await?,
        Err(ClientError::NotRunning { .. }) => daemon::backup_offline(&config, &request)?,
        Err(error) => return Err(error.into()),
    };
    let bytes = data_encoding::BASE64.decode(reply.file.as_bytes());
    let bytes = bytes.map_err(|_| CliError::Failed("the daemon's answer is no backup".to_owned()))?;
    write_private(&args.file, &bytes).map_err(|source| CliError::File { path: args.file.clone(), source })?;
    let path = args.file.display().to_string();
    let written = Written { path, bytes: bytes.len() as u64, summary: reply.summary };
    context.out().answer(&written, |_| page(&written))?;
    Ok(Exit::Done)
}

fn page(written: &Written) -> String {
    let Written { path, bytes, summary } = written;
    let what = match summary.kind {
        BackupKind::Main => format!("keys, ledger and {} members", summary.members),
        BackupKind::Keys => "the keys".to_owned(),
        BackupKind::Secondary => format!("the signed state with {} members", summary.members),
    };
    format!("{} holds {what} of {} ({})", printable(path), printable(&summary.node), units::bytes(*bytes))
}

/// Whole or not at all, and for nobody else to read.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}
