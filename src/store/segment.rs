//! Bao segments: a range of a blob with the hashes that prove it against the blob's root.
//!
//! Push style, no async: the encoder gives batches of bytes, the decoder is fed whatever arrives. A
//! segment is the pre-order walk over the groups of one range: inner nodes of 64 bytes, groups of up to
//! [`GROUP_BYTES`]. The sender does not verify; nothing reaches a [`GroupSink`] before it is proven.

pub use super::tree::{GROUP_BYTES, aligned};
use super::tree::{PAIR_BYTES, chunks, group_hash, pair_hash, tree};
use crate::{base::read_at::ReadAt, domain::digest::Root};
use bao_tree::{
    BaoTree,
    iter::{BaoChunk, ResponseIter},
};
pub use bao_tree::{TreeNode, blake3::Hash};
use bytes::Bytes;
use std::{io, ops::Range, sync::Arc};

/// Length in bytes of the segment for `range` (grown to whole groups) of a blob of `size` bytes.
pub fn encoded_len(size: u64, range: &Range<u64>) -> u64 {
    let range = aligned(range.clone(), size);
    let groups = range.start / GROUP_BYTES..range.end.div_ceil(GROUP_BYTES);
    let pairs = pairs_above(size.div_ceil(GROUP_BYTES), &groups);
    (range.end - range.start).saturating_add(pairs.saturating_mul(PAIR_BYTES as u64))
}

/// Inner nodes above `wanted` groups in a tree of `groups` groups. The left child of a node is the
/// largest full tree that leaves something to the right one.
fn pairs_above(groups: u64, wanted: &Range<u64>) -> u64 {
    let wanted = wanted.start..wanted.end.min(groups);
    if wanted.is_empty() || groups <= 1 {
        return 0;
    }
    if wanted == (0..groups) {
        return groups - 1;
    }
    let left = 1 << (groups - 1).ilog2();
    let right = wanted.start.saturating_sub(left)..wanted.end.saturating_sub(left);
    1 + pairs_above(left, &wanted) + pairs_above(groups - left, &right)
}

/// Makes a segment from data and outboard, without verifying either.
pub struct SegmentEncoder {
    /// None over a blob of one group: its bytes are all there is.
    walk: Option<ResponseIter>,
    /// Bytes of the segment that are still to come.
    left: u64,
    tree: BaoTree,
    data: Arc<dyn ReadAt>,
    outboard: Option<Arc<dyn ReadAt>>,
}

impl SegmentEncoder {
    /// An encoder for `range`, grown to whole groups, of a blob of `size` bytes. A blob of more than one
    /// group needs its outboard.
    pub fn new(size: u64, range: Range<u64>, data: Arc<dyn ReadAt>, outboard: Option<Arc<dyn ReadAt>>) -> Self {
        let (tree, left) = (tree(size), encoded_len(size, &range));
        Self { walk: (size > GROUP_BYTES).then(|| walk(tree, range)), left, tree, data, outboard }
    }

    /// The next bytes of the segment, about `target_bytes` of them: at most one group more. `None` at
    /// its end.
    pub fn next_batch(&mut self, target_bytes: usize) -> io::Result<Option<Bytes>> {
        let mut batch = Vec::new();
        self.append_to(&mut batch, target_bytes)?;
        Ok((!batch.is_empty()).then(|| batch.into()))
    }

    /// Appends the next bytes of the segment until `out` has about `target_bytes`: at most one group more. Whether
    /// there may be more of them.
    pub fn append_to(&mut self, out: &mut Vec<u8>, target_bytes: usize) -> io::Result<bool> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let Some(walk) = &mut self.walk else {
            self.left = 0;
            read_to(out, left, &*self.data, 0)?;
            return Ok(false);
        };
        out.reserve(left.min(target_bytes.saturating_add(GROUP_BYTES as usize).saturating_sub(out.len())));
        while out.len() < target_bytes.max(1) {
            let Some(item) = walk.next() else { return Ok(false) };
            match item {
                BaoChunk::Leaf { start_chunk, .. } => read_to(out, item.size(), &*self.data, start_chunk.to_bytes())?,
                BaoChunk::Parent { node, .. } => {
                    let outboard = self.outboard.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
                    read_to(out, item.size(), &**outboard, pair_offset(self.tree, node)?)?;
                }
            }
            self.left = self.left.saturating_sub(item.size() as u64);
        }
        Ok(true)
    }
}

fn read_to(out: &mut Vec<u8>, len: usize, from: &dyn ReadAt, offset: u64) -> io::Result<()> {
    let at = out.len();
    out.resize(at + len, 0);
    from.read_exact_at(&mut out[at..], offset)
}

/// Where an inner node is in an outboard.
pub(super) fn pair_offset(tree: BaoTree, node: TreeNode) -> io::Result<u64> {
    let index = tree.pre_order_offset(node).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(index * PAIR_BYTES as u64)
}

fn walk(tree: BaoTree, range: Range<u64>) -> ResponseIter {
    let range = aligned(range, tree.size());
    ResponseIter::new(tree, chunks(&range, tree.size()))
}

/// Takes what a segment proved. An error ends the segment.
pub trait GroupSink {
    /// An inner node of the blob's tree. Comes before everything beneath it.
    fn pair(&mut self, node: TreeNode, pair: &(Hash, Hash)) -> io::Result<()>;
    /// The bytes of one group; `offset` is in the blob.
    fn group(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

/// Why a segment ended early.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The hashes received do not belong to the blob.
    #[error("hashes that do not prove themselves against the root")]
    ParentMismatch,
    /// The bytes received do not belong to the blob.
    #[error("the group at {offset} does not prove itself against the root")]
    GroupMismatch {
        /// Where it would be in the blob.
        offset: u64,
    },
    /// Proven bytes could not be taken.
    #[error("taking a proven group")]
    Sink(#[source] io::Error),
}

/// Verifies a segment as it arrives. Holds at most one group that is not complete yet. After an error
/// it stands before the piece that failed; whoever gets one gives the segment up.
pub struct SegmentDecoder {
    walk: ResponseIter,
    /// What comes next; none at the segment's end.
    awaited: Option<BaoChunk>,
    /// Hashes that what is still to come has to have, the next one last.
    expected: Vec<Hash>,
    /// The beginning of what is awaited.
    held: Vec<u8>,
}

impl SegmentDecoder {
    /// A decoder for `range`, grown to whole groups, of the blob `root` of `size` bytes.
    pub fn new(root: Root, size: u64, range: Range<u64>) -> Self {
        let tree = tree(size);
        let mut walk = walk(tree, range);
        let awaited = if size == 0 { awaited_of_nothing(root) } else { walk.next() };
        Self { walk, awaited, expected: vec![root.into()], held: Vec::new() }
    }

    /// Takes the next bytes of the segment and hands what they prove to `sink`. Answers how many of them
    /// belong to the segment: all, unless it is over.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn GroupSink) -> Result<usize, DecodeError> {
        let mut consumed = 0;
        while let Some(awaited) = &self.awaited {
            let rest = &bytes[consumed..];
            let missing = awaited.size() - self.held.len();
            if rest.len() < missing {
                self.held.extend_from_slice(rest);
                return Ok(bytes.len());
            }
            self.complete(&rest[..missing], sink)?;
            consumed += missing;
        }
        Ok(consumed)
    }

    /// Whether everything in the range has been proven.
    pub fn is_done(&self) -> bool {
        self.awaited.is_none()
    }

    /// `tail` completes what is awaited; in the best case it is all of it and need not be copied.
    fn complete(&mut self, tail: &[u8], sink: &mut dyn GroupSink) -> Result<(), DecodeError> {
        if self.held.is_empty() {
            return self.verify(tail, sink);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(tail);
        let verified = self.verify(&held, sink);
        held.clear();
        self.held = held;
        verified
    }

    fn verify(&mut self, bytes: &[u8], sink: &mut dyn GroupSink) -> Result<(), DecodeError> {
        match self.awaited {
            Some(BaoChunk::Parent { node, is_root, left, right, .. }) => {
                let pair = parse_pair(bytes).ok_or(DecodeError::ParentMismatch)?;
                if self.expected.last() != Some(&pair_hash(&pair, is_root)) {
                    return Err(DecodeError::ParentMismatch);
                }
                sink.pair(node, &pair).map_err(DecodeError::Sink)?;
                self.expected.pop();
                self.expected.extend(right.then_some(pair.1));
                self.expected.extend(left.then_some(pair.0));
            }
            Some(BaoChunk::Leaf { start_chunk, is_root, .. }) => {
                let offset = start_chunk.to_bytes();
                if self.expected.last() != Some(&group_hash(offset, bytes, is_root)) {
                    return Err(DecodeError::GroupMismatch { offset });
                }
                sink.group(offset, bytes).map_err(DecodeError::Sink)?;
                self.expected.pop();
            }
            None => {}
        }
        self.awaited = self.walk.next();
        Ok(())
    }
}

/// A blob of no bytes has nothing to send: it is proven at once, or never.
fn awaited_of_nothing(root: Root) -> Option<BaoChunk> {
    (root != blake3::hash(b"").into()).then(BaoChunk::default)
}

fn parse_pair(bytes: &[u8]) -> Option<(Hash, Hash)> {
    let (left, right) = bytes.split_first_chunk::<32>()?;
    Some((Hash::from(*left), Hash::from(*right.first_chunk::<32>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tree::tests::{blob, outboard_of};
    use proptest::prelude::*;

    /// Keeps groups, and refuses to be given anything that is not the blob's.
    struct Checked<'a> {
        blob: &'a [u8],
        groups: Vec<Range<u64>>,
        pairs: usize,
    }

    impl GroupSink for Checked<'_> {
        fn pair(&mut self, _: TreeNode, _: &(Hash, Hash)) -> io::Result<()> {
            self.pairs += 1;
            Ok(())
        }

        fn group(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let at = offset as usize;
            assert_eq!(bytes, &self.blob[at..at + bytes.len()], "wrong bytes reached the sink");
            self.groups.push(offset..offset + bytes.len() as u64);
            Ok(())
        }
    }

    fn encoded(data: &[u8], range: Range<u64>, target_bytes: usize) -> Vec<u8> {
        let (outboard, _) = outboard_of(data);
        let outboard: Option<Arc<dyn ReadAt>> = (!outboard.is_empty()).then(|| Arc::new(outboard) as _);
        let mut encoder = SegmentEncoder::new(data.len() as u64, range, Arc::new(data.to_vec()), outboard);
        let mut segment = Vec::new();
        while let Some(batch) = encoder.next_batch(target_bytes).unwrap() {
            assert!(batch.len() < target_bytes + GROUP_BYTES as usize);
            segment.extend_from_slice(&batch);
        }
        segment
    }

    fn decode(data: &[u8], range: Range<u64>, pieces: &[&[u8]]) -> Result<Vec<Range<u64>>, DecodeError> {
        let mut decoder = SegmentDecoder::new(blake3::hash(data).into(), data.len() as u64, range);
        let mut sink = Checked { blob: data, groups: Vec::new(), pairs: 0 };
        for piece in pieces {
            assert_eq!(decoder.feed(piece, &mut sink)?, piece.len());
            assert!(decoder.held.len() < GROUP_BYTES as usize);
        }
        assert!(decoder.is_done());
        Ok(sink.groups)
    }

    fn whole_groups(range: Range<u64>, size: u64) -> Vec<Range<u64>> {
        let range = aligned(range, size);
        range.clone().step_by(GROUP_BYTES as usize).map(|at| at..(at + GROUP_BYTES).min(size)).collect()
    }

    #[test]
    fn every_edge_of_a_group_round_trips() {
        for size in [1, 1023, 1024, 1025, 65_535, 65_536, 65_537, 131_072, 131_073, 200_000, 7 * 65_536, 1_000_000] {
            let data = blob(1, size);
            let size = size as u64;
            for range in [0..size, 0..1, size - 1..size, size / 2..size / 2 + 1, 65_536..65_537] {
                let segment = encoded(&data, range.clone(), 100_000);
                assert_eq!(segment.len() as u64, encoded_len(size, &range), "{range:?} of {size}");
                let groups = decode(&data, range.clone(), &[&segment]).unwrap();
                assert_eq!(groups, whole_groups(range, size));
            }
        }
    }

    #[test]
    fn a_blob_of_nothing_is_proven_by_its_root_alone() {
        assert_eq!(encoded(b"", 0..0, 1000), b"");
        assert_eq!(encoded_len(0, &(0..0)), 0);
        assert!(SegmentDecoder::new(blake3::hash(b"").into(), 0, 0..0).is_done());
        let mut wrong = SegmentDecoder::new(blake3::hash(b"x").into(), 0, 0..0);
        let mut sink = Checked { blob: b"", groups: Vec::new(), pairs: 0 };
        assert!(!wrong.is_done());
        assert!(matches!(wrong.feed(b"", &mut sink), Err(DecodeError::GroupMismatch { offset: 0 })));
    }

    #[test]
    fn bytes_after_the_segment_are_left_to_the_caller() {
        let data = blob(2, 100_000);
        let mut segment = encoded(&data, 0..100_000, 1 << 20);
        let len = segment.len();
        segment.extend_from_slice(b"next frame");
        let mut decoder = SegmentDecoder::new(blake3::hash(&data).into(), 100_000, 0..100_000);
        let mut sink = Checked { blob: &data, groups: Vec::new(), pairs: 0 };
        assert_eq!(decoder.feed(&segment, &mut sink).unwrap(), len);
        assert!(decoder.is_done());
        assert_eq!(decoder.feed(b"more", &mut sink).unwrap(), 0);
        assert_eq!(sink.pairs, 1);
    }

    #[test]
    fn another_size_or_root_than_claimed_proves_nothing() {
        let data = blob(3, 200_000);
        let segment = encoded(&data, 0..200_000, 1 << 20);
        for size in [1, 65_536, 131_072, 199_999, 300_000, u64::MAX] {
            let mut decoder = SegmentDecoder::new(blake3::hash(&data).into(), size, 0..size);
            let mut sink = Checked { blob: &data, groups: Vec::new(), pairs: 0 };
            let fed = decoder.feed(&segment, &mut sink);
            assert!(fed.is_err() || !decoder.is_done(), "{size}");
        }
    }

    #[test]
    fn a_data_file_that_shrank_and_a_missing_outboard_are_errors() {
        let data = blob(4, 100_000);
        let (outboard, _) = outboard_of(&data);
        let shrunk = Arc::new(data[..90_000].to_vec());
        let mut encoder = SegmentEncoder::new(100_000, 0..100_000, shrunk, Some(Arc::new(outboard)));
        assert_eq!(encoder.next_batch(1 << 20).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut encoder = SegmentEncoder::new(100_000, 0..100_000, Arc::new(data), None);
        assert_eq!(encoder.next_batch(1 << 20).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_sink_that_fails_ends_the_segment() {
        struct Full;
        impl GroupSink for Full {
            fn pair(&mut self, _: TreeNode, _: &(Hash, Hash)) -> io::Result<()> {
                Ok(())
            }
            fn group(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let mut decoder = SegmentDecoder::new(blake3::hash(b"abc").into(), 3, 0..3);
        assert!(matches!(decoder.feed(b"abc", &mut Full), Err(DecodeError::Sink(_))));
        assert!(!decoder.is_done());
    }

    #[test]
    fn the_length_of_an_absurd_segment_is_known_at_once() {
        assert!(encoded_len(u64::MAX, &(0..u64::MAX)) > u64::MAX / 2);
        assert!(encoded_len(u64::MAX, &(u64::MAX - 5..u64::MAX)) < 70_000);
    }

    #[test]
    fn encoder_and_decoder_may_move_to_another_thread() {
        fn movable<T: Send + 'static>() {}
        movable::<SegmentEncoder>();
        movable::<SegmentDecoder>();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_range_of_any_blob_round_trips_in_any_pieces(
            size in 1..900_000usize, ends in (any::<u32>(), any::<u32>()), piece in 1..200_000usize,
            target_bytes in 1..300_000usize,
        ) {
            let data = blob(size as u64, size);
            let (a, b) = (ends.0 as usize % (size + 1), ends.1 as usize % (size + 1));
            let range = a.min(b) as u64..a.max(b) as u64;
            let segment = encoded(&data, range.clone(), target_bytes);
            prop_assert_eq!(segment.len() as u64, encoded_len(size as u64, &range));
            let pieces: Vec<_> = segment.chunks(piece).collect();
            prop_assert_eq!(decode(&data, range.clone(), &pieces).unwrap(), whole_groups(range, size as u64));
        }

        #[test]
        fn any_flipped_bit_is_refused_and_nothing_wrong_reaches_the_sink(
            size in 1..400_000usize, at in any::<usize>(), bit in 0..8u8, piece in 1..200_000usize,
        ) {
            let data = blob(7, size);
            let mut segment = encoded(&data, 0..size as u64, 1 << 20);
            let at = at % segment.len();
            segment[at] ^= 1 << bit;
            let pieces: Vec<_> = segment.chunks(piece).collect();
            prop_assert!(decode(&data, 0..size as u64, &pieces).is_err());
        }
    }
}
