//! QUIC between repositories: who may connect, what is said, and how a new node is admitted.
pub mod bounded;
pub mod frames;
pub mod secret;
pub mod wire;
