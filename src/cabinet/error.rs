//! Why a cabinet can't be read on, and where.

use std::io;

/// A cabinet that is refused, or whose bytes could not be had. Nothing further is read after one.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset}{}", in_member(.member.as_deref()))]
pub struct CabinetError {
    /// Bytes from the cabinet's beginning to the structure that is at fault, or to just behind it.
    pub offset: u64,
    /// The member that was being read or described, where there was one.
    pub member: Option<String>,
    /// What is wrong.
    #[source]
    pub fault: Fault,
}

fn in_member(member: Option<&str>) -> String {
    member.map(|name| format!(", in member {name:?}")).unwrap_or_default()
}

/// What is wrong with a cabinet.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// What the cabinet is read from failed.
    #[error("reading failed")]
    Read(#[source] io::Error),
    /// What the parts are written to failed.
    #[error("writing failed")]
    Write(#[source] io::Error),
    /// The bytes end before the cabinet does.
    #[error("the file ends before the cabinet does")]
    Truncated,
    /// The first bytes are not `MSCF`.
    #[error("this is no cabinet")]
    NoCabinet,
    /// Another version than 1.3.
    #[error("version {major}.{minor} of the format is not known")]
    Version {
        /// `versionMajor`.
        major: u8,
        /// `versionMinor`.
        minor: u8,
    },
    /// Flags that no version of the format has.
    #[error("flags {0:#06x} are not known")]
    Flags(u16),
    /// The cabinet goes on in another file, or begins in one.
    #[error("this is one part of a cabinet of several files, which are not supported")]
    MultiPart,
    /// More of something than [`Limits`](super::Limits) let.
    #[error("{what} are more than the limit of {limit}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many are let.
        limit: u64,
    },
    /// A structure is said to begin where another one is already, or has passed.
    #[error("{what} is said to begin at byte {offset}, before or inside of what precedes it")]
    Backwards {
        /// Which structure.
        what: &'static str,
        /// Where it is said to begin.
        offset: u64,
    },
    /// Something reaches beyond the end that the header says.
    #[error("the cabinet is said to end at byte {0}, and its structures reach beyond")]
    BeyondCabinet(u64),
    /// A compression that can't be undone.
    #[error("compression {0:#06x} is not supported")]
    Compression(u16),
    /// A member without a name.
    #[error("member {0} has no name")]
    NoName(usize),
    /// A member of a folder that is not there.
    #[error("there is no folder {0}")]
    NoFolder(u16),
    /// Members stand in another order than their content.
    #[error("the member begins before the end of the one before it")]
    Overlap,
    /// A member's content ends behind its folder's.
    #[error("the member ends at byte {end} of its folder, which has {folder_bytes} at most")]
    BeyondFolder {
        /// Its end in the folder's unpacked bytes.
        end: u64,
        /// What the folder's blocks unpack to, or could.
        folder_bytes: u64,
    },
    /// A block of more bytes than one can have, or of none.
    #[error("a block can't be of {packed} bytes packed and {unpacked} unpacked")]
    BlockSize {
        /// `cbData`.
        packed: u16,
        /// `cbUncomp`.
        unpacked: u16,
    },
    /// A block that is not the one that was written.
    #[error("the block's checksum is {computed:#010x} and not {stored:#010x}")]
    Checksum {
        /// Of what was read.
        computed: u32,
        /// In the block's header.
        stored: u32,
    },
    /// An MSZIP block that does not unpack to what it says.
    #[error("the MSZIP block is damaged")]
    MsZip,
    /// An LZX block that does not unpack to what it says.
    #[error("the LZX block is damaged: {0}")]
    Lzx(&'static str),
    /// An LZX folder with a short block that is not its last.
    #[error("an LZX block of {0} bytes is not the last of its folder")]
    ShortBlock(u16),
    /// Content is compressed where only stored content can be dealt with.
    #[error("folder {0} is compressed: its content can't be taken out of its blocks")]
    NotStored(usize),
    /// Framing of a version that is not known.
    #[error("the framing is of a version that is not known")]
    FramingVersion,
    /// More content than the framing has room for.
    #[error("there is more content than the framing has room for")]
    ContentLeft,
    /// Nothing is read after an error.
    #[error("an earlier error ended the reading")]
    Ended,
}

impl Fault {
    /// With its place, of no member.
    pub(super) fn at(self, offset: u64) -> CabinetError {
        CabinetError { offset, member: None, fault: self }
    }

    /// A read that failed; an end of the bytes is the cabinet's fault.
    pub(super) fn of_read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Read(error),
        }
    }
}

impl CabinetError {
    /// The same of a member.
    pub(super) fn of(self, member: impl FnOnce() -> String) -> Self {
        Self { member: Some(self.member.unwrap_or_else(member)), ..self }
    }
}

impl From<CabinetError> for io::Error {
    /// So that a member can be read through [`io::Read`]: `InvalidData`, or what the underlying reader said.
    fn from(error: CabinetError) -> Self {
        let kind = match &error.fault {
            Fault::Read(error) | Fault::Write(error) => error.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
