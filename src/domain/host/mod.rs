//! Windows machines, as decisions see them: who one is, how its agent is set up, and where each update stands on
//! it. What is told of updates themselves is in `traits.rs`, since hosts share it.

mod facts;
mod local;
mod maturity;
mod settings;
mod traits;
mod uuid;

pub use facts::HostFacts;
pub use local::{LocalFlags, LocalUpdate};
pub use maturity::{Maturity, ParseMaturityError};
pub use settings::HostSettings;
pub use traits::{KnownUpdates, UpdateTraits};
pub use uuid::{HostUuid, HostUuidError};
