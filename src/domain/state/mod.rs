//! The signed state: entries in namespaces, a Merkle tree over each, heads that sign the roots.
//!
//! Everything here is pure. An entry's body is opaque to the tree; only its owner reads it.

mod accept;
mod entry;
mod head;
mod merkle;
mod signed;

pub use accept::{Accepted, Verdict, judge};
pub use entry::{Body, BodyError, Entry, Namespace, NamespaceError};
pub use head::{Head, HeadError, LineSigner, SignedHead, VerifyHeadError};
pub use merkle::{BUCKETS, BucketHasher, FANOUT, NodeHash, bucket_of, inner_hash, inner_of, root_of_entries};
pub use signed::{Entries, SignedState, VerifyStateError};
