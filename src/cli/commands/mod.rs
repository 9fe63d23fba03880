//! The commands, one per file.

mod backup;
mod cab;
mod check;
mod command;
mod completions;
mod config;
mod doctor;
mod files;
mod import;
mod join;
mod nginx;
mod pair;
mod refresh;
mod restore;
mod scrub;
mod serve;
mod setup;
mod status;
mod sync;
mod updates;
mod want;

pub(crate) use command::Command;
