//! Fetching from Microsoft, or from what claims to be it: an origin that lies in every way it can, and a
//! real nginx.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]
#![allow(unreachable_pub, reason = "the test's own modules")]

#[cfg(test)]
#[path = "upstream/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "upstream/hostile.rs"]
mod hostile;
#[cfg(test)]
#[path = "upstream/jumps.rs"]
mod jumps;
#[cfg(test)]
#[path = "upstream/nginx.rs"]
mod nginx;
#[cfg(test)]
mod origin;
#[cfg(test)]
#[path = "upstream/proxy.rs"]
mod proxy;
#[cfg(test)]
#[path = "upstream/resume.rs"]
mod resume;
#[cfg(test)]
#[path = "upstream/site.rs"]
mod site;
