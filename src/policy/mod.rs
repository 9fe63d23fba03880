//! Decisions. Pure: what is known and what time it is in, what is to be done out.

pub mod demand;
pub mod due;
pub mod eviction;
pub mod host_state;
mod jitter;
mod lineup;
pub mod merge;
pub mod nearest;
pub mod night;
pub mod patch_tuesday;
pub mod redirect;
pub mod retention;
pub mod upkeep;
pub mod verdict;
pub mod window;

#[cfg(test)]
mod tests;
