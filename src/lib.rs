//! Keeps every site's copy of WAPT's `waptwua` folder right.
//!
//! One daemon serves as the main repository beside a WAPT server and as the secondary of every
//! site: it mirrors the folder by content hash over QUIC, verified group by group, and serves
//! hosts over HTTP. ARCHITECTURE.md has the bird's eye view and the table of who may import whom.

pub mod agent;
pub mod base;
pub mod cabinet;
pub mod catalog;
pub mod cli;
pub mod daemon;
pub mod domain;
pub mod front;
pub mod jobs;
pub mod policy;
pub mod repository;
pub mod store;
pub mod supply;
pub mod sync;
pub mod upstream;
pub mod wapt;
pub mod watch;
pub mod wsusscn;
