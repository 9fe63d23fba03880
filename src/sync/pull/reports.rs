//! A secondary carries reports of its hosts to the parent: they wait on disk, one for each host, and leave when the
//! parent says that it has them.
//!
//! Order of events: the parent is there and something waits; a stream is opened; each report goes out and its answer
//! comes back; what was taken, or refused for good, leaves the disk. A parent that does not know reports says nothing, and
//! is asked again later.

use super::parent::{PullError, patiently};
use crate::{
    base::tasks,
    domain::host::HostUuid,
    repository::RepositoryError,
    sync::{
        frames::{Frame, HostReport, ReportOutcome},
        shared::Shared,
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::Connection;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Between two tries where the parent could not take them.
const AGAIN: Duration = Duration::from_secs(60);

/// Carries reports until `cancel`.
pub async fn carry_reports(shared: Arc<Shared>, cancel: CancellationToken) {
    cancel.run_until_cancelled(carry(&shared)).await;
}

async fn carry(shared: &Arc<Shared>) {
    let mut parent = shared.parent_connection();
    let mut changes = shared.repository.changes();
    loop {
        let Ok(connected) = parent.wait_for(Option::is_some).await.map(|parent| parent.clone()) else { return };
        let Some(connected) = connected else { continue };
        let carried = carry_all(shared, &connected.connection).await;
        if let Err(error) = &carried {
            tracing::debug!(error = error as &dyn std::error::Error, "reports of hosts wait");
        }
        tokio::select! {
            changed = parent.changed() => if changed.is_err() { return },
            changed = changes.changed(), if carried.is_ok() => if changed.is_err() { return },
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Carries what waits; an error leaves the rest for later.
async fn carry_all(shared: &Arc<Shared>, connection: &Connection) -> Result<(), PullError> {
    let Some(mut next) = posted_after(shared, None).await? else { return Ok(()) };
    let (send, receive) = connection.open_bi().await?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    loop {
        let (uuid, report) = next;
        patiently(writer.write_frame(HostReport { report: report.clone() })).await?;
        let outcome = match patiently(reader.read_frame()).await? {
            Some(Frame::HostReportTaken(taken)) => taken.outcome,
            Some(other) => return Err(PullError::OutOfPlace(other.name())),
            None => return Err(PullError::Ended),
        };
        match outcome {
            ReportOutcome::Later => return Err(PullError::Ended),
            ReportOutcome::Refused => tracing::warn!(host = %uuid, "the main refused a host's report"),
            ReportOutcome::Taken => tracing::debug!(host = %uuid, "a host's report was carried"),
        }
        let (repository, host) = (shared.repository.clone(), uuid.clone());
        let left = tasks::blocking(move || repository.state().hosts.unpost(&host, &report)).await?;
        left.map_err(RepositoryError::from)?;
        match posted_after(shared, Some(uuid)).await? {
            Some(posted) => next = posted,
            None => {
                writer.get_mut().finish().ok();
                return Ok(());
            }
        }
    }
}

async fn posted_after(shared: &Arc<Shared>, after: Option<HostUuid>) -> Result<Option<(HostUuid, Vec<u8>)>, PullError> {
    let repository = shared.repository.clone();
    let posted = tasks::blocking(move || repository.state().hosts.posted_after(after.as_ref())).await?;
    Ok(posted.map_err(RepositoryError::from)?)
}
