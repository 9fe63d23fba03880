//! From a block's content to what it unpacks to: one decoder for each folder.

use super::{error::Fault, lzx::Lzx, ms_zip::MsZip, tables::Compression};

/// What one folder's blocks are unpacked with, in their order.
#[derive(Debug)]
pub(super) enum Decoder {
    Stored,
    MsZip(Box<MsZip>),
    Lzx(Box<Lzx>),
}

impl Decoder {
    pub(super) fn new(compression: Compression) -> Self {
        match compression {
            Compression::Stored => Self::Stored,
            Compression::MsZip => Self::MsZip(Box::new(MsZip::new())),
            Compression::Lzx { window_bits } => Self::Lzx(Box::new(Lzx::new(window_bits))),
        }
    }

    /// Unpacks `packed` into `out`: exactly `unpacked` bytes, or an error. `packed` is used up.
    pub(super) fn decode(&mut self, packed: &mut Vec<u8>, unpacked: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Stored => {
                std::mem::swap(packed, out);
                Ok(())
            }
            Self::MsZip(ms_zip) => ms_zip.decode(packed, unpacked, out),
            Self::Lzx(lzx) => lzx.decode(packed, unpacked, out).map_err(Fault::Lzx),
        }
    }
}
