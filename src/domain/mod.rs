//! The nouns: digests, names, keys, the signed state and its values. No I/O, no clock, no async.

pub mod backup;
pub mod digest;
pub mod edition;
pub mod file;
pub mod guid;
pub mod host;
pub mod key;
pub mod member;
pub mod name;
pub mod nearest;
pub mod network;
pub mod origin;
pub mod rules;
pub mod state;
pub mod update;
pub mod versioned;
pub mod wants;
