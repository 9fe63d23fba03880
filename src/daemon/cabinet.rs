//! What `wuasync cab` tells of a cabinet. Reads what it is given from front to back and keeps nothing.

pub use crate::cabinet::CabinetError;
use crate::{
    base::chain::chain,
    cabinet::{Cabinet, Compression, File, Limits},
};
use serde::Serialize;
use std::{io::Read, ops::ControlFlow};

/// Cabinets in cabinets in cabinets: `wsusscn2.cab` has two levels, an update in an `.msu` three.
const MAX_DEPTH: usize = 4;

/// A cabinet's header and tables.
#[derive(Debug, Serialize)]
pub struct CabReport {
    /// The whole file, in bytes.
    pub file_bytes: u64,
    /// The cabinet in it, as its header says, in bytes.
    pub cabinet_bytes: u64,
    /// Behind the cabinet, in bytes.
    pub following_bytes: u64,
    /// Any number; the same for the parts of a set.
    pub set_id: u16,
    /// In the header, for applications, in bytes.
    pub header_reserve_bytes: u16,
    /// Behind each folder's description, in bytes.
    pub folder_reserve_bytes: u8,
    /// In each block, in bytes.
    pub block_reserve_bytes: u8,
    /// In order.
    pub folders: Vec<CabFolder>,
    /// How many there are.
    pub members: usize,
    /// All of them unpacked, as the table says, in bytes.
    pub member_bytes: u64,
    /// What the header says of a signature; it is not verified.
    pub signature: Option<CabSignature>,
}

/// A folder of a cabinet.
#[derive(Debug, Serialize)]
pub struct CabFolder {
    /// `stored`, `mszip`, or `lzx:` and the bits of the window.
    pub compression: String,
    /// Of 32 KiB each but the last.
    pub blocks: u16,
    /// How many members are in it.
    pub members: usize,
    /// Those unpacked, as the table says, in bytes.
    pub member_bytes: u64,
}

/// Where a signature is said to be.
#[derive(Debug, Serialize)]
pub struct CabSignature {
    /// From the beginning of the file, in bytes.
    pub offset: u32,
    /// Its size.
    pub bytes: u32,
    /// It begins where the cabinet ends, and ends with the file.
    pub in_place: bool,
}

/// One line of a listing.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum CabLine {
    /// A member.
    Member(CabMember),
    /// A nested cabinet that can't be listed, or not further.
    Fault(CabFault),
}

/// A member of a cabinet.
#[derive(Debug, Serialize)]
pub struct CabMember {
    /// The nested cabinets that lead to it, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
    /// As far as it is text.
    pub name: String,
    /// Unpacked, in bytes.
    pub size: u32,
    /// Counted from 0.
    pub folder: u16,
    /// `YYYY-MM-DD HH:MM:SS`, of no zone.
    pub modified: String,
}

/// Why a nested cabinet is not listed.
#[derive(Debug, Serialize)]
pub struct CabFault {
    /// The cabinets that lead to it, itself the last.
    pub within: Vec<String>,
    /// What is wrong.
    pub fault: String,
}

/// Looks at header and tables; the content is not read. `file_bytes` is the size of the file behind `reader`.
pub fn cab_report(mut reader: impl Read, file_bytes: u64) -> Result<CabReport, CabinetError> {
    let cabinet = Cabinet::open(&mut reader, Limits::default())?;
    let (header, cabinet_bytes) = (cabinet.header(), u64::from(cabinet.header().cb_cabinet));
    let signature = header.signature_place().map(|place| {
        let end = u64::from(place.offset) + u64::from(place.bytes);
        let in_place = place.offset == header.cb_cabinet && end == file_bytes;
        CabSignature { offset: place.offset, bytes: place.bytes, in_place }
    });
    let mut folders: Vec<CabFolder> =
        cabinet.folders().iter().map(|folder| CabFolder::new(folder.compression, folder.c_cf_data)).collect();
    for file in cabinet.files() {
        if let Some(folder) = folders.get_mut(usize::from(file.i_folder)) {
            folder.members += 1;
            folder.member_bytes += u64::from(file.cb_file);
        }
    }
    Ok(CabReport {
        file_bytes,
        cabinet_bytes,
        following_bytes: file_bytes.saturating_sub(cabinet_bytes),
        set_id: header.set_id,
        header_reserve_bytes: header.cb_cf_header,
        folder_reserve_bytes: header.cb_cf_folder,
        block_reserve_bytes: header.cb_cf_data,
        members: cabinet.files().len(),
        member_bytes: folders.iter().map(|folder| folder.member_bytes).sum(),
        folders,
        signature,
    })
}

impl CabFolder {
    fn new(compression: Compression, blocks: u16) -> Self {
        Self { compression: compression.to_string(), blocks, members: 0, member_bytes: 0 }
    }
}

/// Tells every member in order, with `deep` also those of nested cabinets (by their name: `.cab`), until
/// `tell` breaks. Content is read only as far as nested cabinets need it.
pub fn cab_list(
    mut reader: impl Read,
    deep: bool,
    tell: &mut dyn FnMut(CabLine) -> ControlFlow<()>,
) -> Result<(), CabinetError> {
    let mut listing = Listing { deep, within: Vec::new(), tell };
    listing.list(&mut reader).map(|_| ())
}

struct Listing<'a> {
    deep: bool,
    within: Vec<String>,
    tell: &'a mut dyn FnMut(CabLine) -> ControlFlow<()>,
}

impl Listing<'_> {
    fn list(&mut self, reader: &mut dyn Read) -> Result<ControlFlow<()>, CabinetError> {
        let mut cabinet = Cabinet::open(reader, Limits::default())?;
        if !self.deep || !cabinet.files().iter().any(is_cabinet) {
            return Ok(cabinet.files().iter().try_for_each(|file| self.member(file)));
        }
        while let Some(mut member) = cabinet.next_member()? {
            let is_cabinet = is_cabinet(member.file());
            let name = member.file().shown_name();
            if self.member(member.file()).is_break() || (is_cabinet && self.nested(name, &mut member).is_break()) {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn member(&mut self, file: &File) -> ControlFlow<()> {
        (self.tell)(CabLine::Member(CabMember {
            within: self.within.clone(),
            name: file.shown_name(),
            size: file.cb_file,
            folder: file.i_folder,
            modified: file.modified.to_string(),
        }))
    }

    fn nested(&mut self, name: String, reader: &mut dyn Read) -> ControlFlow<()> {
        self.within.push(name);
        let listed = match self.within.len() {
            ..MAX_DEPTH => self.list(reader).map_err(|error| chain(&error)),
            _ => Err(format!("cabinets are listed {MAX_DEPTH} deep at most")),
        };
        let flow =
            listed.unwrap_or_else(|fault| (self.tell)(CabLine::Fault(CabFault { within: self.within.clone(), fault })));
        self.within.pop();
        flow
    }
}

fn is_cabinet(file: &File) -> bool {
    file.name.to_ascii_lowercase().ends_with(b".cab")
}
