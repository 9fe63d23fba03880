//! CFFOLDER and CFFILE, the tables behind the header (MS-CAB 2.2 and 2.3), checked against each other
//! before any content is read.

use super::{
    error::{CabinetError, Fault},
    header::{Header, u16_at, u32_at},
    limits::{Limits, MAX_BLOCK_BYTES},
    source::Source,
};
use std::{fmt, io::Read};

/// `iFolder` from here on means that the member begins or goes on in another file.
const CONTINUED: u16 = 0xfffd;
const NAME_IS_UTF: u16 = 0x80;

/// One folder: content that is compressed as a whole, cut into blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// `coffCabStart`: bytes from the beginning of the cabinet to the first block.
    pub coff_cab_start: u32,
    /// `cCFData`: how many blocks there are.
    pub c_cf_data: u16,
    /// `typeCompress`.
    pub compression: Compression,
}

/// How a folder is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Stored,
    /// Deflate, with the last 32 KiB as history of each block.
    MsZip,
    /// LZX.
    Lzx {
        /// The window is 2 to this; 15 to 21.
        window_bits: u8,
    },
}

/// One member, as the table describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// `szName`, without its end: UTF-8 where [`File::is_name_utf`], else of the code page of whoever wrote it.
    pub name: Vec<u8>,
    /// `cbFile`: its size, in bytes.
    pub cb_file: u32,
    /// `uoffFolderStart`: where it begins in the folder's unpacked content, in bytes.
    pub uoff_folder_start: u32,
    /// `iFolder`: the folder, counted from 0.
    pub i_folder: u16,
    /// `date` and `time`.
    pub modified: DosDateTime,
    /// `attribs`.
    pub attribs: u16,
}

/// Local time of whoever wrote the cabinet, in steps of two seconds; may be no date of any calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DosDateTime {
    /// `((year - 1980) << 9) + (month << 5) + day`.
    pub date: u16,
    /// `(hour << 11) + (minute << 5) + seconds / 2`.
    pub time: u16,
}

/// Everything that stands before the content.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) header: Header,
    pub(super) folders: Vec<Folder>,
    /// By folder, then by place in it.
    pub(super) files: Vec<File>,
}

impl Tables {
    /// Reads header and tables; the source stands just behind them.
    pub(super) fn read<R: Read>(source: &mut Source<R>, limits: &Limits) -> Result<Self, CabinetError> {
        let header = Header::read(source)?;
        limit("folders", header.c_folders, limits.max_folders)?;
        limit("members", header.c_files, limits.max_files)?;
        let mut folders: Vec<Folder> = Vec::new();
        for _ in 0..header.c_folders {
            folders.push(Folder::read(source, &header)?);
        }
        source.skip_to(header.coff_files.into(), "the table of members")?;
        let mut files: Vec<File> = Vec::new();
        for index in 0..header.c_files.into() {
            let file = File::read(source, index, limits)?;
            let checked = file.check(&folders, files.last());
            checked.map_err(|fault| fault.at(source.position()).of(|| file.shown_name()))?;
            files.push(file);
        }
        Ok(Self { header, folders, files })
    }
}

fn limit(what: &'static str, count: u16, limit: u16) -> Result<(), CabinetError> {
    if count > limit { Err(Fault::Limit { what, limit: limit.into() }.at(0)) } else { Ok(()) }
}

impl Folder {
    fn read<R: Read>(source: &mut Source<R>, header: &Header) -> Result<Self, CabinetError> {
        let bytes: [u8; 8] = source.array()?;
        let position = source.position();
        source.skip_to(position + u64::from(header.cb_cf_folder), "the next folder")?;
        let compression = Compression::of(u16_at(&bytes, 6)).map_err(|fault| fault.at(position))?;
        Ok(Self { coff_cab_start: u32_at(&bytes, 0), c_cf_data: u16_at(&bytes, 4), compression })
    }

    /// What the blocks can unpack to at most, in bytes.
    fn most_bytes(&self) -> u64 {
        u64::from(self.c_cf_data) * MAX_BLOCK_BYTES as u64
    }
}

impl Compression {
    /// Quantum (2) and unknown bits are refused.
    fn of(type_compress: u16) -> Result<Self, Fault> {
        let [kind, window] = type_compress.to_le_bytes();
        match (kind, window) {
            (0, 0) => Ok(Self::Stored),
            (1, 0) => Ok(Self::MsZip),
            (3, window_bits @ 15..=21) => Ok(Self::Lzx { window_bits }),
            _ => Err(Fault::Compression(type_compress)),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => f.write_str("stored"),
            Self::MsZip => f.write_str("mszip"),
            Self::Lzx { window_bits } => write!(f, "lzx:{window_bits}"),
        }
    }
}

impl File {
    fn read<R: Read>(source: &mut Source<R>, index: usize, limits: &Limits) -> Result<Self, CabinetError> {
        let bytes: [u8; 16] = source.array()?;
        let name = read_name(source, limits.max_name_bytes)?;
        if name.is_empty() {
            return Err(Fault::NoName(index).at(source.position()));
        }
        Ok(Self {
            name,
            cb_file: u32_at(&bytes, 0),
            uoff_folder_start: u32_at(&bytes, 4),
            i_folder: u16_at(&bytes, 8),
            modified: DosDateTime { date: u16_at(&bytes, 10), time: u16_at(&bytes, 12) },
            attribs: u16_at(&bytes, 14),
        })
    }

    /// Members stand by folder, and in a folder in the order of their content (MS-CAB 2.3).
    fn check(&self, folders: &[Folder], before: Option<&Self>) -> Result<(), Fault> {
        let folder = match self.i_folder {
            CONTINUED.. => return Err(Fault::MultiPart),
            index => folders.get(usize::from(index)).ok_or(Fault::NoFolder(index))?,
        };
        let overlaps = before.is_some_and(|before| {
            let same = before.i_folder == self.i_folder;
            before.i_folder > self.i_folder || (same && before.end() > self.uoff_folder_start.into())
        });
        match folder.most_bytes() {
            _ if overlaps => Err(Fault::Overlap),
            folder_bytes if self.end() > folder_bytes => Err(Fault::BeyondFolder { end: self.end(), folder_bytes }),
            _ => Ok(()),
        }
    }

    /// Where it ends in its folder's unpacked content.
    pub(super) fn end(&self) -> u64 {
        u64::from(self.uoff_folder_start) + u64::from(self.cb_file)
    }

    /// Whether the name is UTF-8 (`_A_NAME_IS_UTF`).
    pub fn is_name_utf(&self) -> bool {
        self.attribs & NAME_IS_UTF != 0
    }

    /// The name as text; bytes that are no UTF-8 are shown as replacement characters. `\` parts folders.
    pub fn shown_name(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

fn read_name<R: Read>(source: &mut Source<R>, max_bytes: usize) -> Result<Vec<u8>, CabinetError> {
    let mut name = Vec::new();
    loop {
        match source.array()? {
            [0] => return Ok(name),
            _ if name.len() == max_bytes => {
                let limit = max_bytes as u64;
                return Err(Fault::Limit { what: "bytes of a name", limit }.at(source.position()));
            }
            [byte] => name.push(byte),
        }
    }
}

impl fmt::Display for DosDateTime {
    /// `2026-07-14 10:00:00`, whatever the numbers are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = (1980 + (self.date >> 9), self.date >> 5 & 15, self.date & 31);
        let (hour, minute, second) = (self.time >> 11, self.time >> 5 & 63, (self.time & 31) * 2);
        write!(f, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cabinet::cabs::{Cabinet, Folder as Made, Packing, lzx::Lzx};

    fn read(bytes: &[u8], limits: &Limits) -> Result<Tables, CabinetError> {
        Tables::read(&mut Source::new(bytes), limits)
    }

    fn fault(bytes: &[u8]) -> Fault {
        read(bytes, &Limits::default()).unwrap_err().fault
    }

    fn two() -> Cabinet {
        let stored = Made::new(Packing::Stored, &[("a\\b", b"abc"), ("c", b"defgh")]);
        Cabinet::new(vec![stored, Made::new(Packing::Lzx(Lzx::new(21)), &[("d", b"xyz")])])
    }

    /// Where the table of members begins.
    fn files_at(bytes: &[u8]) -> usize {
        u32_at(bytes, 16) as usize
    }

    #[test]
    fn folders_and_members_are_as_they_were_written() {
        let cabinet = Cabinet { folder_reserve: 5, attribs: 0xa0, ..two() };
        let tables = read(&cabinet.to_bytes(), &Limits::default()).unwrap();
        let compressions: Vec<_> = tables.folders.iter().map(|folder| folder.compression.to_string()).collect();
        assert_eq!(compressions, ["stored", "lzx:21"]);
        let files: Vec<_> = tables.files.iter().map(|file| (file.shown_name(), file.cb_file, file.i_folder)).collect();
        assert_eq!(files, [("a\\b".to_owned(), 3, 0), ("c".to_owned(), 5, 0), ("d".to_owned(), 3, 1)]);
        assert_eq!((tables.files[1].uoff_folder_start, tables.files[1].is_name_utf()), (3, true));
        assert_eq!(tables.files[0].modified.to_string(), "2026-07-14 10:00:00");
    }

    #[test]
    fn names_keep_their_bytes_and_are_shown_as_far_as_they_are_text() {
        let mut cabinet = two();
        cabinet.folders[0].members[0].0 = b"\xe9t\xe9".to_vec();
        let tables = read(&cabinet.to_bytes(), &Limits::default()).unwrap();
        assert_eq!(
            (&tables.files[0].name[..], &*tables.files[0].shown_name()),
            (&b"\xe9t\xe9"[..], "\u{fffd}t\u{fffd}")
        );
        assert!(!tables.files[0].is_name_utf());
    }

    #[test]
    fn each_limit_holds_at_its_number_and_refuses_one_more() {
        let bytes = two().to_bytes();
        let limits = Limits { max_folders: 2, max_files: 3, max_name_bytes: 3, ..Limits::default() };
        assert!(read(&bytes, &limits).is_ok());
        for (limits, of) in [
            (Limits { max_folders: 1, ..limits.clone() }, "folders"),
            (Limits { max_files: 2, ..limits.clone() }, "members"),
            (Limits { max_name_bytes: 2, ..limits.clone() }, "bytes of a name"),
        ] {
            let error = read(&bytes, &limits).unwrap_err();
            assert!(matches!(error.fault, Fault::Limit { what, .. } if what == of), "{error:?}");
        }
    }

    #[test]
    fn members_that_overlap_go_backwards_or_are_nowhere_are_refused_by_name() {
        let bytes = two().to_bytes();
        let second = files_at(&bytes) + 16 + "a\\b".len() + 1;
        let changed = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            bytes
        };
        assert!(matches!(fault(&changed(second + 4, 2)), Fault::Overlap));
        assert!(read(&changed(second + 4, 4), &Limits::default()).is_ok(), "a gap is none of our business");
        assert!(matches!(fault(&changed(files_at(&bytes) + 8, 1)), Fault::Overlap));
        assert!(matches!(fault(&changed(second + 8, 2)), Fault::NoFolder(2)));
        assert!(matches!(fault(&changed(second + 2, 1)), Fault::BeyondFolder { end: 65_544, folder_bytes: 32_768 }));
        let mut continued = changed(second + 8, 0xfd);
        continued[second + 9] = 0xff;
        let error = read(&continued, &Limits::default()).unwrap_err();
        assert!(matches!(error.fault, Fault::MultiPart) && error.member.as_deref() == Some("c"));
        assert!(matches!(fault(&changed(files_at(&bytes) + 16, 0)), Fault::NoName(0)));
    }

    #[test]
    fn compressions_that_can_not_be_undone_are_refused() {
        for wrong in [2, 0x0102, 4, 0x0f00, 0x0e03, 0x1603, 0x1501, 0x1513, 0x9503] {
            assert!(matches!(Compression::of(wrong), Err(Fault::Compression(of)) if of == wrong), "{wrong:#x}");
        }
        assert_eq!(Compression::of(0x0f03).unwrap(), Compression::Lzx { window_bits: 15 });
    }

    #[test]
    fn tables_end_with_the_cabinet_and_never_go_backwards() {
        let bytes = two().to_bytes();
        let mut backwards = bytes.clone();
        backwards[16] -= 1;
        assert!(matches!(fault(&backwards), Fault::Backwards { .. }));
        let mut short = bytes.clone();
        short[8..12].copy_from_slice(&60_u32.to_le_bytes());
        assert!(matches!(fault(&short), Fault::BeyondCabinet(60)));
        let content_at = u32_at(&bytes, 36) as usize;
        for len in 36..content_at {
            assert!(matches!(fault(&bytes[..len]), Fault::Truncated), "{len}");
        }
    }

    #[test]
    fn a_date_of_no_calendar_is_shown_as_it_stands() {
        assert_eq!(DosDateTime { date: 0xffff, time: 0xffff }.to_string(), "2107-15-31 31:63:62");
    }
}
