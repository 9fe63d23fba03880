//! `wuasync status`: the page, and the page that stays.

mod command;
mod page;
mod watch;

pub(crate) use command::{Args, run};
