//! How many hosts there are, for whoever looks at the whole node.

use crate::{
    daemon::{api::HostsReport, node::Node},
    domain::{host::waiting, member::Role},
    policy::demand::count_hosts,
    repository::RepositoryError,
};

/// How many hosts are known, and how; `None` on a secondary, which keeps nothing of them.
pub(in crate::daemon) fn counts(node: &Node) -> Result<Option<HostsReport>, RepositoryError> {
    let repository = &node.repository;
    if repository.role() != Role::Main {
        return Ok(None);
    }
    let now = repository.clock().unix_seconds();
    let counted = count_hosts(repository.state().hosts.seen()?, now);
    let waiting = repository.state().ledger.waiting_hosts()?;
    let waiting = waiting.iter().filter(|host| !waiting::is_over(host.since, waiting::WAITS_FOR, now)).count() as u64;
    Ok(Some(HostsReport { known: counted.known, reported_lately: counted.lately, stale: counted.stale, waiting }))
}
