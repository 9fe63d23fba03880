//! Who takes the reports of hosts that children carry; said by whoever wires a node.

use crate::{
    base::future::BoxFuture,
    domain::{host::CarriedReport, key::NodeKey},
    sync::frames::ReportOutcome,
};

/// Somebody who takes reports of hosts.
pub trait ReportSink: Send + Sync {
    /// Takes one that this member carried; durable, or refused, when it answers.
    fn take(&self, report: CarriedReport, member: NodeKey) -> BoxFuture<'_, ReportOutcome>;
}
