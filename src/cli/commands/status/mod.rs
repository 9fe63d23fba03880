//! `wuasync status`: the page, the page that stays, and one file explained.

mod command;
mod page;
mod story;
mod watch;

pub(crate) use command::{Args, run};
