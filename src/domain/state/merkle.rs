//! The Merkle bucket tree over one namespace: 64 inner nodes of 64 buckets.
//!
//! A key's place is fixed by its BLAKE3, so a change rehashes one bucket and two nodes, however
//! many entries there are. A bucket's hash covers its sorted entries whole; sums or XORs of hashes
//! could be forged and are not used.

use std::collections::BTreeMap;

/// Children of the root and of each inner node.
pub const FANOUT: usize = 64;
/// Leaves of the tree.
pub const BUCKETS: u16 = 4096;

/// The hash of a bucket, an inner node or a whole namespace; all zero where there is no entry.
pub type NodeHash = [u8; 32];

const EMPTY: NodeHash = [0; 32];
const BUCKET_CONTEXT: &str = "wuasync state bucket v1";
const NODE_CONTEXT: &str = "wuasync state node v1";

/// The bucket of a key: the first 12 bits of its BLAKE3.
pub fn bucket_of(key: &[u8]) -> u16 {
    let hash = blake3::hash(key);
    let [first, second, ..] = *hash.as_bytes();
    (u16::from(first) << 4) | u16::from(second >> 4)
}

/// The inner node above a bucket.
pub fn inner_of(bucket: u16) -> u8 {
    (bucket >> 6) as u8
}

/// The hash of an inner node, or of the root, from its children.
pub fn inner_hash(children: &[NodeHash; FANOUT]) -> NodeHash {
    if children.iter().all(|child| *child == EMPTY) {
        return EMPTY;
    }
    *blake3::Hasher::new_derive_key(NODE_CONTEXT).update(children.as_flattened()).finalize().as_bytes()
}

/// Hashes a bucket's entries, which come in the order of their keys.
pub struct BucketHasher {
    hasher: blake3::Hasher,
    entries: u64,
}

impl Default for BucketHasher {
    fn default() -> Self {
        Self { hasher: blake3::Hasher::new_derive_key(BUCKET_CONTEXT), entries: 0 }
    }
}

impl BucketHasher {
    /// Adds the next entry; lengths are hashed too, so no two lists of entries look alike.
    pub fn push(&mut self, key: &[u8], body: &[u8]) {
        self.hasher.update(&(key.len() as u64).to_be_bytes()).update(key);
        self.hasher.update(&(body.len() as u64).to_be_bytes()).update(body);
        self.entries += 1;
    }

    /// The bucket's hash.
    pub fn finish(&self) -> NodeHash {
        if self.entries == 0 { EMPTY } else { *self.hasher.finalize().as_bytes() }
    }
}

/// The root over all entries of a namespace, from scratch.
pub fn root_of_entries(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> NodeHash {
    let mut buckets: BTreeMap<u16, BucketHasher> = BTreeMap::new();
    for (key, body) in entries {
        buckets.entry(bucket_of(key)).or_default().push(key, body);
    }
    let mut nodes = [[EMPTY; FANOUT]; FANOUT];
    for (bucket, hasher) in buckets {
        nodes[usize::from(inner_of(bucket))][usize::from(bucket) % FANOUT] = hasher.finish();
    }
    inner_hash(&nodes.map(|children| inner_hash(&children)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_falls_into_the_bucket_of_its_first_twelve_bits() {
        let hash = blake3::hash(b"wsusscn2.cab").to_hex();
        let first_three = u16::from_str_radix(&hash.as_str()[..3], 16).unwrap();
        assert_eq!(bucket_of(b"wsusscn2.cab"), first_three);
        assert_eq!(u16::from(inner_of(first_three)), first_three / 64);
    }

    #[test]
    fn moving_a_byte_between_key_and_body_changes_the_hash() {
        let hash_of = |key: &[u8], body: &[u8]| {
            let mut hasher = BucketHasher::default();
            hasher.push(key, body);
            hasher.finish()
        };
        assert_ne!(hash_of(b"ab", b"c"), hash_of(b"a", b"bc"));
        assert_ne!(hash_of(b"", b""), EMPTY);
    }

    #[test]
    fn nothing_hashes_to_zero_at_every_height() {
        assert_eq!(BucketHasher::default().finish(), EMPTY);
        assert_eq!(inner_hash(&[EMPTY; FANOUT]), EMPTY);
    }
}
