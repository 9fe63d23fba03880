//! Wiring: what the administrator decided, the parts of a node, the control socket, and what is said
//! over it. Decides nothing about bytes, rows or peers; it hands each part what it needs and starts it.

pub mod admin;
pub mod api;
mod arenas;
pub mod config;
pub mod control;
mod inspect;
mod joining;
mod lock;
mod metrics;
mod node;
mod owner;
mod parent_file;
mod random;
mod rates;
mod report;
mod router;
mod serve;
mod telemetry;

pub use inspect::inspect;
pub use joining::{JoinLineError, join_error, join_offline};
pub use lock::LockError;
pub use node::StartError;
pub use random::secret as random_secret;
pub use serve::{Ready, ServeError, serve};
