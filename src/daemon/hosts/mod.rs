//! Windows machines: their reports over HTTP and from children, and what administrators see and say of them.

mod admin;
mod counts;
mod door;
mod taking;

pub(super) use admin::{act, enrol, find_host, import, list, not_here, show};
pub(super) use counts::counts;
pub(super) use door::HostReports;
pub(super) use taking::Taking;
