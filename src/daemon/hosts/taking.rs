//! What becomes of a signed report on this node, whoever brought it: a main believes it, keeps it and wants what the
//! host needs; a secondary keeps it for its parent.
//!
//! Order of events: the signature, so that nothing unsigned costs more than that; whether its key is believed; only then it
//! is unpacked and read, few at a time.

use crate::{
    base::{chain::chain, future::BoxFuture},
    catalog::{Admitted, FactsFrom},
    domain::{
        host::{CarriedReport, HostEnvelope, HostUuid, waiting::ReportedFrom},
        key::NodeKey,
        member::{NodeName, Role, SiteName},
    },
    jobs::{ScanWants, fleet},
    repository::{Repository, RepositoryError},
    sync::{frames::ReportOutcome, reports::ReportSink},
    wapt::host_report::read_report,
};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Reports that are unpacked and read at one time: each may take 24 MiB.
const AT_ONCE: usize = 4;

/// What becomes of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) enum Taken {
    /// It is kept, or this one or a later one was before.
    Kept {
        /// Whether it was.
        is_known: bool,
        /// Parts of it that made no sense.
        skipped: u32,
    },
    /// It waits for the parent.
    Posted,
    /// It is not believed before somebody approves the host.
    Waiting,
    /// It is not taken, and will not be.
    Refused(String),
    /// It can't be taken at this moment.
    Later(&'static str),
}

/// Takes reports.
pub(in crate::daemon) struct Taking {
    repository: Arc<Repository>,
    node: NodeName,
    site: SiteName,
    scan_wants: Option<Arc<ScanWants>>,
    room: Semaphore,
}

impl Taking {
    /// For a node of this name at this site.
    pub(in crate::daemon) fn new(
        repository: Arc<Repository>,
        node: NodeName,
        site: SiteName,
        scan_wants: Option<Arc<ScanWants>>,
    ) -> Arc<Self> {
        Arc::new(Self { repository, node, site, scan_wants, room: Semaphore::new(AT_ONCE) })
    }

    /// Takes a report that came from a host of this site, or of `via` where a child brought it; `from` says where that was.
    pub(in crate::daemon) async fn take(
        &self,
        envelope: HostEnvelope,
        via: Option<SiteName>,
        from: ReportedFrom,
    ) -> Taken {
        let Ok(_room) = self.room.acquire().await else { return Taken::Later("this node is going down") };
        let node = self.node.clone();
        let uuid = envelope.uuid.clone();
        let report = CarriedReport { via: via.unwrap_or_else(|| self.site.clone()), envelope };
        let work = move |repository: &Repository| take(repository, &report, from, &node);
        match self.repository.apart("a host's report", work).await {
            Ok((taken, wanted)) => {
                if let (1.., Some(scan_wants)) = (wanted, &self.scan_wants) {
                    scan_wants.wake();
                }
                taken
            }
            Err(error) => {
                tracing::error!(host = %uuid, error = &error as &dyn std::error::Error, "a report can't be kept");
                Taken::Later("the report can't be kept at this moment")
            }
        }
    }
}

impl ReportSink for Taking {
    fn take(&self, report: CarriedReport, member: NodeKey) -> BoxFuture<'_, ReportOutcome> {
        Box::pin(async move {
            let CarriedReport { via, envelope } = report;
            match Taking::take(self, envelope, Some(via), ReportedFrom::Member(member)).await {
                Taken::Kept { .. } | Taken::Posted | Taken::Waiting => ReportOutcome::Taken,
                Taken::Refused(_) => ReportOutcome::Refused,
                Taken::Later(_) => ReportOutcome::Later,
            }
        })
    }
}

fn take(
    repository: &Repository,
    carried: &CarriedReport,
    from: ReportedFrom,
    node: &NodeName,
) -> Result<(Taken, u64), RepositoryError> {
    let CarriedReport { via, envelope } = carried;
    if let Err(error) = envelope.verify() {
        return Ok((Taken::Refused(error.to_string()), 0));
    }
    if repository.role() == Role::Secondary {
        let posted = repository.post_report(carried)?;
        return Ok((if posted { Taken::Posted } else { Taken::Later("too many reports wait for the parent") }, 0));
    }
    match repository.admit_host(envelope, from)? {
        Admitted::Enrolled => {}
        Admitted::Waiting => return Ok((Taken::Waiting, 0)),
        Admitted::Revoked => return Ok((refused(&envelope.uuid, "this host was revoked"), 0)),
        Admitted::OtherKey => return Ok((refused(&envelope.uuid, "another key speaks for this host"), 0)),
        Admitted::BadToken => return Ok((refused(&envelope.uuid, "the enrolment token is not good"), 0)),
        Admitted::TooMany => {
            return Ok((refused(&envelope.uuid, "too many hosts of its network wait for an approval"), 0));
        }
    }
    let now = repository.clock().unix_seconds();
    let report = envelope.unpacked().map_err(|error| error.to_string());
    let report = report.and_then(|json| read_report(&json, Some(&envelope.uuid), now).map_err(|error| chain(&error)));
    let mut report = match report {
        Ok(report) => report,
        Err(why) => return Ok((Taken::Refused(why), 0)),
    };
    report.facts.site = report.facts.site.or_else(|| Some(via.clone()));
    let skipped = report.skipped;
    let Some(kept) = repository.put_host(report, FactsFrom::Report, Some(envelope.sequence))? else {
        return Ok((Taken::Kept { is_known: true, skipped }, 0));
    };
    let wanted = fleet::want_what_host_needs(repository, node, kept)?;
    Ok((Taken::Kept { is_known: false, skipped }, wanted))
}

/// Said in the log, too: an administrator has to look at it.
fn refused(uuid: &HostUuid, why: &str) -> Taken {
    tracing::warn!(host = %uuid, why, "a report was refused");
    Taken::Refused(why.to_owned())
}
