//! Digests of bytes in order: the BLAKE3 tree from its left edge, and SHA-1 and SHA-256 where they are asked for.
//!
//! The length has to be known from the start: it is what the shape of the tree depends on. An inner node
//! is told as soon as everything beneath it is there.

use super::{
    sha::{GrowingShas, Shas},
    tree::{GROUP_BYTES, PAIR_BYTES, group_hash, pair_hash, pair_to_bytes},
};
use crate::domain::digest::{Root, Sha1, Sha256};
use blake3::{Hash, hazmat::HasherExt};
use std::{io, thread};

/// From here on a thread for the SHAs pays for itself: it takes some 20 µs to begin.
const APART_FROM: usize = 256 << 10;

/// What a whole file's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// Length in bytes.
    pub size: u64,
    /// What names the content here.
    pub root: Root,
    /// What Microsoft's names promise; where it was asked for.
    pub sha1: Option<Sha1>,
    /// What Microsoft's metadata promise; where it was asked for.
    pub sha256: Option<Sha256>,
}

/// An inner node of the tree: where its bytes belong in the outboard, and the bytes.
pub(super) type OnPair<'a> = dyn FnMut(u64, [u8; PAIR_BYTES]) -> io::Result<()> + 'a;

/// Digests over a prefix.
#[derive(Clone)]
pub(super) struct GrowingDigests {
    size: u64,
    position: u64,
    group: blake3::Hasher,
    /// Finished subtrees from the left: the first group of each, and its hash.
    subtrees: Vec<(u64, Hash)>,
    shas: GrowingShas,
}

impl GrowingDigests {
    /// Of no bytes.
    pub(super) fn new(size: u64, shas: Shas) -> Self {
        let shas = GrowingShas::new(shas != Shas::Neither, shas == Shas::Both);
        Self { size, position: 0, group: blake3::Hasher::new(), subtrees: Vec::new(), shas }
    }

    /// How many bytes are in.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Takes the next bytes; `beside` is done at the same time. `InvalidInput` beyond the length. Of no use
    /// after an error.
    pub(super) fn update(
        &mut self,
        bytes: &[u8],
        beside: impl FnOnce() -> io::Result<()>,
        on_pair: &mut OnPair<'_>,
    ) -> io::Result<()> {
        if bytes.len() as u64 > self.size - self.position {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if bytes.len() < APART_FROM || self.shas.are_none() {
            beside()?;
            self.shas.update(bytes);
            return self.grow(bytes, on_pair);
        }
        let mut shas = self.shas.clone();
        self.shas = thread::scope(|scope| {
            let apart = thread::Builder::new().name("sha".to_owned()).spawn_scoped(scope, move || {
                shas.update(bytes);
                shas
            })?;
            beside()?;
            self.grow(bytes, on_pair)?;
            apart.join().map_err(|_| io::Error::other("the hashing thread panicked"))
        })?;
        Ok(())
    }

    /// None before the last byte.
    pub(super) fn finish(&self) -> Option<Digests> {
        let root = match (self.position == self.size, self.subtrees.as_slice()) {
            (false, _) => return None,
            (true, []) => blake3::hash(b""),
            (true, [(_, root)]) => *root,
            (true, _) => return None,
        };
        let (sha1, sha256) = self.shas.finish();
        Some(Digests { size: self.size, root: root.into(), sha1, sha256 })
    }

    fn grow(&mut self, mut bytes: &[u8], on_pair: &mut OnPair<'_>) -> io::Result<()> {
        while !bytes.is_empty() {
            let end = self.position.saturating_add(1).next_multiple_of(GROUP_BYTES).min(self.size);
            let take = usize::try_from(end - self.position).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(take);
            self.take_part_of_group(now, end, on_pair)?;
            bytes = later;
        }
        Ok(())
    }

    /// `end` is where the group ends.
    fn take_part_of_group(&mut self, bytes: &[u8], end: u64, on_pair: &mut OnPair<'_>) -> io::Result<()> {
        let group_start = self.position / GROUP_BYTES * GROUP_BYTES;
        if self.position == group_start && self.position + bytes.len() as u64 == end {
            self.position = end;
            return self.push(group_hash(group_start, bytes, self.is_one_group()), on_pair);
        }
        if self.position == group_start {
            self.group = blake3::Hasher::new();
            self.group.set_input_offset(group_start);
        }
        self.group.update(bytes);
        self.position += bytes.len() as u64;
        if self.position < end {
            return Ok(());
        }
        let hash = match self.is_one_group() {
            true => self.group.finalize(),
            false => self.group.finalize_non_root().into(),
        };
        self.push(hash, on_pair)
    }

    fn is_one_group(&self) -> bool {
        self.size <= GROUP_BYTES
    }

    /// Adds a group and finishes every node that it completes: full trees of equal size on the way, and
    /// whatever is left with the last group.
    fn push(&mut self, hash: Hash, on_pair: &mut OnPair<'_>) -> io::Result<()> {
        let groups = self.size.div_ceil(GROUP_BYTES);
        let done = self.position.div_ceil(GROUP_BYTES);
        self.subtrees.push((done - 1, hash));
        while let [.., (first, left), (middle, right)] = *self.subtrees.as_slice() {
            if done < groups && done - middle != middle - first {
                break;
            }
            let pair = (left, right);
            on_pair(pair_index(groups, first, done) * PAIR_BYTES as u64, pair_to_bytes(&pair))?;
            self.subtrees.truncate(self.subtrees.len() - 2);
            self.subtrees.push((first, pair_hash(&pair, first == 0 && done == groups)));
        }
        Ok(())
    }
}

/// Where the node over groups `first..end` stands in pre-order, in a tree of `groups` groups. The left
/// child of a node is the largest full tree that leaves something to the right one.
fn pair_index(groups: u64, first: u64, end: u64) -> u64 {
    let (mut low, mut high, mut index) = (0, groups, 0);
    while (low, high) != (first, end) && high - low > 1 {
        let left = 1 << (high - low - 1).ilog2();
        match end <= low + left {
            true => (high, index) = (low + left, index + 1),
            false => (low, index) = (low + left, index + left),
        }
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tree::tests::{blob, outboard_of};
    use proptest::prelude::*;
    use sha1::Digest;

    /// The digests, and the outboard as it was told.
    fn grown(data: &[u8], pieces: &[usize], shas: Shas) -> (Option<Digests>, Vec<u8>) {
        let mut outboard = vec![0xee; outboard_of(data).0.len()];
        let mut growing = GrowingDigests::new(data.len() as u64, shas);
        let (mut rest, mut pieces) = (data, pieces.iter().cycle());
        while !rest.is_empty() {
            assert_eq!(growing.finish(), None);
            let (now, later) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
            let mut is_done = false;
            let beside = || {
                is_done = true;
                Ok(())
            };
            let mut on_pair = |offset, pair: [u8; PAIR_BYTES]| {
                outboard[offset as usize..][..PAIR_BYTES].copy_from_slice(&pair);
                Ok(())
            };
            growing.update(now, beside, &mut on_pair).unwrap();
            assert!(is_done);
            rest = later;
        }
        (growing.finish(), outboard)
    }

    fn expect_what_others_compute(data: &[u8], pieces: &[usize]) {
        let (outboard, root) = outboard_of(data);
        assert_eq!(root, blake3::hash(data).into());
        for shas in [Shas::Neither, Shas::Sha1, Shas::Both] {
            let sha256 = (shas == Shas::Both).then(|| Sha256(sha2::Sha256::digest(data).into()));
            let sha1 = (shas != Shas::Neither).then(|| Sha1(sha1::Sha1::digest(data).into()));
            let digests = Digests { size: data.len() as u64, root, sha1, sha256 };
            let expected = (Some(digests), outboard.clone());
            assert_eq!(grown(data, pieces, shas), expected, "{} in {pieces:?}", data.len());
        }
    }

    #[test]
    fn bytes_in_order_have_the_digests_and_the_tree_that_others_compute() {
        let group = GROUP_BYTES as usize;
        for size in [0, 1, group - 1, group, group + 1, 2 * group, 3 * group, 5 * group + 7, 8 * group, 33 * group - 1]
        {
            for pieces in [&[size.max(1)][..], &[1000], &[group], &[group, 1, 3 * group], &[APART_FROM]] {
                expect_what_others_compute(&blob(1, size), pieces);
            }
        }
    }

    #[test]
    fn more_than_the_length_is_refused() {
        let mut growing = GrowingDigests::new(5, Shas::Neither);
        growing.update(b"1234", || Ok(()), &mut |_, _| Ok(())).unwrap();
        assert!(growing.update(b"56", || panic!("it is done"), &mut |_, _| Ok(())).is_err());
    }

    #[test]
    fn what_is_done_beside_may_fail() {
        for size in [5, APART_FROM] {
            let mut growing = GrowingDigests::new(size as u64, Shas::Both);
            let failed = || Err(io::ErrorKind::StorageFull.into());
            let error = growing.update(&vec![0; size], failed, &mut |_, _| Ok(())).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_pieces_of_any_bytes_have_them_too(
            seed in any::<u64>(),
            size in 0..2_500_000usize,
            pieces in prop::collection::vec(1..400_000usize, 1..6),
        ) {
            expect_what_others_compute(&blob(seed, size), &pieces);
        }
    }
}
