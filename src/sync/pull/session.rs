//! Follows the parent's states.

use super::{descent, parent::PullError};
use crate::domain::state::Namespace;
use crate::{
    domain::key::LineKey,
    domain::state::{SignedHead, Verdict},
    repository::{Alarm, Change, FollowError},
    sync::{
        frames::{Entries, Frame, Head, Hello, Progress},
        serve::session::{PROTOCOL, missing_of},
        shared::{Shared, write_namespace},
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::{Connection, SendStream};
use std::{convert::Infallible, sync::Arc, time::Duration};

/// Bytes of changes that may wait for their head: more than the longest log holds.
const MAX_PENDING_BYTES: usize = 64 << 20;
/// Holdings change with every small file; the parent hears of it this often at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Follows until the connection ends.
pub(super) async fn follow(
    shared: &Arc<Shared>,
    connection: &Connection,
    line: &LineKey,
) -> Result<Infallible, PullError> {
    let (send, receive) = connection.open_bi().await?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    writer.write_frame(hello(shared)?).await?;
    match reader.read_frame().await? {
        Some(Frame::Welcome(welcome)) => shared.update_parent(|parent| parent.name = welcome.name.to_string()),
        Some(other) => return Err(PullError::OutOfPlace(other.name())),
        None => return Err(PullError::Ended),
    }
    let mut session = Session { shared, connection, line: *line, pending: Vec::new(), pending_bytes: 0, behind: false };
    let mut changes = shared.repository.changes();
    let mut pace = tokio::time::interval(PROGRESS_EVERY);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut changed = true;
    loop {
        tokio::select! {
            frame = reader.read_frame() => match frame? {
                Some(frame) => if session.on_frame(frame).await? {
                    session.tell_progress(&mut writer).await?;
                },
                None => return Err(PullError::Ended),
            },
            Ok(()) = changes.changed(), if !changed => changed = true,
            _ = pace.tick(), if changed => {
                changed = false;
                session.tell_progress(&mut writer).await?;
            }
        }
    }
}

fn hello(shared: &Shared) -> Result<Hello, PullError> {
    let head = shared.repository.head();
    let name = shared.name.parse().map_err(|_| PullError::OutOfPlace("nameless"))?;
    Ok(Hello {
        versions: (PROTOCOL, PROTOCOL),
        features: 0,
        name,
        namespaces: shared.repository.namespaces().iter().filter_map(write_namespace).collect(),
        epoch: head.as_ref().map_or(0, |head| head.head().epoch),
        seq: head.as_ref().map_or(0, |head| head.head().seq),
        head_hash: head.as_ref().map_or([0; 32], SignedHead::hash),
    })
}

struct Session<'s> {
    shared: &'s Arc<Shared>,
    connection: &'s Connection,
    line: LineKey,
    pending: Vec<Change>,
    pending_bytes: usize,
    behind: bool,
}

impl Session<'_> {
    /// Works on a frame; `true` if the state moved.
    async fn on_frame(&mut self, frame: Frame) -> Result<bool, PullError> {
        match frame {
            Frame::Entries(entries) => self.on_entries(entries).map(|()| false),
            Frame::Head(head) => self.on_head(head).await,
            Frame::Behind(_) => {
                self.behind = true;
                Ok(false)
            }
            Frame::Progress(_) => {
                self.shared.content_may_be_there.notify_waiters();
                Ok(false)
            }
            other => Err(PullError::OutOfPlace(other.name())),
        }
    }

    fn on_entries(&mut self, entries: Entries) -> Result<(), PullError> {
        for entry in entries.entries {
            self.pending_bytes += entry.key.len() + entry.body.len() + 64;
            if self.pending_bytes > MAX_PENDING_BYTES {
                return Err(PullError::Flood);
            }
            let Ok(namespace) = Namespace::new(entry.namespace.as_str()) else { continue };
            let body = (!entry.removed).then_some(entry.body);
            self.pending.push(Change { seq: Some(entry.seq), namespace, key: entry.key, body });
        }
        Ok(())
    }

    async fn on_head(&mut self, head: Head) -> Result<bool, PullError> {
        let changes = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let (signed, verdict) = self.shared.repository.judge(&head.bytes, &self.line)?;
        let behind = std::mem::take(&mut self.behind);
        match verdict {
            Verdict::Newer | Verdict::Same if behind => self.descend().await,
            Verdict::Newer | Verdict::Same => match self.apply(signed, changes).await {
                Err(PullError::State(FollowError::OtherRoot(namespace))) => {
                    tracing::info!(%namespace, "the log does not lead to the signed state; trees are compared");
                    self.descend().await
                }
                applied => applied,
            },
            Verdict::Older => {
                let (epoch, seq) = (signed.head().epoch, signed.head().seq);
                Err(FollowError::Older { epoch, seq }.into())
            }
            Verdict::Forked => Err(FollowError::Forked { epoch: signed.head().epoch }.into()),
            Verdict::OtherLine => Err(PullError::Lie("line")),
        }
    }

    async fn descend(&self) -> Result<bool, PullError> {
        let (signed, changes) = descent::compare(self.shared, self.connection, &self.line).await?;
        self.apply(signed, changes).await
    }

    async fn apply(&self, signed: SignedHead, changes: Vec<Change>) -> Result<bool, PullError> {
        let repository = self.shared.repository.clone();
        let count = changes.len();
        let (epoch, seq) = (signed.head().epoch, signed.head().seq);
        tokio::task::spawn_blocking(move || repository.follow(signed, &changes)).await??;
        tracing::debug!(epoch, seq, count, "followed");
        self.shared.repository.attention.clear(&Alarm::StateRefused);
        Ok(true)
    }

    async fn tell_progress(&self, writer: &mut FrameWriter<SendStream>) -> Result<(), PullError> {
        let Some(head) = self.shared.repository.head() else { return Ok(()) };
        let (missing_files, missing_bytes) = missing_of(self.shared)?;
        let (epoch, seq) = (head.head().epoch, head.head().seq);
        Ok(writer.write_frame(Progress { epoch, seq, missing_files, missing_bytes }).await?)
    }
}
