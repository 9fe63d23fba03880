//! The state stream of one member: what it lacks of the log, then every change as it happens.
//!
//! No transaction stays open while the member reads: one that reads slowly, or never, costs one frame.

use super::{
    ask::GIVES_ON_MISS,
    connection::{ServeError, patiently},
    rights,
    upward::SERVES_PARENT,
};
use crate::{
    base::tasks,
    catalog::LogRow,
    domain::{
        member::{MemberRecord, Role},
        state::{Namespace, SignedHead},
    },
    repository::{Alarm, Repository, RepositoryError},
    sync::{
        fleet::{TELL_EVERY, Teller, Via},
        frames::{Behind, Entries, EntryFrame, Frame, Head, Hello, Progress, Welcome},
        pace::{Pace, sleep_until},
        shared::{ChildGuard, Shared, write_namespace},
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::{RecvStream, SendStream};
use std::{collections::BTreeSet, time::Duration};

/// The version of the protocol; also the only one so far.
pub(in crate::sync) const PROTOCOL: u16 = 1;
/// Above that of content, awaited or not: what changed never waits behind it.
const STATE: i32 = 2;
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
    /// Where it stood when it was told to compare trees; nothing is sent until it stands elsewhere.
    descending: Option<(u64, u64)>,
    head_sent: Option<[u8; 32]>,
    missing_told: Option<(u64, u64)>,
}

/// Serves the stream until the member or this node ends it.
pub(super) async fn serve(
    shared: &Shared,
    guard: &ChildGuard,
    member: &MemberRecord,
    hello: &Hello,
    reader: &mut FrameReader<RecvStream>,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    let (lowest, highest) = hello.versions;
    if !(lowest..=highest).contains(&PROTOCOL) {
        return Err(ServeError::Version(lowest, highest));
    }
    let namespaces = rights::allowed(&shared.repository, member, &hello.namespaces).map_err(ServeError::Folder)?;
    let Ok(name) = shared.name.parse() else { return Err(ServeError::OutOfPlace("nameless")) };
    let mut changes = shared.repository.changes();
    writer.get_mut().set_priority(STATE).ok();
    let via = Via::Child(member.key);
    patiently(writer.write_frame(Welcome { version: PROTOCOL, features: GIVES_ON_MISS, name })).await?;
    let mut follower = Follower {
        namespaces: namespaces.into_iter().collect(),
        at: (hello.epoch, hello.seq),
        descending: None,
        head_sent: Some(hello.head_hash),
        missing_told: None,
    };
    guard.update(|child| {
        child.at = follower.at;
        child.gives = hello.features & SERVES_PARENT != 0;
    });
    shared.giver_came.notify_one();
    judge_member(&shared.repository, member, follower.at);
    let mut pace = Pace::new(PROGRESS_EVERY, shared.clock().monotonic());
    pace.on_event();
    let (mut teller, mut tells) = (Teller::default(), tokio::time::interval(TELL_EVERY));
    loop {
        push_state(shared, &mut follower, writer).await?;
        tokio::select! {
            Ok(()) = changes.changed() => pace.on_event(),
            () = sleep_until(pace.due()) => {
                pace.on_told(shared.clock().monotonic());
                push_progress(shared, member, &mut follower, writer).await?;
            }
            _ = tells.tick() => {
                let now = shared.clock().monotonic();
                for frame in teller.frames(&shared.fleet.for_child(&member.key), now) {
                    patiently(writer.write_frame(frame)).await?;
                }
            }
            frame = reader.read_frame() => match frame? {
                Some(Frame::Progress(progress)) => on_progress(&mut follower, guard, &progress),
                Some(Frame::Alive(alive)) => {
                    shared.fleet.on_alive(&shared.repository, via, &alive, shared.clock().monotonic());
                }
                Some(Frame::UrlSaid(told)) => shared.fleet.on_url_said(&told),
                Some(Frame::Holdings(told)) => shared.fleet.on_holdings(&shared.repository, via, &told),
                Some(other) => return Err(ServeError::OutOfPlace(other.name())),
                None => return Ok(()),
            },
        }
    }
}

/// A member that is ahead of its main: that was put back from a copy, or another one signs the same line.
fn judge_member(repository: &Repository, member: &MemberRecord, at: (u64, u64)) {
    let Some(own) = repository.head().filter(|_| repository.role() == Role::Main) else { return };
    let alarm = Alarm::Overtaken(member.name.to_string());
    if at <= (own.head().epoch, own.head().seq) {
        return repository.attention.clear(&alarm);
    }
    let what = format!("{} has a newer state of this line than this main, and refuses this one", member.name);
    let cure = "if this main was put back from a copy of its state, stop it, run `wuasync restore --new-epoch` and \
                start it; if another main signs this line, stop one of the two";
    repository.attention.raise(alarm, what, cure);
}

/// Where the member stands counts only after a comparison of trees: else what was sent since its
/// word left it would be sent again.
fn on_progress(follower: &mut Follower, guard: &ChildGuard, progress: &Progress) {
    let at = (progress.epoch, progress.seq);
    if follower.descending.is_some_and(|stood| stood != at) {
        follower.at = at;
        follower.descending = None;
    }
    guard.update(|child| {
        child.at = at;
        child.missing = (progress.missing_files, progress.missing_bytes);
    });
}

/// Sends whatever the member does not have yet.
async fn push_state(
    shared: &Shared,
    follower: &mut Follower,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    let Some(head) = shared.repository.head() else { return Ok(()) };
    if follower.head_sent == Some(head.hash()) || follower.descending.is_some() {
        return Ok(());
    }
    if push_log(shared, follower, &head, writer).await? {
        follower.at = (head.head().epoch, head.head().seq);
        follower.head_sent = Some(head.hash());
    } else {
        follower.descending = Some(follower.at);
        patiently(writer.write_frame(Behind {})).await?;
    }
    patiently(writer.write_frame(Head { bytes: head.to_bytes() })).await
}

/// Sends what the log has up to `head`; `false` if that does not begin where the member stands.
async fn push_log(
    shared: &Shared,
    follower: &Follower,
    head: &SignedHead,
    writer: &mut FrameWriter<SendStream>,
) -> Result<bool, ServeError> {
    let (epoch, mut at) = follower.at;
    let seq = head.head().seq;
    if epoch != head.head().epoch || at > seq {
        return Ok(false);
    }
    loop {
        let repository = shared.repository.clone();
        let page = tasks::blocking(move || log_page(&repository, at)).await??;
        let Some(rows) = page else { return Ok(false) };
        let Some(last) = rows.last().filter(|_| at < seq) else { return Ok(true) };
        at = last.seq;
        let wanted = |row: &LogRow| row.seq <= seq && follower.namespaces.contains(&row.record.namespace);
        push_rows(rows.into_iter().filter(wanted), writer).await?;
    }
}

/// The rows after `at`; `None` if the log does not reach back to it.
fn log_page(repository: &Repository, at: u64) -> Result<Option<Vec<LogRow>>, RepositoryError> {
    let snapshot = repository.state().index.read()?;
    if at < snapshot.log_base()? {
        return Ok(None);
    }
    Ok(Some(snapshot.log_after(at, ROWS)?))
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
            patiently(writer.write_frame(Entries { entries: std::mem::take(&mut entries) })).await?;
            bytes = 0;
        }
    }
    if !entries.is_empty() {
        patiently(writer.write_frame(Entries { entries })).await?;
    }
    Ok(())
}

/// Tells how much of the state this node holds itself, so that a follower knows when to ask again.
async fn push_progress(
    shared: &Shared,
    member: &MemberRecord,
    follower: &mut Follower,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    let Some(head) = shared.repository.head() else { return Ok(()) };
    let (missing_files, missing_bytes) = missing_of(shared, |folder| rights::may_mirror(member, folder))?;
    if follower.missing_told == Some((missing_files, missing_bytes)) {
        return Ok(());
    }
    follower.missing_told = Some((missing_files, missing_bytes));
    let (epoch, seq) = (head.head().epoch, head.head().seq);
    patiently(writer.write_frame(Progress { epoch, seq, missing_files, missing_bytes })).await
}

/// Files that this node lacks, and their bytes, over these folders.
pub(in crate::sync) fn missing_of(
    shared: &Shared,
    counts: impl Fn(&crate::domain::name::FolderName) -> bool,
) -> Result<(u64, u64), RepositoryError> {
    let snapshot = shared.repository.state().index.read()?;
    let mut missing = (0, 0);
    for folder in shared.repository.folder_names().filter(|folder| counts(folder)) {
        let totals = snapshot.totals(folder)?;
        missing = (missing.0 + totals.missing_files, missing.1 + totals.missing_bytes);
    }
    Ok(missing)
}
