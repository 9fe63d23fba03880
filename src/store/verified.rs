//! Whether a blob on disk is still itself, and where it is not.

use super::{
    hash::{Changed, hash_file},
    tree::{gaps, outboard_len, proven, proven_by_outboard},
};
use crate::{base::read_at::ReadAt, domain::digest::Root};
use std::{io, ops::Range};

/// What of the blob does not prove itself, in whole groups and in order; nothing if all does. Without
/// an outboard that can be trusted it is all or nothing. Reads everything once; twice where outboard
/// and data are both doubtful. A wrong blob of no bytes is bad as `0..0`.
pub fn verify(data: &dyn ReadAt, outboard: Option<&dyn ReadAt>, root: Root, size: u64) -> io::Result<Vec<Range<u64>>> {
    let Some(outboard) = outboard.filter(|_| outboard_len(size) > 0) else {
        return Ok(if is_whole(data, root, size)? { Vec::new() } else { everything(size) });
    };
    // A longer file is another blob, even if it begins with this one.
    if data.read_at(&mut [0], size)? != 0 {
        return Ok(everything(size));
    }
    let bad = gaps(&proven(data, outboard, root, size)?, size);
    // A rotten outboard condemns good data.
    if !bad.is_empty() && !outboard_is_whole(outboard, root, size)? && is_whole(data, root, size)? {
        return Ok(Vec::new());
    }
    Ok(bad)
}

/// Whether an outboard is that of the blob, whatever became of the blob's bytes; if not, it is to be
/// computed again. Reads a thousandth of the blob's size.
pub fn outboard_is_whole(outboard: &dyn ReadAt, root: Root, size: u64) -> io::Result<bool> {
    Ok(gaps(&proven_by_outboard(outboard, root, size)?, size).is_empty())
}

#[expect(clippy::single_range_in_vec_init, reason = "one range is meant")]
fn everything(size: u64) -> Vec<Range<u64>> {
    vec![0..size]
}

fn is_whole(data: &dyn ReadAt, root: Root, size: u64) -> io::Result<bool> {
    match hash_file(data, size, false, None, &mut |_| {}) {
        Ok(hashed) => Ok(hashed.root == root),
        Err(e) if Changed::is(&e) => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range is meant")]
mod tests {
    use super::*;
    use crate::store::tree::tests::{blob, outboard_of};

    const SIZE: usize = 400_000;

    struct Blob {
        data: Vec<u8>,
        outboard: Vec<u8>,
        root: Root,
    }

    fn good(size: usize) -> Blob {
        let data = blob(1, size);
        let (outboard, root) = outboard_of(&data);
        Blob { data, outboard, root }
    }

    impl Blob {
        fn bad(&self, size: usize) -> Vec<Range<u64>> {
            verify(&self.data, Some(&self.outboard), self.root, size as u64).unwrap()
        }

        fn bad_without_outboard(&self, size: usize) -> Vec<Range<u64>> {
            verify(&self.data, None, self.root, size as u64).unwrap()
        }
    }

    #[test]
    fn a_good_blob_of_any_size_verifies() {
        for size in [0, 1, 65_536, 65_537, SIZE] {
            let blob = good(size);
            assert_eq!(blob.bad(size), []);
            assert_eq!(blob.bad_without_outboard(size), []);
        }
    }

    #[test]
    fn rotten_groups_are_named_and_without_outboard_all_is_bad() {
        let mut blob = good(SIZE);
        for at in [65_536, 140_000, SIZE - 1] {
            blob.data[at] ^= 0x10;
        }
        assert_eq!(blob.bad(SIZE), [65_536..196_608, 393_216..SIZE as u64]);
        assert_eq!(blob.bad_without_outboard(SIZE), [0..SIZE as u64]);
    }

    #[test]
    fn a_rotten_outboard_does_not_condemn_good_data() {
        let mut blob = good(SIZE);
        blob.outboard[3] ^= 1;
        assert_eq!(blob.bad(SIZE), []);
        assert!(!outboard_is_whole(&blob.outboard, blob.root, SIZE as u64).unwrap());
        blob.data[0] ^= 1;
        assert_eq!(blob.bad(SIZE), [0..SIZE as u64]);
    }

    #[test]
    fn an_outboard_is_judged_without_the_data() {
        let mut blob = good(SIZE);
        assert!(outboard_is_whole(&blob.outboard, blob.root, SIZE as u64).unwrap());
        let last = blob.outboard.len() - 1;
        blob.outboard[last] ^= 1;
        assert!(!outboard_is_whole(&blob.outboard, blob.root, SIZE as u64).unwrap());
        assert!(!outboard_is_whole(&Vec::new(), blob.root, SIZE as u64).unwrap());
    }

    #[test]
    fn a_file_of_another_length_is_bad() {
        let mut blob = good(SIZE);
        blob.data.pop();
        assert_eq!(blob.bad(SIZE), [393_216..SIZE as u64]);
        assert_eq!(blob.bad_without_outboard(SIZE), [0..SIZE as u64]);
        blob.data.extend([0; 9]);
        assert_eq!(blob.bad(SIZE), [0..SIZE as u64]);
        blob.data.clear();
        blob.data.push(1);
        assert_eq!(verify(&blob.data, None, blake3::hash(b"").into(), 0).unwrap().len(), 1);
    }
}
