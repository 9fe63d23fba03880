//! Cabinet files.

pub mod authenticode;
