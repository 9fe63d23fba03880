//! Wiring: what the administrator decided, the control socket, and what is said over it. Decides
//! nothing about bytes, rows or peers; it hands each part what it needs and starts it.

pub mod admin;
pub mod api;
pub mod config;
pub mod control;
mod offline_join;
mod serve;

pub use offline_join::{OfflineJoinError, offline_join};
pub use serve::{ServeError, serve};
