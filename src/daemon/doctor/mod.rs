//! `wuasync doctor`: whether this machine, its network and what hosts get of it are as they should be.
//!
//! `gather` looks at the machine and asks around: names, proxies, the parent over UDP, and this node's own listeners and
//! its public address as a stock agent asks them. `machine`, `network` and `hosts` turn what was found into findings, each with its cure. Changes
//! nothing, and works whether the daemon runs or not.

mod ask;
mod finding;
mod gather;
mod hosts;
mod https;
mod machine;
mod network;
#[cfg(test)]
mod testing;

pub use finding::{Finding, Level};
pub use gather::{DaemonFacts, Facts, gather};

use super::config::Config;

/// Every finding, in the order of the checks.
pub fn findings(config: &Config, facts: &Facts) -> Vec<Finding> {
    let checks: [fn(&Config, &Facts) -> Vec<Finding>; 14] = [
        machine::daemon,
        machine::kernel,
        machine::clock,
        machine::rights,
        machine::mounts,
        machine::disk,
        network::ports,
        network::names,
        network::proxy,
        network::parent,
        network::certificates,
        hosts::trust,
        hosts::wapt,
        hosts::agents,
    ];
    checks.iter().flat_map(|check| check(config, facts)).collect()
}
