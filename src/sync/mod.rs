//! QUIC between repositories: who may connect, what is said, and how a new node is admitted.
//!
//! From the bottom: `bounded` and `frames` (what is said), `wire` (frames on any byte stream), `tls`,
//! `transport`, `lanes` and `endpoint` (who is there, what he may use, on which thread), `secret`,
//! `token` and `join` (how a node becomes a member), `limiter` (how often strangers may try), `close`
//! (why a connection ended).
//!
//! Never: file paths or rows, nor the decision who is a member; that is asked through
//! [`tls::Admission`] and the handlers that callers hand in.

mod acceptor;
pub mod bounded;
mod claims;
pub mod close;
mod counted;
pub mod endpoint;
pub mod fleet;
pub mod frames;
pub mod join;
pub mod lanes;
pub mod limiter;
pub mod mirroring;
mod pace;
pub mod path;
pub mod pull;
pub mod reports;
mod reset;
pub mod secret;
pub mod serve;
pub mod shared;
pub mod tls;
pub mod token;
pub mod transport;
pub mod wire;
