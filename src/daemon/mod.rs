//! Wiring: configuration, roles, the control socket.

pub mod config;
