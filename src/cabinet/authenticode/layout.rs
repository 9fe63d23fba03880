//! Where the signature of a cabinet is.
//!
//! The digest covers bytes 0-3, 8-33, 56-59 and everything from 60 up to the signature. Some of what it leaves
//! out decides how the rest of the cabinet is read (the sizes of reserved areas, the number in a set), so each
//! such byte has to have the one value that it has in a signed cabinet of Microsoft's.

use super::error::Refusal;
use std::ops::Range;

/// A cabinet's header with the reserved area that points to the signature.
pub(super) const HEADER_BYTES: usize = 60;
/// What the digest covers of the header.
pub(super) const COVERED: [Range<usize>; 3] = [0..4, 8..34, 56..60];
/// Microsoft's are below 20 KB; a PKCS#7 with many certificates and a time stamp has room.
pub(super) const MAX_SIGNATURE_BYTES: u32 = 1 << 20;

/// Header flag: sizes of reserved areas follow.
const RESERVE_PRESENT: u16 = 4;
/// What a signed cabinet has there: cbCFHeader 20, cbCFFolder 0, cbCFData 0, then the head of the reserved area.
const RESERVE: [u8; 8] = [20, 0, 0, 0, 0, 0, 0x10, 0];

/// Where the signature begins and ends in a cabinet of `len` bytes.
pub(super) fn signature_range(header: &[u8; HEADER_BYTES], len: u64) -> Result<Range<u64>, Refusal> {
    if header[..4] != *b"MSCF" {
        return Err(Refusal::NoCabinet);
    }
    let flags = u16::from_le_bytes([header[30], header[31]]);
    if flags & RESERVE_PRESENT == 0 {
        return Err(Refusal::Unsigned);
    }
    if flags != RESERVE_PRESENT {
        return Err(Refusal::Flags(flags));
    }
    let is_zero = |range: Range<usize>| header[range].iter().all(|byte| *byte == 0);
    let (start, size) = (number(header, 44), number(header, 48));
    if header[36..44] == RESERVE && start == 0 && size == 0 {
        return Err(Refusal::Unsigned);
    }
    for (fault, at) in
        [(!is_zero(4..8), 4), (!is_zero(34..36), 34), (header[36..44] != RESERVE, 36), (!is_zero(52..60), 52)]
    {
        if fault {
            return Err(Refusal::Header { at });
        }
    }
    place(start, size, number(header, 8), len)
}

fn place(start: u32, size: u32, cabinet_len: u32, len: u64) -> Result<Range<u64>, Refusal> {
    if start != cabinet_len {
        return Err(Refusal::Position { start, cabinet_len });
    }
    let end = u64::from(start) + u64::from(size);
    if end != len {
        return Err(Refusal::Length { end, len });
    }
    if (start as usize) < HEADER_BYTES || size == 0 {
        return Err(Refusal::Header { at: 44 });
    }
    if size > MAX_SIGNATURE_BYTES {
        return Err(Refusal::SignatureTooLarge { bytes: size });
    }
    Ok(u64::from(start)..end)
}

fn number(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}
