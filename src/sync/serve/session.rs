//! The state stream of one member: what it lacks of the log, then every change as it happens.

use super::connection::ServeError;
use crate::{
    catalog::LogRow,
    domain::state::{Namespace, SignedHead},
    repository::RepositoryError,
    sync::{
        frames::{Behind, Entries, EntryFrame, Frame, Head, Hello, Progress, Welcome},
        shared::{ChildGuard, Shared, read_namespaces, write_namespace},
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::{RecvStream, SendStream};
use std::{collections::BTreeSet, time::Duration};

/// The version of the protocol; also the only one so far.
pub(in crate::sync) const PROTOCOL: u16 = 1;
/// Log rows that are read at once.
const ROWS: usize = 1_000;
/// Bytes of keys and bodies in one frame of entries, well below the frame limit.
const FRAME_BYTES: usize = 256 * 1024;
/// Holdings change with every small file; followers hear of it this often at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What the member is known to have.
struct Follower {
    namespaces: BTreeSet<Namespace>,
    at: (u64, u64),
    descending: bool,
    head_sent: Option<[u8; 32]>,
    missing_told: Option<(u64, u64)>,
}

/// Serves the stream until the member or this node ends it.
pub(super) async fn serve(
    shared: &Shared,
    guard: &ChildGuard,
    hello: &Hello,
    reader: &mut FrameReader<RecvStream>,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    let (lowest, highest) = hello.versions;
    if !(lowest..=highest).contains(&PROTOCOL) {
        return Err(ServeError::Version(lowest, highest));
    }
    let Ok(name) = shared.name.parse() else { return Err(ServeError::OutOfPlace("nameless")) };
    writer.write_frame(Welcome { version: PROTOCOL, features: 0, name }).await?;
    let mut follower = Follower {
        namespaces: read_namespaces(&hello.namespaces).into_iter().collect(),
        at: (hello.epoch, hello.seq),
        descending: false,
        head_sent: None,
        missing_told: None,
    };
    guard.update(|child| child.at = follower.at);
    let mut changes = shared.repository.changes();
    let mut pace = tokio::time::interval(PROGRESS_EVERY);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        changes.borrow_and_update();
        push(shared, &mut follower, writer).await?;
        tokio::select! {
            Ok(()) = changes.changed() => {}
            frame = reader.read_frame() => match frame? {
                Some(Frame::Progress(progress)) => on_progress(&mut follower, guard, &progress),
                Some(other) => return Err(ServeError::OutOfPlace(other.name())),
                None => return Ok(()),
            },
        }
        tokio::task::yield_now().await;
    }
}

fn on_progress(follower: &mut Follower, guard: &ChildGuard, progress: &Progress) {
    follower.at = (progress.epoch, progress.seq);
    follower.descending = false;
    guard.update(|child| {
        child.at = follower.at;
        child.missing = (progress.missing_files, progress.missing_bytes);
    });
}

/// Sends whatever the member does not have yet.
async fn push(
    shared: &Shared,
    follower: &mut Follower,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    let Some(head) = shared.repository.head() else { return Ok(()) };
    if follower.head_sent != Some(head.hash()) && !follower.descending {
        push_state(shared, follower, &head, writer).await?;
    }
    push_progress(shared, follower, &head, writer).await
}

async fn push_state(
    shared: &Shared,
    follower: &mut Follower,
    head: &SignedHead,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    let (epoch, seq) = (head.head().epoch, head.head().seq);
    let snapshot = shared.repository.state().index.read().map_err(RepositoryError::from)?;
    let base = snapshot.log_base().map_err(RepositoryError::from)?;
    let in_log = follower.at.0 == epoch && (base..=seq).contains(&follower.at.1);
    if !in_log {
        follower.descending = true;
        writer.write_frame(Behind {}).await?;
    } else {
        let mut at = follower.at.1;
        while at < seq {
            let rows = snapshot.log_after(at, ROWS).map_err(RepositoryError::from)?;
            let Some(last) = rows.last() else { break };
            at = last.seq;
            let rows = rows.into_iter().filter(|row| row.seq <= seq);
            push_rows(rows.filter(|row| follower.namespaces.contains(&row.record.namespace)), writer).await?;
        }
        follower.at = (epoch, seq);
        follower.head_sent = Some(head.hash());
    }
    Ok(writer.write_frame(Head { bytes: head.to_bytes() }).await?)
}

async fn push_rows(rows: impl Iterator<Item = LogRow>, writer: &mut FrameWriter<SendStream>) -> Result<(), ServeError> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let Some(namespace) = write_namespace(&row.record.namespace) else { continue };
        let removed = row.record.body.is_none();
        let body = row.record.body.unwrap_or_default();
        bytes += row.record.key.len() + body.len() + namespace.as_str().len();
        entries.push(EntryFrame { seq: row.seq, namespace, key: row.record.key, body, removed });
        if bytes > FRAME_BYTES || entries.len() >= ROWS {
            writer.write_frame(Entries { entries: std::mem::take(&mut entries) }).await?;
            bytes = 0;
        }
    }
    if !entries.is_empty() {
        writer.write_frame(Entries { entries }).await?;
    }
    Ok(())
}

/// Tells how much of the state this node holds itself, so that a follower knows when to ask again.
async fn push_progress(
    shared: &Shared,
    follower: &mut Follower,
    head: &SignedHead,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    let missing = missing_of(shared)?;
    if follower.missing_told == Some(missing) {
        return Ok(());
    }
    follower.missing_told = Some(missing);
    let (epoch, seq) = (head.head().epoch, head.head().seq);
    Ok(writer.write_frame(Progress { epoch, seq, missing_files: missing.0, missing_bytes: missing.1 }).await?)
}

/// Files that this node lacks, and their bytes, over all folders.
pub(in crate::sync) fn missing_of(shared: &Shared) -> Result<(u64, u64), RepositoryError> {
    let snapshot = shared.repository.state().index.read()?;
    let mut missing = (0, 0);
    for folder in shared.repository.folder_names() {
        let totals = snapshot.totals(folder)?;
        missing = (missing.0 + totals.missing_files, missing.1 + totals.missing_bytes);
    }
    Ok(missing)
}
