//! SHA-1 and SHA-256 of the same bytes in one go.
//!
//! Each step of a SHA waits for the one before it. With a block for each in turn, a processor with instructions for
//! them is at both at once: a quarter less time than one after the other.

use crate::domain::digest::{Sha1, Sha256};
use sha1::Digest;

/// A block of both; what is given at once has to be no longer for the two to overlap.
const BLOCK_BYTES: usize = 64;

/// Which of Microsoft's digests are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shas {
    /// Neither: the root is to be told by somebody who has verified them.
    Neither,
    /// SHA-1, which names promise.
    Sha1,
    /// SHA-256 as well, which metadata promise.
    Both,
}

/// Those of Microsoft's digests that are wanted, over the bytes so far.
#[derive(Clone)]
pub(super) struct GrowingShas {
    sha1: Option<sha1::Sha1>,
    sha256: Option<sha2::Sha256>,
    /// Where both are wanted: how many bytes are in the last block, which is not full.
    in_block: usize,
}

impl GrowingShas {
    /// Of no bytes.
    pub(super) fn new(want_sha1: bool, want_sha256: bool) -> Self {
        Self { sha1: want_sha1.then(sha1::Sha1::new), sha256: want_sha256.then(sha2::Sha256::new), in_block: 0 }
    }

    /// Whether neither is wanted.
    pub(super) fn are_none(&self) -> bool {
        self.sha1.is_none() && self.sha256.is_none()
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match (&mut self.sha1, &mut self.sha256) {
            (Some(sha1), Some(sha256)) => {
                let (rest, blocks) = bytes.split_at(bytes.len().min((BLOCK_BYTES - self.in_block) % BLOCK_BYTES));
                for block in std::iter::once(rest).chain(blocks.chunks(BLOCK_BYTES)) {
                    sha1.update(block);
                    sha256.update(block);
                }
                self.in_block = (self.in_block + bytes.len()) % BLOCK_BYTES;
            }
            (Some(sha1), None) => sha1.update(bytes),
            (None, Some(sha256)) => sha256.update(bytes),
            (None, None) => {}
        }
    }

    /// Those that were wanted.
    pub(super) fn finish(&self) -> (Option<Sha1>, Option<Sha256>) {
        let sha1 = self.sha1.clone().map(|sha1| Sha1(sha1.finalize().into()));
        (sha1, self.sha256.clone().map(|sha256| Sha256(sha256.finalize().into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tree::tests::blob;

    #[test]
    fn bytes_in_pieces_of_any_length_have_the_digests_that_they_have_in_one() {
        for size in [0, 1, 63, 64, 65, 1_000, 100_001] {
            let data = blob(3, size);
            let sha1 = Sha1(sha1::Sha1::digest(&data).into());
            let sha256 = Sha256(sha2::Sha256::digest(&data).into());
            for piece in [1, 17, 63, 64, 65, 1_000, 65_536] {
                for (want_sha1, want_sha256) in [(true, true), (true, false), (false, true), (false, false)] {
                    let mut shas = GrowingShas::new(want_sha1, want_sha256);
                    data.chunks(piece).for_each(|bytes| shas.update(bytes));
                    assert_eq!(
                        shas.finish(),
                        (want_sha1.then_some(sha1), want_sha256.then_some(sha256)),
                        "{size} {piece}"
                    );
                }
            }
        }
    }
}
