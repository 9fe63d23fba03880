//! Reads every holding again within a period, and takes what rotted out of service.
//!
//! Owns the pass over all holdings: where it stands (a row that outlives a kill), what it reads next and
//! how long it rests. Never replaces bytes: what is bad goes to the trash and is wanted from then on, and
//! whoever fetches brings it back.
//!
//! Order of events for one file: its stamp is compared with the file on disk; it is read and proven group
//! by group, with rests; its stamp is compared again; only then is a mismatch damage
//! ([`Repository::scrub_file`](super::Repository::scrub_file)). `plan` decides and is pure; `run` acts.

mod plan;
mod read;
mod run;

pub use plan::{Load, Sums};
pub use read::{Rest, Scrubbed};
pub use run::{Scrub, ScrubFinding, ScrubProgress};
