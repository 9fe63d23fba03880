//! Bao segments: a right one, damaged as the input says, with a size that may be a lie. Whatever
//! arrives, the sink gets the blob's own hashes and groups in order, or nothing further.

use blake3::{
    Hash, Hasher,
    hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use std::{io, ops::Range, sync::LazyLock};
use wuasync::store::segment::{GROUP_BYTES, GroupSink, SegmentDecoder, TreeNode, aligned, encoded_len};

/// Around one group, and trees of both even and lopsided shape.
const SIZES: [usize; 8] = [0, 1, 65_535, 65_536, 65_537, 131_073, 200_000, 330_000];
const EDITS: usize = 16;
const GROUP: usize = GROUP_BYTES as usize;

static BLOBS: LazyLock<Vec<Blob>> = LazyLock::new(|| SIZES.map(Blob::new).into());

/// `[size, claim, start, end, piece]`, then edits of six bytes: `[kind, at: u24, value, length]`.
pub fn segments(data: &[u8]) {
    let Some((&[size, claim, start, end, piece], edits)) = data.split_first_chunk() else { return };
    let blob = &BLOBS[usize::from(size) % SIZES.len()];
    let size = blob.bytes.len() as u64;
    let claimed = claimed_size(claim, size);
    // In quarters of a group, so that ranges also begin and end within one.
    let range = u64::from(start) * GROUP_BYTES / 4..u64::from(end) * GROUP_BYTES / 4;
    let right = blob.segment(aligned(range.clone(), size));
    assert_eq!(right.bytes.len() as u64, encoded_len(size, &range));
    let mut bytes = right.bytes.clone();
    edits.chunks_exact(6).take(EDITS).for_each(|edit| apply(edit, &mut bytes));
    let fed = feed(blob, claimed, range, &bytes, usize::from(piece) * 509 + 1, (claimed == size).then_some(&right));
    if claimed == size {
        let is_whole = bytes.starts_with(&right.bytes);
        assert_eq!(fed, is_whole.then_some(right.bytes.len()), "what is proven, and by how many bytes");
    }
}

/// Mostly the truth: only a right claim lets a segment be proven to its end.
fn claimed_size(claim: u8, size: u64) -> u64 {
    match claim {
        0..=191 => size,
        255 => u64::MAX,
        254 => 0,
        lie if lie % 2 == 0 => size + u64::from(lie - 191) * GROUP_BYTES / 8,
        lie => size.saturating_sub(u64::from(lie - 191) * GROUP_BYTES / 8),
    }
}

fn apply(edit: &[u8], bytes: &mut Vec<u8>) {
    let at = (usize::from(edit[1]) << 16 | usize::from(edit[2]) << 8 | usize::from(edit[3])) % (bytes.len() + 1);
    let (value, length) = (edit[4], usize::from(edit[5]));
    let end = (at + length).min(bytes.len());
    match edit[0] % 6 {
        0 => bytes[at..end].iter_mut().take(1).for_each(|byte| *byte ^= 1 << (value % 8)),
        1 => bytes[at..end].fill(value),
        2 => drop(bytes.drain(at..end)),
        3 => drop(bytes.splice(at..at, vec![value; length])),
        4 => bytes.truncate(at),
        // Another piece of the same segment, as where groups or hashes change places.
        _ => {
            let from = usize::from(value) * 64 % (bytes.len() - (end - at) + 1);
            bytes.copy_within(from..from + (end - at), at);
        }
    }
}

/// How many bytes proved the whole range; `None` where they do not.
fn feed(
    blob: &Blob,
    size: u64,
    range: Range<u64>,
    bytes: &[u8],
    piece: usize,
    right: Option<&Segment>,
) -> Option<usize> {
    let mut decoder = SegmentDecoder::new(blob.root.into(), size, range);
    let mut sink = Judge { blob, right, taken: 0 };
    let mut consumed = 0;
    for piece in bytes.chunks(piece) {
        let of_piece = decoder.feed(piece, &mut sink).ok()?;
        assert!(of_piece == piece.len() || decoder.is_done(), "bytes were left over in the middle");
        consumed += of_piece;
        if decoder.is_done() {
            assert_eq!(decoder.feed(b"more", &mut sink).ok(), Some(0), "bytes after the end are taken");
            break;
        }
    }
    assert!(!decoder.is_done() || right.is_none_or(|right| right.items.len() == sink.taken), "done without all");
    decoder.is_done().then_some(consumed)
}

/// Compares everything that reaches it with the blob.
struct Judge<'a> {
    blob: &'a Blob,
    /// What has to come; unknown where the size is a lie.
    right: Option<&'a Segment>,
    taken: usize,
}

impl Judge<'_> {
    fn take(&mut self, item: &Item) {
        if let Some(right) = self.right {
            assert_eq!(right.items.get(self.taken), Some(item), "not what comes at {}", self.taken);
        }
        self.taken += 1;
    }
}

impl GroupSink for Judge<'_> {
    fn pair(&mut self, _: TreeNode, pair: &(Hash, Hash)) -> io::Result<()> {
        self.take(&Item::Pair(*pair));
        Ok(())
    }

    fn group(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).expect("an offset within memory");
        assert_eq!(self.blob.bytes.get(at..at + bytes.len()), Some(bytes), "bytes that are not the blob's");
        self.take(&Item::Group(offset, bytes.len()));
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
enum Item {
    Pair((Hash, Hash)),
    Group(u64, usize),
}

/// A right segment, and what a sink gets of it.
#[derive(Default)]
struct Segment {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

struct Blob {
    bytes: Vec<u8>,
    root: Hash,
    groups: Vec<Hash>,
}

impl Blob {
    /// Bytes that no two groups share.
    fn new(size: usize) -> Self {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(&size.to_be_bytes()).finalize_xof().fill(&mut bytes);
        let groups = bytes.chunks(GROUP).enumerate().map(|(n, group)| {
            let mut hasher = Hasher::new();
            hasher.set_input_offset(n as u64 * GROUP_BYTES).update(group);
            Hash::from(hasher.finalize_non_root())
        });
        Self { root: blake3::hash(&bytes), groups: groups.collect(), bytes }
    }

    /// The pre-order walk over a range of whole groups.
    fn segment(&self, range: Range<u64>) -> Segment {
        let mut segment = Segment::default();
        if !range.is_empty() {
            self.walk(0..self.groups.len(), &range, &mut segment);
        }
        segment
    }

    fn walk(&self, groups: Range<usize>, wanted: &Range<u64>, segment: &mut Segment) {
        let bytes = groups.start * GROUP..(groups.end * GROUP).min(self.bytes.len());
        if bytes.start as u64 >= wanted.end || bytes.end as u64 <= wanted.start {
            return;
        }
        if groups.len() == 1 {
            segment.items.push(Item::Group(bytes.start as u64, bytes.len()));
            segment.bytes.extend_from_slice(&self.bytes[bytes]);
            return;
        }
        let middle = middle(&groups);
        let pair = (self.hash(groups.start..middle), self.hash(middle..groups.end));
        segment.bytes.extend_from_slice(pair.0.as_bytes());
        segment.bytes.extend_from_slice(pair.1.as_bytes());
        segment.items.push(Item::Pair(pair));
        self.walk(groups.start..middle, wanted, segment);
        self.walk(middle..groups.end, wanted, segment);
    }

    fn hash(&self, groups: Range<usize>) -> Hash {
        if groups.len() == 1 {
            return self.groups[groups.start];
        }
        let middle = middle(&groups);
        let (left, right) = (self.hash(groups.start..middle), self.hash(middle..groups.end));
        match groups.len() == self.groups.len() {
            true => merge_subtrees_root(left.as_bytes(), right.as_bytes(), Mode::Hash),
            false => merge_subtrees_non_root(left.as_bytes(), right.as_bytes(), Mode::Hash).into(),
        }
    }
}

/// The left child is the largest full tree that leaves something to the right one.
fn middle(groups: &Range<usize>) -> usize {
    groups.start + (1 << (groups.len() - 1).ilog2())
}
