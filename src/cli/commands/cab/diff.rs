//! `wuasync cab diff`: what one edition tells otherwise than another, as it comes.

use crate::{
    base::{chain::chain, units},
    cli::{client::percent_encoded, context::Context, error::CliError, exit::Exit, out::Out, progress, table::Table},
    daemon::{
        self,
        api::{self, ChangesReply},
    },
    domain::edition::{Aspect, ChangeKind, FileChange, UpdateChange},
};
use serde::Serialize;
use std::{ops::ControlFlow, path::PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The older and the newer cabinet; their signatures are not verified [default: the edition before and the
    /// published one, as the daemon knows them]
    #[arg(num_args = 2, value_names = ["OLD", "NEW"])]
    cabinets: Vec<PathBuf>,
    /// Also list updates that tell something else under the same revision, and files
    #[arg(long)]
    all: bool,
}

/// Changes that stand in one table, so that its columns line up.
const PAGE: usize = 1_000;

/// One of the two, as far as people compare them. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Side {
    created: i64,
    updates: u64,
    files: u64,
}

/// A line for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a> {
    Editions { old: Side, new: Side },
    Update(&'a UpdateChange),
    File(&'a FileChange),
    Summary(Summary),
}

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Summary {
    updates_added: u64,
    updates_removed: u64,
    updates_revised: u64,
    updates_changed: u64,
    files_added: u64,
    bytes_added: u64,
    files_removed: u64,
    bytes_removed: u64,
    files_changed: u64,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let mut telling = Telling { out: context.out(), all: args.all, summary: Summary::default(), has_heading: false };
    match &args.cabinets[..] {
        [old, new] => of_files(old, new, &mut telling)?,
        _ => of_daemon(context, &mut telling).await?,
    }
    telling.end()?;
    Ok(Exit::Done)
}

async fn of_daemon(context: &Context, telling: &mut Telling<'_>) -> Result<(), CliError> {
    let mut client = context.client().await?;
    let (mut query, mut editions) = (String::new(), None);
    loop {
        let page: ChangesReply = client.get(&format!("{}{query}", api::CHANGES)).await?;
        if *editions.get_or_insert((page.old, page.new)) != (page.old, page.new) {
            return Err(CliError::Failed("another edition was published meanwhile; ask again".to_owned()));
        }
        if query.is_empty() {
            let side = |edition: api::EditionReport| {
                let api::EditionReport { created, updates, files, .. } = edition;
                Side { created, updates, files }
            };
            telling.begin(side(page.old), side(page.new))?;
        }
        telling.updates(&page.updates)?;
        telling.files(&page.files)?;
        query = match (page.next_update, page.next_file) {
            (Some(next), _) => format!("?after_update={}", percent_encoded(&next.to_string())),
            (None, Some(next)) => format!("?after_file={next}"),
            (None, None) => return Ok(()),
        };
    }
}

fn of_files(old: &PathBuf, new: &PathBuf, telling: &mut Telling<'_>) -> Result<(), CliError> {
    let read = |path: &PathBuf| {
        let bar = progress::bytes_bar(path.display().to_string());
        let read = daemon::read_edition(path, &mut |read, len| {
            bar.set_length(len);
            bar.set_position(read);
        });
        bar.finish_and_clear();
        read.map_err(|error| CliError::Failed(chain(&error)))
    };
    let (old, new) = (read(old)?, read(new)?);
    let side = |edition: &daemon::EditionFileRead| {
        let (created, updates, files) = edition.counts();
        Side { created, updates, files }
    };
    telling.begin(side(&old), side(&new))?;
    let (mut page, mut failed) = (Vec::new(), Ok(()));
    daemon::each_changed_update(&old, &new, &mut |change| {
        page.push(change);
        if page.len() == PAGE {
            failed = telling.updates(&std::mem::take(&mut page));
        }
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    failed?;
    telling.updates(&page)?;
    let (mut page, mut failed) = (Vec::new(), Ok(()));
    daemon::each_changed_file(&old, &new, &mut |change| {
        page.push(change);
        if page.len() == PAGE {
            failed = telling.files(&std::mem::take(&mut page));
        }
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    failed?;
    telling.files(&page)
}

/// What was told so far.
struct Telling<'a> {
    out: &'a Out,
    all: bool,
    summary: Summary,
    has_heading: bool,
}

impl Telling<'_> {
    fn begin(&self, old: Side, new: Side) -> Result<(), CliError> {
        if self.out.is_json() {
            return self.out.json(&Line::Editions { old, new });
        }
        let told = |Side { created, updates, files }: Side| {
            format!("the edition of {} ({updates} updates, {files} files)", units::date(created).unwrap_or_default())
        };
        self.out.text(&format!("from {}\nto {}\n", told(old), told(new)))
    }

    fn updates(&mut self, changes: &[UpdateChange]) -> Result<(), CliError> {
        changes.iter().for_each(|change| self.summary.count_update(change));
        if self.out.is_json() {
            return changes.iter().try_for_each(|change| self.out.json(&Line::Update(change)));
        }
        let mut table = Table::new(&["CHANGE", "UPDATE", "KB", "TITLE"]);
        let told = changes.iter().filter(|change| self.all || change.kind != ChangeKind::Changed);
        told.for_each(|change| {
            let title = change.title.clone();
            table.row([update_words(change), change.id.to_string(), change.kbs.join(" "), title]);
        });
        self.rows(&table)
    }

    fn files(&mut self, changes: &[FileChange]) -> Result<(), CliError> {
        changes.iter().for_each(|change| self.summary.count_file(change));
        if self.out.is_json() {
            return changes.iter().try_for_each(|change| self.out.json(&Line::File(change)));
        }
        let mut table = Table::new(&["CHANGE", ">SIZE", "FILE"]);
        for change in changes.iter().filter(|_| self.all) {
            let size = change.size.map(units::bytes).unwrap_or_default();
            let name = change.name.clone().unwrap_or_else(|| format!("{} (no address)", change.sha1));
            table.row([format!("file {}", word(change.kind)), size, name]);
        }
        self.rows(&table)
    }

    fn rows(&mut self, table: &Table) -> Result<(), CliError> {
        let rows = if self.has_heading { table.show_rows() } else { table.show(self.out.style(), "") };
        self.has_heading |= !rows.is_empty();
        if rows.is_empty() { Ok(()) } else { self.out.text(&rows) }
    }

    fn end(&self) -> Result<(), CliError> {
        if self.out.is_json() {
            self.out.json(&Line::Summary(self.summary))
        } else {
            self.out.text(&self.summary.words())
        }
    }
}

impl Summary {
    fn count_update(&mut self, change: &UpdateChange) {
        *match change.kind {
            ChangeKind::Added => &mut self.updates_added,
            ChangeKind::Removed => &mut self.updates_removed,
            ChangeKind::Revised => &mut self.updates_revised,
            ChangeKind::Changed => &mut self.updates_changed,
        } += 1;
    }

    fn count_file(&mut self, change: &FileChange) {
        let size = change.size.unwrap_or_default();
        match change.kind {
            ChangeKind::Added => (self.files_added, self.bytes_added) = (self.files_added + 1, self.bytes_added + size),
            ChangeKind::Removed => {
                (self.files_removed, self.bytes_removed) = (self.files_removed + 1, self.bytes_removed + size);
            }
            ChangeKind::Revised | ChangeKind::Changed => self.files_changed += 1,
        }
    }

    fn words(&self) -> String {
        let contradicting = match self.files_changed {
            0 => String::new(),
            changed => format!(", {changed} with another size or SHA-256 under the same SHA-1"),
        };
        format!(
            "updates: {} added, {} removed, {} revised, {} changed under the same revision\n\
             files: {} added with {}, {} removed with {}{contradicting}\n",
            self.updates_added,
            self.updates_removed,
            self.updates_revised,
            self.updates_changed,
            self.files_added,
            units::bytes(self.bytes_added),
            self.files_removed,
            units::bytes(self.bytes_removed),
        )
    }
}

fn update_words(change: &UpdateChange) -> String {
    match (change.kind, change.before) {
        (ChangeKind::Revised, Some(before)) => format!("revised, was {}", before.revision()),
        (ChangeKind::Changed, _) => {
            let what: Vec<_> = change.what.iter().map(|aspect| aspect_word(*aspect)).collect();
            format!("changed: {}", what.join(", "))
        }
        (kind, _) => word(kind).to_owned(),
    }
}

fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Revised => "revised",
        ChangeKind::Changed => "changed",
    }
}

fn aspect_word(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Titles => "titles",
        Aspect::Severity => "severity",
        Aspect::Articles => "articles",
        Aspect::Categories => "categories",
        Aspect::SupersededBy => "superseded by",
        Aspect::Bundles => "bundles",
        Aspect::Files => "files",
        Aspect::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Sha1;

    #[test]
    fn a_summary_counts_each_kind_with_its_bytes() {
        let mut summary = Summary::default();
        for (kind, size) in [
            (ChangeKind::Added, Some(1_024)),
            (ChangeKind::Added, None),
            (ChangeKind::Removed, Some(2_048)),
            (ChangeKind::Changed, Some(1)),
        ] {
            summary.count_file(&FileChange { kind, sha1: Sha1([0; 20]), size, name: None });
        }
        let change = |kind, before: Option<&str>| UpdateChange {
            kind,
            id: "0fa1201d-4330-4fa8-8ae9-b877473b6441_204".parse().unwrap(),
            before: before.map(|before| before.parse().unwrap()),
            what: vec![Aspect::SupersededBy, Aspect::Files],
            kbs: vec![],
            title: String::new(),
        };
        let revised = change(ChangeKind::Revised, Some("0fa1201d-4330-4fa8-8ae9-b877473b6441_203"));
        summary.count_update(&revised);
        summary.count_update(&change(ChangeKind::Added, None));
        assert_eq!(update_words(&revised), "revised, was 203");
        assert_eq!(update_words(&change(ChangeKind::Changed, None)), "changed: superseded by, files");
        assert_eq!(
            summary.words(),
            "updates: 1 added, 0 removed, 1 revised, 0 changed under the same revision\n\
             files: 2 added with 1.0 KiB, 1 removed with 2.0 KiB, 1 with another size or SHA-256 under the same SHA-1\n"
        );
    }
}
