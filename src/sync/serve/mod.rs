//! What a node does for those who connect to it: state, content, admission.
//!
//! The first frame of each stream says what it is for. Nothing is served before the key behind the
//! connection is a member in good standing; when it stops being one the connection is closed.

mod ask;
mod blobs;
mod connection;
mod damage;
mod descent;
mod joining;
mod reports;
mod rights;
pub(in crate::sync) mod session;
mod upward;

pub(in crate::sync) use ask::GIVES_ON_MISS;
pub(in crate::sync) use blobs::SMALL_BYTES;
pub use connection::{ServeError, Server};
pub use joining::{Doorkeeper, Invitation, InviteError, invite};
pub(in crate::sync) use upward::{SERVES_PARENT, serve_parent};
