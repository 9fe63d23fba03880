//! The commands, one per file.

mod backup;
mod cab;
mod check;
mod command;
mod completions;
mod config;
mod files;
mod import;
mod join;
mod pair;
mod restore;
mod scrub;
mod serve;
mod status;
mod sync;
mod want;

pub(crate) use command::Command;
