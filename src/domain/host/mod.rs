//! Windows machines, as decisions see them: who one is, how its agent is set up, and where each update stands on
//! it. What is told of updates themselves is in `traits.rs`, since hosts share it.

mod envelope;
mod facts;
mod local;
mod maturity;
mod settings;
mod told;
mod traits;
mod uuid;
pub mod waiting;

pub use envelope::{
    BodyEncoding, CarriedReport, Enrolment, EnrolmentToken, EnvelopeError, HostEnvelope, MAX_SENT_BYTES,
    MAX_UNPACKED_BYTES, ParseTokenError,
};
pub use facts::HostFacts;
pub use local::{LocalFlags, LocalUpdate};
pub use maturity::{Maturity, ParseMaturityError};
pub use settings::HostSettings;
pub use told::{AgentStatus, HostReport, MAX_HOST_UPDATES, MAX_UPDATE_URLS, ToldUpdate};
pub use traits::{KnownUpdates, UpdateTraits};
pub use uuid::{HostUuid, HostUuidError};
