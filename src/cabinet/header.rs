//! CFHEADER, the first structure of a cabinet (MS-CAB 2.1).

use super::{
    error::{CabinetError, Fault},
    source::Source,
};
use std::io::Read;

const SIGNATURE: [u8; 4] = *b"MSCF";
/// The version that everybody writes.
const VERSION: (u8, u8) = (1, 3);
const PREV_CABINET: u16 = 1;
const NEXT_CABINET: u16 = 2;
const RESERVE_PRESENT: u16 = 4;
/// What the reserve of a cabinet with an Authenticode signature begins with.
const SIGNED: [u8; 4] = [0, 0, 0x10, 0];

/// The header's fields, by the names that the format gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// `signature`: always `MSCF`.
    pub signature: [u8; 4],
    /// `reserved1`: said to be 0, and without meaning.
    pub reserved1: u32,
    /// `cbCabinet`: the cabinet's size, in bytes; what follows it is not part of it.
    pub cb_cabinet: u32,
    /// `reserved2`: said to be 0, and without meaning.
    pub reserved2: u32,
    /// `coffFiles`: bytes from the beginning to the first CFFILE.
    pub coff_files: u32,
    /// `reserved3`: said to be 0, and without meaning.
    pub reserved3: u32,
    /// `versionMinor`: always 3.
    pub version_minor: u8,
    /// `versionMajor`: always 1.
    pub version_major: u8,
    /// `cFolders`: how many folders there are.
    pub c_folders: u16,
    /// `cFiles`: how many members there are.
    pub c_files: u16,
    /// `flags`: 4 where reserves are present, else 0.
    pub flags: u16,
    /// `setID`: the same in all cabinets of a set; without meaning here.
    pub set_id: u16,
    /// `iCabinet`: the cabinet's number in its set; without meaning here.
    pub i_cabinet: u16,
    /// `cbCFHeader`: the size of `ab_reserve`, in bytes.
    pub cb_cf_header: u16,
    /// `cbCFFolder`: bytes that stand behind each CFFOLDER.
    pub cb_cf_folder: u8,
    /// `cbCFData`: bytes that stand in each CFDATA, before its content.
    pub cb_cf_data: u8,
    /// `abReserve`: where a signature is told of.
    pub ab_reserve: Vec<u8>,
}

/// Where an Authenticode signature is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignaturePlace {
    /// Bytes from the beginning of the file.
    pub offset: u32,
    /// Its size, in bytes.
    pub bytes: u32,
}

impl Header {
    /// Reads the header; a cabinet of several files is refused.
    pub(super) fn read<R: Read>(source: &mut Source<R>) -> Result<Self, CabinetError> {
        let fixed: [u8; 36] = source.array().map_err(|error| match error.fault {
            Fault::Truncated => Fault::NoCabinet.at(0),
            _ => error,
        })?;
        let mut header = Self::of_fixed(&fixed);
        header.check().map_err(|fault| fault.at(0))?;
        source.set_end(header.cb_cabinet.into());
        if header.flags & RESERVE_PRESENT != 0 {
            let [low, high, folder, data] = source.array()?;
            header.cb_cf_header = u16::from_le_bytes([low, high]);
            (header.cb_cf_folder, header.cb_cf_data) = (folder, data);
            header.ab_reserve = vec![0; header.cb_cf_header.into()];
            source.fill(&mut header.ab_reserve)?;
        }
        Ok(header)
    }

    fn of_fixed(bytes: &[u8; 36]) -> Self {
        Self {
            signature: [bytes[0], bytes[1], bytes[2], bytes[3]],
            reserved1: u32_at(bytes, 4),
            cb_cabinet: u32_at(bytes, 8),
            reserved2: u32_at(bytes, 12),
            coff_files: u32_at(bytes, 16),
            reserved3: u32_at(bytes, 20),
            version_minor: bytes[24],
            version_major: bytes[25],
            c_folders: u16_at(bytes, 26),
            c_files: u16_at(bytes, 28),
            flags: u16_at(bytes, 30),
            set_id: u16_at(bytes, 32),
            i_cabinet: u16_at(bytes, 34),
            cb_cf_header: 0,
            cb_cf_folder: 0,
            cb_cf_data: 0,
            ab_reserve: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let (major, minor) = (self.version_major, self.version_minor);
        match self.flags {
            _ if self.signature != SIGNATURE => Err(Fault::NoCabinet),
            _ if (major, minor) != VERSION => Err(Fault::Version { major, minor }),
            flags if flags & (PREV_CABINET | NEXT_CABINET) != 0 => Err(Fault::MultiPart),
            flags if flags & !RESERVE_PRESENT != 0 => Err(Fault::Flags(flags)),
            _ => Ok(()),
        }
    }

    /// Where the header says that a signature follows; whether one does, and what it is worth, is not looked at.
    pub fn signature_place(&self) -> Option<SignaturePlace> {
        let reserve: &[u8; 20] = self.ab_reserve.as_slice().try_into().ok()?;
        let place = SignaturePlace { offset: u32_at(reserve, 4), bytes: u32_at(reserve, 8) };
        (reserve[..4] == SIGNED && place.bytes > 0).then_some(place)
    }
}

/// Little-endian, as every number of a cabinet.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Little-endian, as every number of a cabinet.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cabinet::cabs::{Cabinet, Folder, Packing};

    fn cabinet() -> Cabinet {
        Cabinet::new(vec![Folder::new(Packing::Stored, &[("a", b"abc")])])
    }

    fn read(bytes: &[u8]) -> Result<Header, CabinetError> {
        Header::read(&mut Source::new(bytes))
    }

    #[test]
    fn fields_and_reserves_are_read() {
        let cabinet = Cabinet { folder_reserve: 2, block_reserve: 3, ..cabinet().telling_of_signature(777) };
        let bytes = cabinet.to_bytes();
        let header = read(&bytes).unwrap();
        assert_eq!((header.version_major, header.version_minor, header.set_id, header.flags), (1, 3, 0x1234, 4));
        assert_eq!((header.c_folders, header.c_files, header.cb_cabinet as usize), (1, 1, bytes.len()));
        assert_eq!((header.cb_cf_header, header.cb_cf_folder, header.cb_cf_data), (20, 2, 3));
        assert_eq!(header.ab_reserve, cabinet.header_reserve);
    }

    #[test]
    fn a_signature_is_seen_where_the_reserve_tells_of_one() {
        let signed = cabinet().telling_of_signature(777);
        let place = read(&signed.to_bytes()).unwrap().signature_place().unwrap();
        assert_eq!((place.offset as usize, place.bytes), (signed.to_bytes().len(), 777));
        let reserves = [vec![], vec![0; 20], [&SIGNED[..], &[0; 16]].concat(), [&SIGNED[..], &[1; 17]].concat()];
        for header_reserve in reserves {
            let cabinet = Cabinet { header_reserve, ..cabinet() };
            assert_eq!(read(&cabinet.to_bytes()).unwrap().signature_place(), None);
        }
    }

    #[test]
    fn other_formats_versions_flags_and_parts_of_sets_are_refused() {
        let refused = |at: usize, byte: u8| {
            let mut bytes = cabinet().to_bytes();
            bytes[at] = byte;
            read(&bytes).unwrap_err().fault
        };
        assert!(matches!(refused(0, b'm'), Fault::NoCabinet));
        assert!(matches!(refused(24, 2), Fault::Version { major: 1, minor: 2 }));
        assert!(matches!(refused(30, 1), Fault::MultiPart));
        assert!(matches!(refused(30, 6), Fault::MultiPart));
        assert!(matches!(refused(30, 8), Fault::Flags(8)));
        for len in 0..36 {
            assert!(matches!(read(&cabinet().to_bytes()[..len]).unwrap_err().fault, Fault::NoCabinet), "{len}");
        }
    }
}
