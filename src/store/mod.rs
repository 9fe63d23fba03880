//! Bytes: the I/O seam, staging, outboards, partials and verified segments.
//!
//! Knows nothing of rows. Everything that touches a disk goes through [`disk::Disk`], so that every
//! power cut can be replayed.

pub mod disk;
pub mod download;
mod growing;
pub mod hash;
pub mod kept;
pub mod layout;
pub mod outboards;
pub mod partial;
#[cfg(test)]
mod power_cuts;
pub mod room;
pub mod segment;
mod sha;
pub mod staging;
pub mod trash;
mod tree;
pub mod verified;
pub mod walk;
