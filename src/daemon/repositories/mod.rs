//! Which repositories there are, how they stand, and where hosts are sent.
//!
//! [`World`] puts together what was signed (members, rules, distances, addresses) and what was heard
//! (`sync::fleet`); `policy::nearest` decides; [`HostsNearest`] answers hosts, and the handlers administrators.

mod answer;
mod handlers;
mod hosts;
mod targets;
mod tend;
mod usher;
mod wapt;
mod world;

pub use hosts::HostsNearest;
pub use world::World;

pub(super) use handlers::{list, move_rule, nearest, put_distance, put_rule, remove_rule, reports, rules};
pub(super) use tend::keep;
pub(super) use usher::{SiteUsher, StartUsherError};
