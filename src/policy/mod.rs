//! Decisions. Pure: what is known and what time it is in, what is to be done out.

pub mod nearest;
pub mod patch_tuesday;
pub mod redirect;
