//! HTTP for hosts: asks [`crate::supply::source::Source`] for a file and serves what it answers.
//!
//! Owns sockets, TLS, requests and responses. Never opens a path, never reads the clock by itself and
//! never learns where bytes come from. One request goes through the files in this order:
//! [`server`] accepts, [`tls`] shakes hands, `timed` bounds every wait, [`request`] reads the target,
//! the source is asked, [`respond`] decides (with `preconditions` and `range`), [`body`] streams, `outlet` has
//! the kernel send what need not be read, and `exchange` counts and logs. What is under `/api/v1/` goes to whoever implements [`api::HostsApi`].

pub mod api;
pub mod body;
pub mod client;
pub mod counters;
mod exchange;
mod growing;
pub mod handler;
mod outlet;
mod preconditions;
mod range;
pub mod request;
pub mod respond;
pub mod server;
mod timed;
pub mod tls;
pub mod usher;

#[cfg(test)]
mod tests;
