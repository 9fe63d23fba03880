//! The functions that `tests/fuzz_replay.rs` runs as well.

#[path = "../../targets/mod.rs"]
pub mod targets;
