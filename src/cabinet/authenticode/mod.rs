//! Who signed a cabinet: Authenticode, as Microsoft signs `wsusscn2.cab`.
//!
//! Owns the digest that such a signature is over, the reading of the PKCS#7 behind the cabinet and of the
//! time stamp inside, and the rules by which a signature counts. Never opens files, reads the clock or the
//! machine's certificates: bytes, `now` and [`Trust`] are arguments. Reads nothing of a cabinet but the
//! fields that the signature hangs on.
//!
//! Order of events: `layout` finds the signature and holds every header byte that it leaves uncovered to the
//! one value that a signed cabinet has; [`CabDigest`] digests the rest while it passes by; [`verify()`] compares
//! the digest, proves the signed attributes and the signature, then the time stamp over that signature, and
//! last the chain at the stamped time (at `now` where there is no stamp).
//!
//! One signer, whose signature must hold in full, decides. Unsigned attributes other than the RFC 3161 time
//! stamp are ignored, a nested second signature (1.3.6.1.4.1.311.2.4.1) among them: anybody can add or remove
//! them, so they can neither help nor harm. A legacy countersignature (1.2.840.113549.1.9.6) is no time.
//! Revocation is not looked up: it takes a network, and the signer of a past edition stays its signer.

mod asn1;
mod attributes;
mod certificate;
mod chain;
mod digest;
mod error;
mod file;
mod hash;
mod layout;
mod name;
mod oid;
mod roots;
mod signed_data;
mod signer;
mod spc;
#[cfg(test)]
mod tests;
mod timestamp;
mod verify;

pub use certificate::expiry;
pub use chain::{Link, date};
pub use digest::{CabDigest, DigestedCab};
pub use error::{ChainError, Party, Refusal};
pub use file::{FileError, digest_file, verify_file};
pub use hash::HashAlgorithm;
pub use roots::{RootError, Roots, Trust};
pub use verify::{TimeStamp, Verified, inspect, verify};
