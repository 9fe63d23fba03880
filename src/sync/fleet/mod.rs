//! What repositories know of each other: who was heard of when, who lacks what, how much passes.
//!
//! Each node looks at itself ([`keep`]) and tells its parent; whatever it hears from below goes further up with
//! the age that it has, so that the main knows all. Downwards a node tells each child of its neighbours alone:
//! the main, the node itself, and who is at a declared distance. Holdings go as the slots that changed
//! (`domain::nearest::SlotSet`), never as lists of names. All of it is in memory, at most 64 KiB for each
//! folder of a member, and only members' words about members count. None of it decides what a node serves: it
//! chooses where hosts are sent.

mod keep;
mod known;
mod teller;

pub use keep::{About, keep};
pub use known::{Fleet, FolderHoldings, Known, Via};
pub(super) use teller::{TELL_EVERY, Teller};
