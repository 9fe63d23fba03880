//! What the administrator decided: one file per section of `wuasync.toml`.
//!
//! Owns the reading of `wuasync.toml`, of `conf.d/*.toml` beside it and of `--set`, in this order,
//! the later winning; every default; and the texts of all errors, each with its file and line. It
//! reads those files and nothing else: the host name comes in as an argument, and whether a path
//! exists is found out by whoever opens it.
//!
//! A section's `read` asks `keys::Keys` for each key that it knows; what nobody asked for is an
//! unknown key. So the list of keys is the code that reads them.

mod admin;
mod bandwidth;
mod cleanup;
mod compare;
mod error;
mod folder;
mod given;
mod http;
mod jobs;
mod keys;
mod limits;
mod load;
mod mirror;
mod nearest;
mod node;
mod read;
mod rules;
mod settings;
mod show;
mod sync;
#[cfg(test)]
mod tests;
mod upstream;
mod values;

pub use crate::domain::network::{IpNetwork, ParseNetworkError};
pub use admin::Admin;
pub use bandwidth::Bandwidth;
pub use cleanup::{Cleanup, Keep, Switch};
pub use compare::differences;
pub use error::{ConfigError, ConfigErrors, Place};
pub use folder::Folder;
pub use given::{Given, given, given_beside};
pub use http::{Http, Tls};
pub use jobs::{Jobs, RunBy};
pub use limits::Limits;
pub use load::DEFAULT_PATH;
pub use mirror::{Mirror, Mode};
pub use nearest::Nearest;
pub use rules::Rules;
pub use settings::Config;
pub use sync::{Congestion, Sync};
pub use upstream::Upstream;
pub use values::{
    rate::{ParseRateError, Rate},
    url::{ParseUrlError, WebUrl},
    window::{ParseWindowError, Window},
};
