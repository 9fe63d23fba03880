//! One function per kind of hostile bytes: what the product makes of any of them, and what has to be
//! true of it. `tests/fuzz_replay.rs` and the crate in `../cargo/` run the same functions.

pub mod backups;
pub mod cabinets;
pub mod config;
pub mod frames;
pub mod heads;
pub mod http;
pub mod names;
pub mod records;
pub mod segments;
pub mod signatures;
pub mod tokens;

/// Judges one input; panics where something is wrong.
pub type Target = fn(&[u8]);

/// Every target, by the name of its folder in `../corpus/`.
pub const TARGETS: [(&str, Target); 11] = [
    ("backups", backups::backups),
    ("cabinets", cabinets::cabinets),
    ("config", config::config),
    ("frames", frames::frames),
    ("heads", heads::heads),
    ("http", http::http),
    ("names", names::names),
    ("records", records::records),
    ("segments", segments::segments),
    ("signatures", signatures::signatures),
    ("tokens", tokens::tokens),
];
