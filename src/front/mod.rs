//! HTTP for hosts: asks [`crate::supply::source::Source`] for a file and serves what it answers.

pub mod body;
mod preconditions;
mod range;
pub mod request;
pub mod respond;
