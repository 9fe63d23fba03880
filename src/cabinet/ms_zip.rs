//! MSZIP: each block is a Deflate stream behind `CK`, with the last 32 KiB as its history ([MS-MCI] 2).
//!
//! [MS-MCI]: https://learn.microsoft.com/en-us/openspecs/exchange_server_protocols/ms-mci/

use super::{error::Fault, limits::MAX_BLOCK_BYTES};
use flate2::{Decompress, FlushDecompress, Status};

const SIGNATURE: &[u8] = b"CK";

/// One folder's decoder.
#[derive(Debug)]
pub(super) struct MsZip {
    inflate: Decompress,
    /// What blocks before unpacked to, 32 KiB at most.
    history: Vec<u8>,
}

impl MsZip {
    pub(super) fn new() -> Self {
        Self { inflate: Decompress::new(false), history: Vec::new() }
    }

    /// Unpacks the next block into `out`, which gets exactly `unpacked` bytes: at most 32 KiB.
    pub(super) fn decode(&mut self, block: &[u8], unpacked: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let stream = block.strip_prefix(SIGNATURE).ok_or(Fault::MsZip)?;
        self.inflate.reset(false);
        if !self.history.is_empty() {
            self.inflate.set_dictionary(&self.history).map_err(|_| Fault::MsZip)?;
        }
        out.clear();
        out.resize(unpacked, 0);
        let status = self.inflate.decompress(stream, out, FlushDecompress::Finish).map_err(|_| Fault::MsZip)?;
        if status != Status::StreamEnd || self.inflate.total_out() != unpacked as u64 {
            return Err(Fault::MsZip);
        }
        self.remember(out);
        Ok(())
    }

    fn remember(&mut self, block: &[u8]) {
        let excess = (self.history.len() + block.len()).saturating_sub(MAX_BLOCK_BYTES);
        self.history.drain(..excess.min(self.history.len()));
        self.history.extend_from_slice(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    fn packed(data: &[u8], history: &[u8]) -> Vec<u8> {
        let mut deflate = Compress::new(Compression::new(9), false);
        if !history.is_empty() {
            deflate.set_dictionary(history).unwrap();
        }
        let mut block = Vec::with_capacity(40_000);
        block.extend(SIGNATURE);
        deflate.compress_vec(data, &mut block, FlushCompress::Finish).unwrap();
        block
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let step = |state: &u32| Some(state.wrapping_mul(0x915f_77f5).wrapping_add(1));
        std::iter::successors(Some(7), step).map(|state| (state >> 24) as u8).take(bytes).collect()
    }

    #[test]
    fn blocks_refer_to_those_before_however_long_they_are() {
        let data = noise(30_000);
        for cut in [100, 9_999, 30_000] {
            let (mut ms_zip, mut out) = (MsZip::new(), Vec::new());
            for part in data.chunks(cut).take(40) {
                ms_zip.decode(&packed(part, &[]), part.len(), &mut out).unwrap();
                assert_eq!(out, part);
            }
            let history = &data[..data.len().min(40 * cut)];
            let again = packed(history, history);
            assert!(again.len() < history.len() / 10, "nothing was referred to");
            ms_zip.decode(&again, history.len(), &mut out).unwrap();
            assert_eq!(out, history);
        }
    }

    #[test]
    fn less_or_more_than_was_claimed_and_damage_are_errors() {
        let block = packed(b"abcabcabc", &[]);
        let decode = |block: &[u8], unpacked| MsZip::new().decode(block, unpacked, &mut Vec::new());
        assert!(decode(&block, 9).is_ok());
        for claimed in [1, 8, 10, 32_768] {
            assert!(matches!(decode(&block, claimed), Err(Fault::MsZip)), "{claimed}");
        }
        for len in 0..block.len() {
            assert!(decode(&block[..len], 9).is_err(), "{len}");
        }
        assert!(decode(&block[1..], 9).is_err());
        assert!(decode(&packed(b"abcabcabc", b"abc"), 9).is_err(), "a history that is not there");
    }
}
