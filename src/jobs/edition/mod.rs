//! The edition of Microsoft's index in its folder: proven, read, published with its sidecar, brought back.
//!
//! Owns the one turn in which an edition changes. [`EditionDesk`] looks at what others put into the folder, and
//! brings back the edition before; [`RefreshCab`](super::RefreshCab) hands it what Microsoft has. Order of events
//! for each edition: the signature is proven, the structure is read and judged; then the cabinet takes its name
//! together with its `.sha1`, the one before is kept, and last the rows say what it tells. A bad edition leaves
//! all that was published as it was.

mod desk;
mod look;
mod roll_back;
mod unproven;

pub use desk::{EditionDesk, EditionSettings};
pub use roll_back::{RollBack, RollBackRefused};
pub use unproven::{Prove, Unproven};

pub(super) use desk::{REFRESHING, as_time};
pub(super) use unproven::Refused;
