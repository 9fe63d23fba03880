//! `wuasync files import`.

use super::files::{folder_name, placed};
use crate::{
    base::units,
    cli::{
        client::{Client, percent_encoded},
        context::Context,
        error::CliError,
        exit::Exit,
        out::printable,
        progress,
    },
    daemon::{
        api::{self, ImportReply},
        config::Folder,
    },
    domain::name::FolderName,
};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// The folder of updates, unless told otherwise.
const USUAL_FOLDER: &str = "waptwua";

const HELP: &str = "\
Each file is copied, hashed and signed into the folder, and every secondary gets it. A file whose name ends in \
_<SHA-1> before its extension must have that SHA-1. What is here under the name stays if its content is another.

Exit codes: 0 all are here; 1 the work failed; 2 wrong usage; 3 the daemon can't be reached; 4 this is a \
secondary, or a name is taken.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct ImportArgs {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The name that the file gets; for one file [default: its own]
    #[arg(long)]
    name: Option<String>,
    /// The folder that it goes to [default: waptwua, else the only one]
    #[arg(long, value_parser = folder_name)]
    folder: Option<FolderName>,
}

pub(super) async fn run(args: &ImportArgs, context: &Context) -> Result<Exit, CliError> {
    if args.name.is_some() && args.files.len() > 1 {
        return Err(CliError::Usage("--name is for one file".to_owned()));
    }
    let config = context.config_or_defaults(&[])?;
    let mut client = Client::connect(&config).await?;
    for path in &args.files {
        let name = match &args.name {
            Some(name) => name.clone(),
            None => own_name(path)?,
        };
        let (folder, name) = place(&name, args.folder.as_ref(), &config.folders)?;
        let reply = import(&mut client, path, &folder, &name).await?;
        context.out().answer(&reply, |_| page(&reply))?;
    }
    Ok(Exit::Done)
}

fn own_name(path: &Path) -> Result<String, CliError> {
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    name.ok_or_else(|| CliError::Usage(format!("{} has no name that can be mirrored: use --name", path.display())))
}

/// As told, else the folder that updates usually lie in.
fn place(name: &str, folder: Option<&FolderName>, folders: &[Folder]) -> Result<(FolderName, String), CliError> {
    let usual = folders.iter().find(|folder| folder.name.as_str() == USUAL_FOLDER).map(|folder| &folder.name);
    let folder = folder.or(usual.filter(|_| !name.contains('/')));
    let (folder, name) = placed(name, folder, folders)?;
    Ok((folder, name.to_owned()))
}

async fn import(client: &mut Client, path: &Path, folder: &FolderName, name: &str) -> Result<ImportReply, CliError> {
    let unreadable = |source| CliError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is no ordinary file")));
    }
    let modified = metadata.modified().map_err(unreadable)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let bar = progress::bytes_bar(printable(name));
    bar.set_length(metadata.len());
    let query = format!(
        "{}?folder={folder}&name={}&size={}&modified={}",
        api::IMPORT,
        percent_encoded(name),
        metadata.len(),
        modified.as_secs()
    );
    let sending = bar.clone();
    let sent = client.upload(&query, file, metadata.len(), move |bytes| sending.inc(bytes)).await;
    bar.finish_and_clear();
    Ok(sent?)
}

fn page(reply: &ImportReply) -> String {
    let what = if reply.was_here { "was here" } else { "is here" };
    let place = printable(&format!("{}/{}", reply.folder, reply.name));
    format!("{place} {what}: {}, BLAKE3 {}", units::bytes(reply.size), reply.root)
}
