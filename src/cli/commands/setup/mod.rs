//! `wuasync setup`: options or questions, the plan on a page, and then the steps.

mod ask;
mod command;
mod hidden;
mod page;

pub(crate) use command::{Args, run};
