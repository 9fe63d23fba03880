//! The shape of a blob's hash tree: BLAKE3 over groups of 64 KiB, inner nodes stored in pre-order.
//!
//! Also lets [`ReadAt`] and [`DiskFile`] be used where bao-tree wants its own traits. Pure.

use super::disk::DiskFile;
use crate::{base::read_at::ReadAt, domain::digest::Root};
use bao_tree::{
    BaoTree, BlockSize, ChunkNum, ChunkRanges,
    io::{outboard::PreOrderOutboard, sync},
};
use blake3::{
    Hash,
    hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use std::{io, ops::Range};

pub use crate::domain::digest::GROUP_BYTES;
/// One inner node: the hashes of its two children.
pub(super) const PAIR_BYTES: usize = 64;
/// The longest file that Linux can hold; a longer claim verifies nothing.
const MAX_SIZE: u64 = i64::MAX as u64;
const CHUNK_BYTES: u64 = blake3::CHUNK_LEN as u64;
/// 2^6 chunks of 1 KiB.
const BLOCK_SIZE: BlockSize = BlockSize::from_chunk_log(6);

/// The tree of a blob of `size` bytes.
pub(super) fn tree(size: u64) -> BaoTree {
    BaoTree::new(size.min(MAX_SIZE), BLOCK_SIZE)
}

/// Length of a blob's outboard, in bytes: 0 up to one group.
pub(super) fn outboard_len(size: u64) -> u64 {
    tree(size).outboard_size()
}

/// The smallest range of whole groups around `range`, cut at `size`; what is empty stays empty.
pub fn aligned(range: Range<u64>, size: u64) -> Range<u64> {
    let start = range.start.min(size) / GROUP_BYTES * GROUP_BYTES;
    let end = range.end.min(size);
    let end_of_group = end.checked_next_multiple_of(GROUP_BYTES).unwrap_or(size);
    if end <= range.start { start..start } else { start..end_of_group.min(size) }
}

/// The chunks of an aligned range. Open where it ends with the blob: else the last group counts as cut.
pub(super) fn chunks(range: &Range<u64>, size: u64) -> ChunkRanges {
    let start = ChunkNum(range.start / CHUNK_BYTES);
    match range {
        _ if range.is_empty() => ChunkRanges::empty(),
        range if range.end >= size => ChunkRanges::from(start..),
        range => ChunkRanges::from(start..ChunkNum(range.end / CHUNK_BYTES)),
    }
}

/// Everything between 0 and `size` that is in none of `ranges`, which are ordered.
pub(super) fn gaps(ranges: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let starts = std::iter::once(0).chain(ranges.iter().map(|range| range.end));
    let ends = ranges.iter().map(|range| range.start).chain(std::iter::once(size));
    starts.zip(ends).filter(|(start, end)| start < end).map(|(start, end)| start..end).collect()
}

/// What of the blob proves itself, as ordered ranges that do not touch. Reads and hashes all of it that
/// the outboard can speak of; a blob of one group needs no outboard.
pub(super) fn proven(data: &dyn ReadAt, outboard: &dyn ReadAt, root: Root, size: u64) -> io::Result<Vec<Range<u64>>> {
    let all = ChunkRanges::all();
    joined(sync::valid_ranges(stored(outboard, root, size), Positioned(data), all.as_ref()), size)
}

/// The same for the outboard alone: what it could prove if the data were right.
pub(super) fn proven_by_outboard(outboard: &dyn ReadAt, root: Root, size: u64) -> io::Result<Vec<Range<u64>>> {
    let all = ChunkRanges::all();
    joined(sync::valid_outboard_ranges(stored(outboard, root, size), all.as_ref()), size)
}

fn stored(outboard: &dyn ReadAt, root: Root, size: u64) -> PreOrderOutboard<Positioned<'_, dyn ReadAt + '_>> {
    PreOrderOutboard { root: root.into(), tree: tree(size), data: Positioned(outboard) }
}

fn joined(ranges: impl IntoIterator<Item = io::Result<Range<ChunkNum>>>, size: u64) -> io::Result<Vec<Range<u64>>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let range = range?;
        let range = range.start.to_bytes()..range.end.to_bytes().min(size);
        match joined.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => joined.push(range),
        }
    }
    Ok(joined)
}

/// The hash of one group; `is_root` where the blob is no longer than it.
pub(super) fn group_hash(offset: u64, bytes: &[u8], is_root: bool) -> Hash {
    if is_root {
        return blake3::hash(bytes);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset).update(bytes);
    hasher.finalize_non_root().into()
}

/// The hash of an inner node.
pub(super) fn pair_hash((left, right): &(Hash, Hash), is_root: bool) -> Hash {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    match is_root {
        true => merge_subtrees_root(left, right, Mode::Hash),
        false => merge_subtrees_non_root(left, right, Mode::Hash).into(),
    }
}

/// An inner node as it is stored and sent.
pub(super) fn pair_to_bytes((left, right): &(Hash, Hash)) -> [u8; PAIR_BYTES] {
    let mut bytes = [0; PAIR_BYTES];
    bytes[..32].copy_from_slice(left.as_bytes());
    bytes[32..].copy_from_slice(right.as_bytes());
    bytes
}

/// Our positioned bytes in bao-tree's eyes.
#[derive(Clone, Copy)]
pub(super) struct Positioned<'a, T: ?Sized>(pub(super) &'a T);

impl<T: ReadAt + ?Sized> sync::ReadAt for Positioned<'_, T> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
}

impl<T: DiskFile + ?Sized> sync::WriteAt for Positioned<'_, T> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all_at(bytes, offset).map(|()| bytes.len())
    }

    /// An outboard can be computed again, so it need not be durable.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range is meant")]
pub(crate) mod tests {
    use super::*;

    /// Bytes that differ from group to group and from seed to seed.
    pub(crate) fn blob(seed: u64, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// The outboard and root of a blob, in memory.
    pub(crate) fn outboard_of(data: &[u8]) -> (Vec<u8>, Root) {
        let mut outboard =
            PreOrderOutboard { root: blake3::hash(b""), tree: tree(data.len() as u64), data: Vec::new() };
        sync::CreateOutboard::init_from(&mut outboard, data).unwrap();
        (outboard.data, outboard.root.into())
    }

    #[test]
    fn ranges_grow_to_whole_groups_and_never_past_the_end() {
        for (range, size, expected) in [
            (0..1, 200_000, 0..65_536),
            (65_535..65_537, 200_000, 0..131_072),
            (65_536..131_072, 200_000, 65_536..131_072),
            (150_000..u64::MAX, 200_000, 131_072..200_000),
            (0..u64::MAX, u64::MAX, 0..u64::MAX),
        ] {
            assert_eq!(aligned(range.clone(), size), expected, "{range:?} of {size}");
        }
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "a peer may send one")]
    fn what_is_empty_stays_empty() {
        for (range, size) in [(0..0, 0), (0..10, 0), (5..5, 100), (7..3, 100), (300..400, 100), (u64::MAX..1, 9)] {
            assert!(aligned(range.clone(), size).is_empty(), "{range:?} of {size}");
        }
    }

    #[test]
    fn gaps_are_what_the_ranges_leave() {
        assert_eq!(gaps(&[], 10), [0..10]);
        assert_eq!(gaps(&[0..10], 10), []);
        assert_eq!(gaps(&[2..4, 6..10], 10), [0..2, 4..6]);
        assert_eq!(gaps(&[], 0), []);
    }
}
