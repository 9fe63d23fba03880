//! What a secondary does with its parent: follow the signed state, fetch what is missing. And what a main
//! does with its children when its own bytes rotted: take them back.
//!
//! The state comes on one stream; content on several others, small files many to a stream. A lost
//! connection is a resume: what was verified stays in partials, and the index knows what is missing.

mod askings;
mod descent;
mod desk;
mod fetch;
mod heal;
mod large;
mod miss;
mod parent;
mod plan;
mod question;
mod reports;
mod session;
mod stream;

pub use askings::carry_askings;
pub use heal::heal_from_children;
pub use miss::FromParent;
pub use parent::{Parent, ParentAddress, PullError};
pub(in crate::sync) use question::Questions;
pub use reports::carry_reports;
