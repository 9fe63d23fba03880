//! `wuasync files list` and `wuasync files show`; `files import` has a file of its own.

use super::import::{self, ImportArgs};
use crate::{
    base::units,
    cli::{
        client::{Client, percent_encoded},
        context::Context,
        error::CliError,
        exit::Exit,
        out::printable,
        table::Table,
    },
    daemon::{
        api::{self, FileReport, FileState, FilesPage},
        config::Folder,
    },
    domain::name::FolderName,
};

/// Files in one page: a screen of a terminal comes at once, and a page stays below 1 MiB.
const PAGE: u32 = 1_000;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Files {
    /// List files, by folder and name
    List(ListArgs),
    /// Show what is known of one file
    Show(ShowArgs),
    /// Put files into a folder that Microsoft does not serve, such as an out-of-band .msu; run this at the main
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// One folder only
    #[arg(long, value_parser = folder_name)]
    folder: Option<FolderName>,
    /// Only those that are in the index and not here yet
    #[arg(long, group = "state")]
    missing: bool,
    /// Only those that are here and in no index
    #[arg(long, group = "state")]
    unlisted: bool,
    /// Only those whose content is not yet what their name promises
    #[arg(long, group = "state")]
    incomplete: bool,
    /// Only those that are never mirrored, for their names, kinds or rights
    #[arg(long, group = "state")]
    refused: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Its name, with or without its folder before it
    name: String,
    /// Its folder
    #[arg(long, value_parser = folder_name)]
    folder: Option<FolderName>,
}

pub(super) fn folder_name(text: &str) -> Result<FolderName, String> {
    FolderName::new(text).map_err(|error| error.to_string())
}

pub(super) async fn run(command: &Files, context: &Context) -> Result<Exit, CliError> {
    match command {
        Files::List(args) => list(args, context).await,
        Files::Show(args) => show(args, context).await,
        Files::Import(args) => import::run(args, context).await,
    }
}

async fn list(args: &ListArgs, context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client().await?;
    let (mut after, mut begun) = (None, false);
    loop {
        let FilesPage { mut files, next } = page(&mut client, args.folder.as_ref(), after.as_deref()).await?;
        files.retain(|file| args.state().is_none_or(|state| file.state == state));
        if context.out().is_json() {
            files.iter().try_for_each(|file| context.out().json(file))?;
        } else if !files.is_empty() {
            let table = table(&files);
            context.out().text(&if begun { table.show_rows() } else { table.show(context.out().style(), "") })?;
            begun = true;
        }
        if next.is_none() || next == after {
            return Ok(Exit::Done);
        }
        after = next;
    }
}

impl ListArgs {
    fn state(&self) -> Option<FileState> {
        [
            (self.missing, FileState::Missing),
            (self.unlisted, FileState::Unlisted),
            (self.incomplete, FileState::Incomplete),
            (self.refused, FileState::Refused),
        ]
        .into_iter()
        .find_map(|(is_asked, state)| is_asked.then_some(state))
    }
}

async fn page(client: &mut Client, folder: Option<&FolderName>, after: Option<&str>) -> Result<FilesPage, CliError> {
    let folder = folder.map(|folder| format!("&folder={folder}")).unwrap_or_default();
    let after = after.map(|after| format!("&after={}", percent_encoded(after))).unwrap_or_default();
    Ok(client.get(&format!("{}?limit={PAGE}{folder}{after}", api::FILES)).await?)
}

fn table(files: &[FileReport]) -> Table {
    let mut table = Table::new(&["STATE", ">SIZE", "NAME", "WHY"]);
    for file in files {
        table.row([
            state_word(file.state).to_owned(),
            file.size.map_or_else(|| "?".to_owned(), units::bytes),
            format!("{}/{}", file.folder, file.name),
            file.why.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn state_word(state: FileState) -> &'static str {
    match state {
        FileState::Held => "held",
        FileState::Missing => "missing",
        FileState::Unlisted => "unlisted",
        FileState::Incomplete => "incomplete",
        FileState::Refused => "refused",
    }
}

async fn show(args: &ShowArgs, context: &Context) -> Result<Exit, CliError> {
    let config = context.config_or_defaults(&[])?;
    let (folder, name) = placed(&args.name, args.folder.as_ref(), &config.folders)?;
    let mut client = Client::connect(&config).await?;
    let file: FileReport = client.get(&format!("{}/{folder}/{}", api::FILES, percent_encoded(name))).await?;
    context.out().answer(&file, |_| details(&file))?;
    Ok(Exit::Done)
}

/// The folder and the name in it: as told, else by the first component, else the only folder.
pub(super) fn placed<'a>(
    name: &'a str,
    folder: Option<&FolderName>,
    folders: &[Folder],
) -> Result<(FolderName, &'a str), CliError> {
    if let Some(folder) = folder {
        return Ok((folder.clone(), name));
    }
    let known = |first: &str| folders.iter().find(|folder| folder.name.as_str() == first);
    if let Some((folder, rest)) = name.split_once('/').and_then(|(first, rest)| Some((known(first)?, rest))) {
        return Ok((folder.name.clone(), rest));
    }
    match folders {
        [only] => Ok((only.name.clone(), name)),
        _ => Err(CliError::Usage(format!("which folder is {name:?} in? write FOLDER/{name}, or use --folder"))),
    }
}

fn details(file: &FileReport) -> String {
    let mut lines = vec![
        ("name", format!("{}/{}", file.folder, printable(&file.name))),
        ("state", state_word(file.state).to_owned()),
    ];
    lines.extend(file.size.map(|size| ("size", format!("{} ({size} bytes)", units::bytes(size)))));
    let modified =
        file.modified.and_then(|at| i64::try_from(at).ok()).and_then(|at| jiff::Timestamp::from_second(at).ok());
    lines.extend(modified.map(|at| ("modified", at.to_string())));
    lines.extend(file.root.map(|root| ("blake3", root.to_string())));
    lines.extend(file.sha1.map(|sha1| ("sha1", sha1.to_string())));
    lines.extend(file.why.as_ref().map(|why| ("why", printable(why))));
    lines.iter().map(|(key, value)| format!("{key:<9} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folders(names: &[&str]) -> Vec<Folder> {
        let folder = |name: &&str| Folder {
            name: FolderName::new(name).unwrap(),
            path: PathBuf::from("/").join(name),
            staging: None,
        };
        names.iter().map(folder).collect()
    }

    #[test]
    fn a_name_finds_its_folder() {
        let wapt = FolderName::new("wapt").unwrap();
        for (name, folder, known, expected) in [
            ("waptwua/x.cab", None, &["waptwua", "wapt"][..], Some(("waptwua", "x.cab"))),
            ("waptwua/x.cab", Some(&wapt), &["waptwua", "wapt"], Some(("wapt", "waptwua/x.cab"))),
            ("sub/x.cab", None, &["waptwua"], Some(("waptwua", "sub/x.cab"))),
            ("x.cab", None, &["waptwua"], Some(("waptwua", "x.cab"))),
            ("x.cab", None, &["waptwua", "wapt"], None),
        ] {
            let found = placed(name, folder, &folders(known)).ok();
            assert_eq!(found.as_ref().map(|(folder, name)| (folder.as_str(), *name)), expected, "{name}");
        }
    }

    #[test]
    fn details_leave_out_what_is_not_known() {
        let mut file = FileReport {
            folder: FolderName::new("waptwua").unwrap(),
            name: "x.cab".to_owned(),
            size: Some(2048),
            modified: None,
            root: None,
            sha1: None,
            held: false,
            state: FileState::Missing,
            why: None,
        };
        assert_eq!(details(&file), "name      waptwua/x.cab\nstate     missing\nsize      2.0 KiB (2048 bytes)\n");
        file.modified = Some(1_700_000_000);
        assert!(details(&file).contains("modified  2023-11-14T22:13:20Z\n"));
        file.size = None;
        assert!(!details(&file).contains("size"));
        file.modified = Some(u64::MAX);
        assert!(!details(&file).contains("modified"));
    }
}
