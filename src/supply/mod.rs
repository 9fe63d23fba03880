//! "Give me this file": what is held here, else one fetch however many ask.
//!
//! The doors meet here and nowhere else: `front` and `sync` ask a [`source::Source`], and whoever can bring
//! files is a [`spring::Spring`]. Order of events for a file that is not here: [`flights`] finds the flight or
//! begins one (when it is its turn, in `queue`, and within `quota`); the spring tells the [`flight::Flight`]
//! what arrives; [`sight`] decides what may be passed on; each [`reader::Reader`] reads that. Never touches rows,
//! and never writes bytes.

mod asked;
mod blocks;
pub mod course;
mod first_of;
pub mod flight;
pub mod flights;
pub mod local;
mod queue;
mod quota;
pub mod reader;
pub mod sight;
pub mod source;
pub mod spring;

pub use asked::{Asked, Remembering};
pub use first_of::Supply;
pub use flight::{Client, Flight};
pub use flights::{FlightLimits, Flights, Joined};
pub use quota::QuotaLimits;
pub use sight::{Ending, Phase, Progress, Sight};
