//! `wuasync cab`: one subcommand per file. Those that look at a file need no daemon.

mod command;
mod confirm;
mod contents;
mod diff;
mod rollback;
mod signature;
mod trust;
mod verify;

pub(crate) use command::Cab;
pub(super) use command::run;
