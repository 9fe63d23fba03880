//! HTTP to Microsoft, or to what stands in for it: one file at a time, verified while it arrives.
//!
//! Owns where may be asked ([`rules`], `address`), what an answer means (`answer`), when to try
//! again (`attempts`, `trickle`), and the connections; and how flights of a main go (`spring`). Never decides
//! what is wanted. Order of events for one file: take up what an earlier run left, ask, judge the answer, write
//! and hash what arrives, leave the body for another where readers wait far ahead, try again as often as it
//! takes, compare the digests with the promise.

mod address;
mod answer;
mod attempts;
mod client;
mod demand;
pub mod error;
mod fetch;
mod growth;
mod limits;
mod promise;
mod resolver;
pub mod rules;
mod spring;
mod transfer;
mod trickle;

pub use client::{Random, Settings, SetupError, Upstream};
pub use demand::Demand;
pub use error::{Fault, UpstreamError, Verdict};
pub use fetch::{Fetched, Wanted};
pub use growth::Growth;
pub use limits::Limits;
pub use promise::Promise;
pub use spring::FromUpstream;
