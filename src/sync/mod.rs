//! QUIC between repositories: who may connect, what is said, and how a new node is admitted.
mod acceptor;
pub mod bounded;
pub mod close;
pub mod endpoint;
pub mod frames;
pub mod limiter;
pub mod secret;
pub mod tls;
pub mod transport;
pub mod wire;
