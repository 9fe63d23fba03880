//! Reports of hosts that a member carries, one after the other on a stream.

use super::connection::{ServeError, patiently};
use crate::{
    domain::{host::CarriedReport, key::NodeKey},
    sync::{
        frames::{Frame, HostReport, HostReportTaken, ReportOutcome},
        shared::Shared,
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::{RecvStream, SendStream};

/// Serves one stream, until the member has no more.
pub(super) async fn serve(
    shared: &Shared,
    member: NodeKey,
    mut report: HostReport,
    reader: &mut FrameReader<RecvStream>,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    loop {
        let outcome = take(shared, member, &report.report).await;
        patiently(writer.write_frame(HostReportTaken { outcome })).await?;
        report = match patiently(reader.read_frame()).await? {
            Some(Frame::HostReport(next)) => next,
            Some(other) => return Err(ServeError::OutOfPlace(other.name())),
            None => return Ok(()),
        };
    }
}

async fn take(shared: &Shared, member: NodeKey, bytes: &[u8]) -> ReportOutcome {
    // What can't be read here was made by a newer node: to keep it for longer is no use.
    let Ok(report) = CarriedReport::decode(bytes) else { return ReportOutcome::Refused };
    match shared.report_sink() {
        Some(sink) => sink.take(report, member).await,
        None => ReportOutcome::Later,
    }
}
