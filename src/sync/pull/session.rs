//! Follows the parent's states.

use super::{
    descent,
    parent::{PullError, patiently},
};
use crate::{
    base::tasks,
    domain::{
        key::LineKey,
        state::{Namespace, SignedHead, Verdict},
    },
    repository::{Alarm, Change, FollowError},
    sync::{
        fleet::{TELL_EVERY, Teller, Via},
        frames::{Entries, Frame, Head, Hello, Progress, Welcome},
        pace::{Pace, sleep_until},
        serve::{
            SERVES_PARENT,
            session::{PROTOCOL, missing_of},
        },
        shared::{Shared, write_namespace},
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::{Connection, RecvStream, SendStream};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio_util::task::TaskTracker;

/// Bytes of changes that may wait for their head: more than the longest log holds.
const MAX_PENDING_BYTES: usize = 64 << 20;
/// What a change costs in memory besides its key and body; also charged for a frame, which may be empty.
const CHANGE_BYTES: usize = 192;
/// Holdings change with every small file; the parent hears of it this often at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Fetchers are woken this often at most, whatever the parent says.
const NEWS_EVERY: Duration = Duration::from_millis(100);

/// The alarm about a state that can't be written here.
pub(super) const FOLLOWING: Alarm = Alarm::Failing("following the parent");

/// The stream of states, after its greeting.
pub(super) type StateStream = (FrameWriter<SendStream>, FrameReader<RecvStream>);

/// Opens the stream of states; answers with it and what the parent said of itself.
pub(super) async fn greet(shared: &Shared, connection: &Connection) -> Result<(StateStream, Welcome), PullError> {
    let (send, receive) = connection.open_bi().await?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    writer.write_frame(hello(shared)?).await?;
    match reader.read_frame().await? {
        Some(Frame::Welcome(welcome)) if welcome.version == PROTOCOL => Ok(((writer, reader), welcome)),
        Some(other) => Err(PullError::OutOfPlace(other.name())),
        None => Err(PullError::Ended),
    }
}

/// Follows until the connection ends.
pub(super) async fn follow(
    shared: &Arc<Shared>,
    connection: &Connection,
    line: &LineKey,
    (mut writer, mut reader): StateStream,
    tasks: &TaskTracker,
) -> Result<Infallible, PullError> {
    let now = || shared.clock().monotonic();
    let mut session = Session {
        shared,
        connection,
        tasks,
        line: *line,
        namespaces: shared.repository.namespaces(),
        pending: Vec::new(),
        pending_bytes: 0,
        behind: false,
        descended: false,
        news: Pace::new(NEWS_EVERY, now()),
    };
    let mut asked = shared.questions.asked();
    let mut greeted = Some(*asked.borrow());
    let mut changes = shared.repository.changes();
    let mut pace = Pace::new(PROGRESS_EVERY, now());
    pace.on_event();
    let (mut teller, mut tells) = (Teller::default(), tokio::time::interval(TELL_EVERY));
    loop {
        tokio::select! {
            _ = tells.tick() => {
                for frame in teller.frames(&shared.fleet.for_parent(), now()) {
                    patiently(writer.write_frame(frame)).await?;
                }
            }
            frame = reader.read_frame() => match frame? {
                Some(frame) => {
                    if session.on_frame(frame).await? {
                        session.tell_progress(&mut writer).await?;
                    }
                    // The greeting asked for all that was asked before.
                    if shared.parent().is_current && let Some(number) = greeted.take() {
                        shared.questions.answer(number);
                    }
                }
                None => return Err(PullError::Ended),
            },
            Ok(()) = asked.changed() => {
                let number = *asked.borrow_and_update();
                session.ask().await?;
                shared.questions.answer(number);
            }
            Ok(()) = changes.changed() => pace.on_event(),
            () = sleep_until(pace.due()) => {
                pace.on_told(now());
                session.tell_progress(&mut writer).await?;
            }
            () = sleep_until(session.news.due()) => {
                session.news.on_told(now());
                shared.content_may_be_there.notify_one();
            }
        }
    }
}

fn hello(shared: &Shared) -> Result<Hello, PullError> {
    let head = shared.repository.head();
    let name = shared.name.parse().map_err(|_| PullError::OutOfPlace("nameless"))?;
    Ok(Hello {
        versions: (PROTOCOL, PROTOCOL),
        features: SERVES_PARENT,
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
    tasks: &'s TaskTracker,
    line: LineKey,
    namespaces: Vec<Namespace>,
    pending: Vec<Change>,
    pending_bytes: usize,
    behind: bool,
    /// Whether the state came by comparing trees, past what the stream has yet to tell.
    descended: bool,
    news: Pace,
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
            Frame::Progress(progress) => {
                self.on_progress(&progress).await?;
                Ok(false)
            }
            Frame::Alive(alive) => {
                let Shared { fleet, repository, .. } = &**self.shared;
                fleet.on_alive(repository, Via::Parent, &alive, self.shared.clock().monotonic());
                Ok(false)
            }
            Frame::UrlSaid(told) => {
                self.shared.fleet.on_url_said(&told);
                Ok(false)
            }
            Frame::Holdings(told) => {
                self.shared.fleet.on_holdings(&self.shared.repository, Via::Parent, &told);
                Ok(false)
            }
            other => Err(PullError::OutOfPlace(other.name())),
        }
    }

    /// A parent whose state is the one here has nothing to send: this is how it shows.
    async fn on_progress(&mut self, progress: &Progress) -> Result<(), PullError> {
        self.news.on_event();
        let own = self.shared.repository.head().map(|own| (own.head().epoch, own.head().seq));
        if own != Some((progress.epoch, progress.seq)) {
            return Ok(());
        }
        // Its rows were committed, and then something failed.
        if self.shared.repository.attention.stands(&FOLLOWING) {
            let repository = self.shared.repository.clone();
            let kept = tasks::blocking_in(self.tasks, move || repository.keep_accepted()).await?;
            kept.map_err(FollowError::Failed)?;
            self.shared.repository.attention.clear(&FOLLOWING);
        }
        self.shared.update_parent(|parent| parent.is_current = true);
        Ok(())
    }

    fn on_entries(&mut self, entries: Entries) -> Result<(), PullError> {
        self.pending_bytes += CHANGE_BYTES;
        for entry in entries.entries {
            self.pending_bytes += entry.key.len() + entry.body.len() + CHANGE_BYTES;
            // What is not mirrored is not checked against the signed roots either.
            let Some(namespace) = self.namespaces.iter().find(|known| known.as_str() == entry.namespace.as_str())
            else {
                continue;
            };
            let body = (!entry.removed).then_some(entry.body);
            self.pending.push(Change { seq: Some(entry.seq), namespace: namespace.clone(), key: entry.key, body });
        }
        if self.pending_bytes > MAX_PENDING_BYTES { Err(PullError::Flood) } else { Ok(()) }
    }

    async fn on_head(&mut self, head: Head) -> Result<bool, PullError> {
        let changes = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let (signed, verdict) = self.shared.repository.judge(&head.bytes, &self.line)?;
        let behind = std::mem::take(&mut self.behind);
        match verdict {
            Verdict::Newer | Verdict::Same if behind => self.descend().await,
            Verdict::Newer | Verdict::Same => self.follow_log(signed, changes).await,
            Verdict::Older if self.descended => Ok(false),
            Verdict::Older => {
                let (epoch, seq) = (signed.head().epoch, signed.head().seq);
                Err(FollowError::Older { epoch, seq }.into())
            }
            Verdict::Forked => Err(FollowError::Forked { epoch: signed.head().epoch }.into()),
            Verdict::OtherLine => Err(PullError::Lie("line")),
        }
    }

    async fn follow_log(&mut self, signed: SignedHead, changes: Vec<Change>) -> Result<bool, PullError> {
        let own = self.shared.repository.head();
        let known = own.map(|own| own.head().clone()).filter(|own| own.epoch == signed.head().epoch);
        let Some(changes) = fit_log(changes, known.map_or(0, |own| own.seq), signed.head().seq) else {
            return self.descend().await;
        };
        match self.apply(signed, changes).await {
            Err(PullError::State(FollowError::OtherRoot(namespace))) => {
                tracing::info!(%namespace, "the log does not lead to the signed state; trees are compared");
                self.descend().await
            }
            applied => applied,
        }
    }

    async fn descend(&mut self) -> Result<bool, PullError> {
        let (signed, changes) = descent::compare(self.shared, self.connection, &self.line).await?;
        self.descended = true;
        self.apply(signed, changes).await
    }

    /// Whatever the parent has told: its head, and what leads to it.
    async fn ask(&mut self) -> Result<(), PullError> {
        let (signed, changes) = descent::compare(self.shared, self.connection, &self.line).await?;
        let own = self.shared.repository.head().map(|own| (own.head().epoch, own.head().seq));
        if own >= Some((signed.head().epoch, signed.head().seq)) {
            return Ok(());
        }
        tracing::info!(changes = changes.len(), "the parent had a newer state than it told");
        self.descended = true;
        self.apply(signed, changes).await.map(drop)
    }

    async fn apply(&self, signed: SignedHead, changes: Vec<Change>) -> Result<bool, PullError> {
        let repository = self.shared.repository.clone();
        let count = changes.len();
        let (epoch, seq) = (signed.head().epoch, signed.head().seq);
        tasks::blocking_in(self.tasks, move || repository.follow(signed, &changes)).await??;
        tracing::debug!(epoch, seq, count, "followed");
        self.shared.repository.attention.clear(&Alarm::StateRefused);
        self.shared.repository.attention.clear(&FOLLOWING);
        self.shared.update_parent(|parent| parent.is_current = true);
        Ok(true)
    }

    async fn tell_progress(&self, writer: &mut FrameWriter<SendStream>) -> Result<(), PullError> {
        let Some(head) = self.shared.repository.head() else { return Ok(()) };
        let (missing_files, missing_bytes) = missing_of(self.shared, |_| true)?;
        let (epoch, seq) = (head.head().epoch, head.head().seq);
        patiently(writer.write_frame(Progress { epoch, seq, missing_files, missing_bytes })).await
    }
}

/// The changes after `from`, if all of them are in order and none is beyond `to`: they go into this node's
/// own log under these numbers.
fn fit_log(mut changes: Vec<Change>, from: u64, to: u64) -> Option<Vec<Change>> {
    changes.retain(|change| change.seq.is_some_and(|seq| seq > from));
    let ordered = changes.is_sorted_by(|before, after| before.seq < after.seq);
    let within = changes.last().is_none_or(|last| last.seq <= Some(to));
    (ordered && within).then_some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(numbers: &[u64]) -> Vec<Change> {
        let change = |seq: &u64| Change { seq: Some(*seq), namespace: Namespace::members(), key: vec![], body: None };
        numbers.iter().map(change).collect()
    }

    #[test]
    fn only_new_changes_in_order_up_to_the_head_are_taken_from_a_log() {
        assert_eq!(fit_log(changes(&[1, 2, 3]), 1, 3), Some(changes(&[2, 3])));
        assert_eq!(fit_log(changes(&[]), 5, 5), Some(vec![]));
        assert_eq!(fit_log(changes(&[3, 2]), 1, 3), None);
        assert_eq!(fit_log(changes(&[2, 2]), 1, 3), None);
        assert_eq!(fit_log(changes(&[2, u64::MAX]), 1, 3), None);
    }
}
