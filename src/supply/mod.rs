//! "Give me this file": the one trait in which the doors meet.
//!
//! `front` asks a [`source::Source`] and serves what it answers; it never learns where the bytes came from.

pub mod local;
pub mod source;
