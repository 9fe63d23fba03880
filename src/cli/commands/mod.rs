//! The commands, one per file.

mod agent;
mod backup;
mod cab;
mod check;
mod cleanup;
mod command;
mod completions;
mod config;
mod doctor;
mod files;
mod hosts;
mod import;
mod jobs;
mod join;
mod man;
mod nginx;
mod pair;
mod refresh;
mod repositories;
mod restore;
mod rules;
mod scrub;
mod serve;
mod setup;
mod status;
mod sync;
mod updates;
mod want;

pub(crate) use command::Command;
