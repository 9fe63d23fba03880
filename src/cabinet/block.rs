//! CFDATA, the blocks that content is cut into (MS-CAB 2.4).

use super::{
    error::{CabinetError, Fault},
    header::{Header, u16_at, u32_at},
    limits::{MAX_BLOCK_BYTES, MAX_PACKED_BYTES},
    source::Source,
    tables::Compression,
};
use std::io::Read;

/// The head of a block.
#[derive(Debug)]
pub(super) struct BlockHead {
    /// `csum`; 0 means that there is none.
    checksum: u32,
    /// `cbData`, in bytes.
    pub(super) packed: u16,
    /// `cbUncomp`, in bytes.
    pub(super) unpacked: u16,
    /// What the checksum covers of the head, reserve included.
    covered: u32,
}

impl BlockHead {
    /// Reads it; the content follows.
    pub(super) fn read<R: Read>(
        source: &mut Source<R>,
        header: &Header,
        compression: Compression,
    ) -> Result<Self, CabinetError> {
        let bytes: [u8; 8] = source.array()?;
        let mut reserve = [0; u8::MAX as usize];
        let reserve = &mut reserve[..header.cb_cf_data.into()];
        source.fill(reserve)?;
        let (packed, unpacked) = (u16_at(&bytes, 4), u16_at(&bytes, 6));
        // MS-CAB has the reserve covered; cabextract and gcab leave it out.
        // It follows on one whole word, so that its own sum can be added.
        let covered = checksum(&bytes[4..]) ^ checksum(reserve);
        let head = Self { checksum: u32_at(&bytes, 0), packed, unpacked, covered };
        head.check(compression).map_err(|fault| fault.at(source.position()))?;
        Ok(head)
    }

    fn check(&self, compression: Compression) -> Result<(), Fault> {
        let (packed, unpacked) = (self.packed, self.unpacked);
        let fits = (1..=MAX_PACKED_BYTES).contains(&packed.into()) && (1..=MAX_BLOCK_BYTES).contains(&unpacked.into());
        let agrees = compression != Compression::Stored || packed == unpacked;
        if fits && agrees { Ok(()) } else { Err(Fault::BlockSize { packed, unpacked }) }
    }

    /// Compares the checksum, where there is one, with what was read.
    pub(super) fn verify(&self, data: &[u8]) -> Result<(), Fault> {
        let (computed, stored) = (checksum(data) ^ self.covered, self.checksum);
        if stored == 0 || computed == stored { Ok(()) } else { Err(Fault::Checksum { computed, stored }) }
    }
}

/// The exclusive or of all words, low byte first; what is left over at the end counts high byte first.
fn checksum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(4);
    let rest = words.remainder().iter().fold(0, |rest, byte| rest << 8 | u32::from(*byte));
    words.fold(rest, |sum, word| sum ^ u32_at(word, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_of_words_and_the_rest() {
        assert_eq!(checksum(&[]), 0);
        assert_eq!(checksum(&[1, 2, 3, 4, 5, 6, 7]), 0x0403_0201 ^ 0x0005_0607);
        assert_eq!(checksum(&[1, 2, 3, 4, 5, 6]), 0x0403_0201 ^ 0x0506);
    }

    #[test]
    fn blocks_of_no_or_too_many_bytes_are_refused() {
        let check = |packed, unpacked, compression| {
            BlockHead { checksum: 0, packed, unpacked, covered: 0 }.check(compression).is_ok()
        };
        for (packed, unpacked, stored, ms_zip) in [
            (1, 1, true, true),
            (32_768, 32_768, true, true),
            (38_912, 32_768, false, true),
            (38_913, 32_768, false, false),
            (32_769, 32_769, false, false),
            (0, 1, false, false),
            (1, 0, false, false),
            (0, 0, false, false),
        ] {
            assert_eq!(check(packed, unpacked, Compression::Stored), stored, "{packed} {unpacked}");
            assert_eq!(check(packed, unpacked, Compression::MsZip), ms_zip, "{packed} {unpacked}");
        }
    }
}
