//! The command line: one file per command under `commands`. Says things to the daemon and shows
//! its answers; never touches folders, rows or keys itself.

mod client;
mod commands;
mod context;
pub mod demo;
mod error;
mod exit;
mod out;
mod parser;
mod progress;
mod table;

pub use client::{Client, ClientError};
pub use error::CliError;
pub use exit::Exit;
pub use out::{Out, Style};
pub use parser::{Cli, main};
