//! `wuasync cab info` and `wuasync cab list`.

use crate::{
    base::units,
    cli::{
        context::Context,
        error::CliError,
        exit::Exit,
        out::{Out, Style, printable},
        progress,
        table::Table,
    },
    daemon::{self, CabLine, CabMember, CabReport, CabSignature},
};
use std::{
    fs::File,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// A cabinet
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// A cabinet
    file: PathBuf,
    /// Also what is in members that are cabinets (*.cab)
    #[arg(long)]
    deep: bool,
}

pub(super) fn info(args: &InfoArgs, context: &Context) -> Result<Exit, CliError> {
    let (path, out) = (&args.file, context.out());
    let (file, bytes) = open(path)?;
    let report = daemon::cab_report(file, bytes).map_err(|source| cabinet_error(path, source))?;
    out.answer(&report, |style| page(&report, style))?;
    Ok(Exit::Done)
}

fn page(report: &CabReport, style: Style) -> String {
    let mut folders = Table::new(&[">FOLDER", "COMPRESSION", ">BLOCKS", ">MEMBERS", ">UNPACKED"]);
    for (index, folder) in report.folders.iter().enumerate() {
        let unpacked = units::bytes(folder.member_bytes);
        let numbers = [folder.blocks.to_string(), folder.members.to_string(), unpacked];
        folders.row([index.to_string(), folder.compression.clone()].into_iter().chain(numbers));
    }
    format!(
        "{} members with {}, in a cabinet of {} ({} bytes)\nset {}; reserved: {} bytes in the header, {} in each \
         folder, {} in each block\n{}\n{}",
        report.members,
        units::bytes(report.member_bytes),
        units::bytes(report.cabinet_bytes),
        report.cabinet_bytes,
        report.set_id,
        report.header_reserve_bytes,
        report.folder_reserve_bytes,
        report.block_reserve_bytes,
        following(report, style),
        folders.show(style, "")
    )
}

fn following(report: &CabReport, style: Style) -> String {
    match &report.signature {
        Some(CabSignature { bytes, in_place: true, .. }) => {
            format!("a signature of {bytes} bytes follows (not verified)")
        }
        Some(CabSignature { offset, bytes, .. }) => style.alarm(&format!(
            "a signature of {bytes} bytes at byte {offset} is told of, but the cabinet ends at byte {} and the file at \
             byte {}",
            report.cabinet_bytes, report.file_bytes
        )),
        None if report.following_bytes > 0 => format!("no signature; {} bytes follow", report.following_bytes),
        None if report.file_bytes < report.cabinet_bytes => {
            style.alarm(&format!("no signature; the file is cut short at byte {}", report.file_bytes))
        }
        None => "no signature follows".to_owned(),
    }
}

pub(super) fn list(args: &ListArgs, context: &Context) -> Result<Exit, CliError> {
    let out = context.out();
    let (file, bytes) = open(&args.file)?;
    let bar = progress::bytes_bar("reading".to_owned());
    bar.set_length(bytes);
    if out.is_terminal() {
        // Lines and a bar would write over each other.
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let mut lines = Lines { out, begun: false, faults: 0, failed: None };
    let listed = daemon::cab_list(bar.wrap_read(file), args.deep, &mut |line| lines.tell(&line));
    bar.finish_and_clear();
    if let Some(error) = lines.failed {
        return Err(error);
    }
    listed.map_err(|source| cabinet_error(&args.file, source))?;
    Ok(if lines.faults == 0 { Exit::Done } else { Exit::Failed })
}

/// Lines as they come: a catalogue has millions of members.
struct Lines<'a> {
    out: &'a Out,
    begun: bool,
    faults: u64,
    failed: Option<CliError>,
}

impl Lines<'_> {
    fn tell(&mut self, line: &CabLine) -> ControlFlow<()> {
        match self.write(line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn write(&mut self, line: &CabLine) -> Result<(), CliError> {
        self.faults += u64::from(matches!(line, CabLine::Fault(_)));
        if self.out.is_json() {
            return self.out.json(line);
        }
        match line {
            CabLine::Member(member) => {
                if !std::mem::replace(&mut self.begun, true) {
                    self.out.text(&self.out.style().dim(HEADING))?;
                }
                self.out.text(&row(member))
            }
            CabLine::Fault(fault) => {
                let place = printable(&fault.within.join(":"));
                self.out.note(&format!("{place}: {}", printable(&fault.fault)));
                Ok(())
            }
        }
    }
}

const HEADING: &str = "      SIZE  FOLDER  MODIFIED             NAME";

fn row(member: &CabMember) -> String {
    let name: String = member.within.iter().map(|cabinet| format!("{cabinet}:")).collect::<String>() + &member.name;
    format!("{:>10}  {:>6}  {}  {}", member.size, member.folder, member.modified, printable(&name))
}

fn open(path: &Path) -> Result<(File, u64), CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    Ok((file, bytes))
}

fn cabinet_error(path: &Path, source: daemon::CabinetError) -> CliError {
    CliError::Cabinet { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(signature: Option<CabSignature>) -> CabReport {
        let folder = |compression: &str, blocks| daemon::CabFolder {
            compression: compression.to_owned(),
            blocks,
            members: 2,
            member_bytes: 4096,
        };
        CabReport {
            file_bytes: 1010,
            cabinet_bytes: 1000,
            following_bytes: 10,
            set_id: 7,
            header_reserve_bytes: 20,
            folder_reserve_bytes: 0,
            block_reserve_bytes: 0,
            folders: vec![folder("stored", 1), folder("lzx:21", 65_535)],
            members: 4,
            member_bytes: 8192,
            signature,
        }
    }

    #[test]
    fn a_cabinet_is_told_in_few_lines() {
        let expected = "4 members with 8.0 KiB, in a cabinet of 1000 B (1000 bytes)\n\
                        set 7; reserved: 20 bytes in the header, 0 in each folder, 0 in each block\n\
                        no signature; 10 bytes follow\n\
                        FOLDER  COMPRESSION  BLOCKS  MEMBERS  UNPACKED\n     \
                        0  stored            1        2   4.0 KiB\n     \
                        1  lzx:21        65535        2   4.0 KiB\n";
        assert_eq!(page(&report(None), Style::Plain), expected);
    }

    #[test]
    fn a_signature_is_told_as_what_it_is() {
        let told =
            |in_place, offset| following(&report(Some(CabSignature { offset, bytes: 10, in_place })), Style::Plain);
        assert_eq!(told(true, 1000), "a signature of 10 bytes follows (not verified)");
        assert!(told(false, 999).starts_with("a signature of 10 bytes at byte 999 is told of, but"));
    }

    #[test]
    fn a_row_has_the_way_to_a_nested_member_and_can_not_steer_the_terminal() {
        let member = CabMember {
            within: vec!["package2.cab".to_owned()],
            name: "c\\1\x1b".to_owned(),
            size: 7,
            folder: 0,
            modified: "2026-07-14 10:00:00".to_owned(),
        };
        assert_eq!(row(&member), "         7       0  2026-07-14 10:00:00  package2.cab:c\\1\u{fffd}");
        assert_eq!(HEADING.find("NAME"), row(&member).find("package2"));
    }
}
