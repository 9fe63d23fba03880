//! The BLAKE3 tree of bytes in order, from its left edge.
//!
//! The length has to be known from the start: it is what the shape of the tree depends on. An inner node
//! is told as soon as everything beneath it is there.

use super::tree::{GROUP_BYTES, PAIR_BYTES, group_hash, pair_hash, pair_to_bytes};
use crate::domain::digest::Root;
use blake3::{Hash, hazmat::HasherExt};
use std::io;

/// An inner node of the tree: where its bytes belong in the outboard, and the bytes.
pub(super) type OnPair<'a> = dyn FnMut(u64, [u8; PAIR_BYTES]) -> io::Result<()> + 'a;

/// The tree over a prefix.
#[derive(Clone)]
pub(super) struct GrowingTree {
    size: u64,
    position: u64,
    group: blake3::Hasher,
    /// Finished subtrees from the left: the first group of each, and its hash.
    subtrees: Vec<(u64, Hash)>,
}

impl GrowingTree {
    /// Of no bytes.
    pub(super) fn new(size: u64) -> Self {
        Self { size, position: 0, group: blake3::Hasher::new(), subtrees: Vec::new() }
    }

    /// How many bytes are in.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Takes the next bytes. `InvalidInput` beyond the length. Of no use after an error.
    pub(super) fn update(&mut self, mut bytes: &[u8], on_pair: &mut OnPair<'_>) -> io::Result<()> {
        if bytes.len() as u64 > self.size - self.position {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        while !bytes.is_empty() {
            let end = self.position.saturating_add(1).next_multiple_of(GROUP_BYTES).min(self.size);
            let take = usize::try_from(end - self.position).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(take);
            self.take_part_of_group(now, end, on_pair)?;
            bytes = later;
        }
        Ok(())
    }

    /// The root; none before the last byte.
    pub(super) fn finish(&self) -> Option<Root> {
        match (self.position == self.size, self.subtrees.as_slice()) {
            (false, _) => None,
            (true, []) => Some(blake3::hash(b"").into()),
            (true, [(_, root)]) => Some((*root).into()),
            (true, _) => None,
        }
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

    /// The root, and the outboard as it was told.
    fn grown(data: &[u8], pieces: &[usize]) -> (Option<Root>, Vec<u8>) {
        let mut outboard = vec![0xee; outboard_of(data).0.len()];
        let mut growing = GrowingTree::new(data.len() as u64);
        let (mut rest, mut pieces) = (data, pieces.iter().cycle());
        while !rest.is_empty() {
            assert_eq!(growing.finish(), None);
            let (now, later) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
            let mut on_pair = |offset, pair: [u8; PAIR_BYTES]| {
                outboard[offset as usize..][..PAIR_BYTES].copy_from_slice(&pair);
                Ok(())
            };
            growing.update(now, &mut on_pair).unwrap();
            rest = later;
        }
        (growing.finish(), outboard)
    }

    fn expect_what_others_compute(data: &[u8], pieces: &[usize]) {
        let (outboard, root) = outboard_of(data);
        assert_eq!(root, blake3::hash(data).into());
        assert_eq!(grown(data, pieces), (Some(root), outboard), "{} in {pieces:?}", data.len());
    }

    #[test]
    fn bytes_in_order_have_the_root_and_the_tree_that_others_compute() {
        let group = GROUP_BYTES as usize;
        for size in [0, 1, group - 1, group, group + 1, 2 * group, 3 * group, 5 * group + 7, 8 * group, 33 * group - 1]
        {
            for pieces in [&[size.max(1)][..], &[1000], &[group], &[group, 1, 3 * group], &[4 * group]] {
                expect_what_others_compute(&blob(1, size), pieces);
            }
        }
    }

    #[test]
    fn more_than_the_length_is_refused() {
        let mut growing = GrowingTree::new(5);
        growing.update(b"1234", &mut |_, _| Ok(())).unwrap();
        assert!(growing.update(b"56", &mut |_, _| panic!("it is refused")).is_err());
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
