//! What a secondary does with its parent: follow the signed state, fetch what is missing.
//!
//! The state comes on one stream; content on several others, small files many to a stream. A lost
//! connection is a resume: what was verified stays in partials, and the index knows what is missing.

mod descent;
mod desk;
mod fetch;
mod large;
mod parent;
mod plan;
mod session;
mod stream;

pub use parent::{Parent, ParentAddress, PullError};
