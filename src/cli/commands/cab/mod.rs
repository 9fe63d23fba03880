//! `wuasync cab`: one subcommand per file. None of them needs the daemon.

mod command;
mod contents;
mod signature;
mod trust;
mod verify;

pub(crate) use command::Cab;
pub(super) use command::run;
