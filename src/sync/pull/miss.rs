//! The flights of a secondary: a file that somebody waits for, from the parent by its name, through any number
//! of tiers, while it arrives there.
//!
//! Where the signed state names the content, every group is proven before anybody sees it (a [`Partial`]).
//! Where it does not yet, plain bytes arrive and are hashed (a [`Download`]); the last group is held back until
//! a head signed by the main names the root that was computed on the way: the parent's word is a hint. A lost
//! connection is waited for; what has arrived stays, for this flight or for the next. Who lies is told of damage,
//! and asked again by a later flight.

use super::{
    parent::{PullError, patiently},
    stream::report_bad,
};
use crate::{
    base::{backoff::Backoff, chain::chain, future::BoxFuture, ranges::Ranges, tasks},
    domain::{
        digest::Root,
        file::{FileRecord, MAX_FILE_BYTES},
        name::{FileName, FolderName},
    },
    repository::{Arrival, LocalSource, Repository, RepositoryError},
    store::{
        download::{Digests, Download, DownloadKey, Origin},
        partial::Partial,
        segment::{DecodeError, GROUP_BYTES, GroupSink, SegmentDecoder, aligned, encoded_len},
        staging::Staged,
    },
    supply::{
        Client, Ending, Flight, Sight,
        course::Course,
        spring::{Description, Outlook, Spring},
    },
    sync::{
        bounded::Text,
        frames::{Ask, Coming, Frame, Granted, MAX_PIECE_BYTES, Piece, RefusedReason, Seek},
        shared::{ParentConnection, Shared, Transfer, TransferGuard},
        wire::{FrameReader, FrameWriter},
    },
};
use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use std::{
    collections::BTreeSet,
    io,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long a flight waits for a parent that is away, and goes on without any progress.
const PATIENCE: Duration = Duration::from_secs(60);
/// When to ask again while the parent is away.
const AWAY: Duration = Duration::from_secs(15);
/// When to ask again after something failed here.
const FAILED: Duration = Duration::from_secs(30);
/// For the parent's first word: it waits for its own source, half a minute.
const FIRST_WORD: Duration = Duration::from_secs(45);
/// For the main's head once all bytes are here: the main has verified them before it let the last ones go.
const NAMED_WITHIN: Duration = Duration::from_secs(60);
/// First and longest wait between two tries of one flight.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// What a parent may send in a row that is here already: far more than is under way when others are wanted.
const MOST_IN_VAIN: u64 = 16 << 20;

/// Why a try of a flight ended.
#[derive(Debug, thiserror::Error)]
enum MissError {
    #[error("the parent is away")]
    Away,
    #[error("the parent's version gives no files by their names: install the same version there")]
    Old,
    #[error("nobody knows it")]
    Unknown,
    #[error("the parent can't give it now")]
    NotNow(Duration),
    #[error("its content is known now")]
    Named,
    #[error("what arrived is not {0}: it is dropped")]
    Wrong(&'static str),
    #[error(transparent)]
    Pull(#[from] PullError),
}

impl From<RepositoryError> for MissError {
    fn from(error: RepositoryError) -> Self {
        Self::Pull(error.into())
    }
}

impl From<tokio::task::JoinError> for MissError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Pull(error.into())
    }
}

impl From<quinn::ConnectionError> for MissError {
    fn from(error: quinn::ConnectionError) -> Self {
        Self::Pull(error.into())
    }
}

/// Brings files from the parent.
pub struct FromParent {
    shared: Arc<Shared>,
    cancel: CancellationToken,
}

impl FromParent {
    /// Brings files until `cancel`.
    pub fn new(shared: Arc<Shared>, cancel: CancellationToken) -> Self {
        Self { shared, cancel }
    }

    /// A file that can't be had is asked for again when that makes sense, by nobody's leave.
    async fn keep(&self, folder: &FolderName, name: &FileName) {
        let (repository, folder, name) = (self.shared.repository.clone(), folder.clone(), name.clone());
        let kept = tasks::blocking(move || repository.note_ask(&folder, &name)).await;
        if let Ok(Err(error)) = kept {
            tracing::error!(error = &error as &dyn std::error::Error, "what hosts ask for can't be noted");
        }
    }

    async fn fly(&self, flight: &Arc<Flight>) -> Ending {
        let ending = tokio::select! {
            () = self.cancel.cancelled() => later(AWAY, "this repository is stopping"),
            ending = self.try_again_and_again(flight) => ending,
        };
        if let (Ending::Later { .. }, true) = (&ending, flight.first != Client::Background) {
            self.keep(&flight.folder, &flight.name).await;
        }
        // Whoever mirrors left it to this flight.
        self.shared.content_may_be_there.notify_one();
        ending
    }

    async fn try_again_and_again(&self, flight: &Arc<Flight>) -> Ending {
        let (folder, name) = (&flight.folder, &flight.name);
        let mut trip = Trip {
            shared: &self.shared,
            flight,
            demand: flight.demand(),
            course: Course::default(),
            start: 0,
            has_looked: false,
            download: None,
            moved_at: self.shared.clock().monotonic(),
        };
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            let moved_at = trip.moved_at;
            let error = match trip.once().await {
                Ok(()) => return Ending::Published,
                Err(error) => error,
            };
            let now = self.shared.clock().monotonic();
            if is_full(&error) {
                trip.make_room().await;
            }
            match error {
                MissError::Named => continue,
                MissError::Unknown => return Ending::Unknown,
                MissError::NotNow(wait) => return later(wait, &MissError::NotNow(wait).to_string()),
                MissError::Away => return later(AWAY, &MissError::Away.to_string()),
                error @ (MissError::Old | MissError::Wrong(_)) => {
                    tracing::warn!(%folder, %name, error = &error as &dyn std::error::Error, "a file can't be had");
                    return later(FAILED, &chain(&error));
                }
                error if now.saturating_duration_since(trip.moved_at) > PATIENCE || is_final(&error) => {
                    tracing::warn!(%folder, %name, error = &error as &dyn std::error::Error, "a file can't be had");
                    return later(FAILED, &chain(&error));
                }
                error => {
                    tracing::info!(%folder, %name, error = &error as &dyn std::error::Error, "asking for a file again");
                }
            }
            if trip.moved_at != moved_at {
                backoff.on_success();
            }
            sleep(backoff.on_failure(u64::MAX / 2)).await;
        }
    }
}

fn later(retry_after: Duration, why: &str) -> Ending {
    Ending::Later { retry_after, why: why.to_owned() }
}

/// Whether another try at once is in vain: it failed here, or the parent says what no honest one says.
fn is_final(error: &MissError) -> bool {
    match error {
        MissError::Pull(PullError::Repository(_)) => true,
        MissError::Pull(error) => error.is_violation(),
        _ => false,
    }
}

fn is_full(error: &MissError) -> bool {
    matches!(error, MissError::Pull(PullError::Repository(RepositoryError::NoRoom { .. })))
}

impl Spring for FromParent {
    fn outlook<'a>(&'a self, folder: &'a FolderName, name: &'a FileName, client: &'a Client) -> BoxFuture<'a, Outlook> {
        Box::pin(async move {
            if self.shared.repository.folder_path(folder).is_none() {
                return Outlook::Unknown;
            }
            if self.shared.connection_to_parent().is_some() {
                return Outlook::Good;
            }
            if *client != Client::Background {
                self.keep(folder, name).await;
            }
            Outlook::Later(AWAY)
        })
    }

    fn fly<'a>(&'a self, flight: &'a Arc<Flight>) -> BoxFuture<'a, Ending> {
        Box::pin(self.fly(flight))
    }

    fn describe<'a>(&'a self, folder: &'a FolderName, name: &'a FileName) -> BoxFuture<'a, Option<Description>> {
        Box::pin(async move {
            let parent = connected(&self.shared).await.ok()?;
            let (_, _, coming) = ask(&parent, folder, name, true, 0).await.ok()?;
            Some(Description { size: coming.size, modified: coming.modified })
        })
    }
}

/// The parent, once it is there.
async fn connected(shared: &Shared) -> Result<ParentConnection, MissError> {
    let mut watch = shared.parent_connection();
    let there = timeout(PATIENCE, watch.wait_for(Option::is_some)).await;
    let parent = there.ok().and_then(Result::ok).and_then(|parent| parent.clone()).ok_or(MissError::Away)?;
    if parent.gives_on_miss { Ok(parent) } else { Err(MissError::Old) }
}

type Stream = (FrameWriter<SendStream>, FrameReader<RecvStream>, Coming);

/// Asks for a file, and waits for the parent's first word.
async fn ask(
    parent: &ParentConnection,
    folder: &FolderName,
    name: &FileName,
    describe: bool,
    from: u64,
) -> Result<Stream, MissError> {
    let (send, receive) = parent.connection.open_bi().await?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    let (Some(folder), Some(name)) = (Text::new(folder.as_str()), Text::new(name.as_str())) else {
        return Err(MissError::Unknown);
    };
    patiently(writer.write_frame(Ask { folder, name, describe, from })).await?;
    let word = timeout(FIRST_WORD, reader.read_frame()).await.map_err(|_| PullError::Late)?;
    match word.map_err(PullError::from)? {
        Some(Frame::Coming(coming)) if coming.size <= MAX_FILE_BYTES => Ok((writer, reader, coming)),
        Some(Frame::Coming(_)) => Err(PullError::Lie("size").into()),
        Some(Frame::NotNow(not_now)) => {
            Err(MissError::NotNow(Duration::from_secs(u64::from(not_now.retry_after_seconds))))
        }
        Some(Frame::Refused(refused)) if refused.reason == RefusedReason::Unknown => Err(MissError::Unknown),
        Some(Frame::Refused(_)) => Err(MissError::NotNow(FAILED)),
        Some(other) => Err(PullError::OutOfPlace(other.name()).into()),
        None => Err(PullError::Ended.into()),
    }
}

/// One flight while it lasts.
struct Trip<'a> {
    shared: &'a Arc<Shared>,
    flight: &'a Arc<Flight>,
    demand: watch::Receiver<BTreeSet<u64>>,
    course: Course,
    /// Which beginning of the file readers see.
    start: u32,
    /// Whether what an earlier flight left was looked for.
    has_looked: bool,
    /// What has arrived while its content was not known.
    download: Option<Download>,
    /// When anything arrived last.
    moved_at: Instant,
}

impl Trip<'_> {
    /// One try: until the file is held here.
    async fn once(&mut self) -> Result<(), MissError> {
        let parent = connected(self.shared).await?;
        let indexed = self.indexed().await?;
        if !std::mem::replace(&mut self.has_looked, true) {
            self.download = self.take_up().await?;
        }
        match indexed {
            Some(file) if self.download.is_none() => self.named(&parent, file).await,
            _ => self.unnamed(&parent).await,
        }
    }

    /// What an earlier flight left that knew no content.
    async fn take_up(&self) -> Result<Option<Download>, MissError> {
        let (folder, name) = self.place();
        self.blocking(move |repository| {
            let taken = repository.staging(&folder)?.downloads().take_up(DownloadKey::of(&name), false);
            taken.map_err(RepositoryError::io("reading what arrived of", &name))
        })
        .await
    }

    /// What has arrived goes where the disk is full.
    async fn make_room(&mut self) {
        self.download = None;
        let (folder, name) = self.place();
        let made = self.blocking(move |repository| {
            let discarded = repository.staging(&folder)?.downloads().discard(DownloadKey::of(&name));
            discarded.map_err(RepositoryError::io("discarding what arrived of", &name))
        });
        if let Err(error) = made.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "what arrived of a file can't be removed");
        }
    }

    async fn indexed(&self) -> Result<Option<FileRecord>, MissError> {
        let (folder, name) = self.place();
        self.blocking(move |repository| repository.indexed(&folder, &name)).await
    }

    /// The signed state names the content.
    async fn named(&mut self, parent: &ParentConnection, file: FileRecord) -> Result<(), MissError> {
        let shared = self.shared.clone();
        // Whoever had it may have brought it.
        let _claim = shared.claims.take(file.root).await;
        let ((folder, name), wanted) = (self.place(), file.into());
        let local = self.blocking(move |repository| repository.obtain_locally(&folder, &name, &wanted)).await?;
        match local {
            LocalSource::Nothing => {}
            LocalSource::Settled => return Ok(()),
            LocalSource::Staged(staged) => return self.receive(file, staged).await,
        }
        let (partial, mut here) = self.open_partial(file).await?;
        let partial = Arc::new(partial);
        // What was proven against one root is the same bytes for ever.
        let told = self.flight.progress().sight.and_then(|sight| sight.root);
        self.start += u32::from(told != Some(file.root));
        self.course.begin_anew();
        if !here.is_empty() {
            self.tell_proven(&partial, file, &here);
        }
        if let Some(piece) = self.next_piece(file.size, &here) {
            let (writer, reader, coming) = self.ask(parent, piece.start).await?;
            match coming.root {
                Some(root) if root == file.root && coming.size == file.size => {}
                // It arrives there without its content being known.
                None if coming.size == file.size => return self.take_plain(parent, (writer, reader, coming)).await,
                _ => return Err(PullError::Ended.into()),
            }
            self.tell_proven(&partial, file, &here);
            let guard = self.transfer(file.size, here.len());
            let stream = (parent, writer, reader);
            if let Err(error) = self.take_proven(stream, file, &partial, &mut here, piece, &guard).await {
                return self.drop_if_full(partial, error).await;
            }
        }
        let partial = Arc::into_inner(partial);
        let staged = self
            .blocking(move |repository| {
                let whole = |partial: Partial| partial.finish(file.modified, &repository.state().outboards);
                let partial = partial.ok_or(io::ErrorKind::ResourceBusy.into());
                partial.and_then(whole).map_err(RepositoryError::io("finishing", "a file that was asked for"))
            })
            .await?;
        self.receive(file, staged).await
    }

    async fn open_partial(&self, file: FileRecord) -> Result<(Partial, Ranges), MissError> {
        let folder = self.flight.folder.clone();
        self.blocking(move |repository| {
            let staging = repository.staging(&folder)?;
            let open = || {
                let partial = Partial::open(staging, file.root, file.size)?;
                let mut here = Ranges::default();
                partial.valid_ranges()?.into_iter().for_each(|range| here.insert(range));
                Ok((partial, here))
            };
            open().map_err(RepositoryError::io("opening the partial of", file.root))
        })
        .await
    }

    /// What has arrived goes where the disk is full; else it stays for the next try.
    async fn drop_if_full(&self, partial: Arc<Partial>, error: MissError) -> Result<(), MissError> {
        if let Some(partial) = Arc::into_inner(partial).filter(|_| is_full(&error)) {
            let discard =
                move |_: &Repository| partial.discard().map_err(RepositoryError::io("discarding", "a partial"));
            self.blocking(discard).await?;
        }
        Err(error)
    }

    /// Takes proven groups until all are here.
    async fn take_proven(
        &mut self,
        (parent, mut writer, mut reader): (&ParentConnection, FrameWriter<SendStream>, FrameReader<RecvStream>),
        file: FileRecord,
        partial: &Arc<Partial>,
        here: &mut Ranges,
        mut piece: Range<u64>,
        guard: &TransferGuard,
    ) -> Result<(), MissError> {
        let (mut at, mut in_vain) = (piece.start, 0);
        if piece.end < file.size {
            seek(&mut writer, &piece).await?;
        }
        loop {
            let frame = tokio::select! {
                frame = patiently(reader.read_frame()) => frame?,
                Ok(()) = self.demand.changed() => {
                    if self.leaves(at, file.size, here) && let Some(next) = self.next_piece(file.size, here) {
                        piece = next;
                        seek(&mut writer, &piece).await?;
                    }
                    continue;
                }
            };
            let (range, segment) = read_segment(&mut reader, frame, file.size).await?;
            let sink = partial.clone();
            let verified = decode(file.root, file.size, range.clone(), segment, move |decoder, bytes| {
                decoder.feed(bytes, &mut sink.as_ref()).map(drop)
            });
            self.on_decoded(parent, file.root, range.start, verified.await?).await?;
            let before = here.len();
            here.insert(range.clone());
            at = range.end;
            self.on_arrived(here.len() - before, &range, guard, &mut in_vain)?;
            self.tell_proven(partial, file, here);
            if here.contains(&piece) {
                let Some(next) = self.next_piece(file.size, here) else { break };
                piece = next;
                seek(&mut writer, &piece).await?;
            }
        }
        writer.get_mut().finish().ok();
        Ok(())
    }

    /// What does not verify is reported to the parent, which looks at its copy.
    async fn on_decoded(
        &self,
        parent: &ParentConnection,
        root: Root,
        start: u64,
        decoded: Result<(), DecodeError>,
    ) -> Result<(), MissError> {
        let offset = match decoded {
            Ok(()) => return Ok(()),
            Err(DecodeError::Sink(source)) => {
                return Err(RepositoryError::io("writing", &self.flight.name)(source).into());
            }
            Err(DecodeError::ParentMismatch) => start,
            Err(DecodeError::GroupMismatch { offset }) => offset,
        };
        report_bad(&parent.connection, root, offset).await;
        Err(PullError::Lie("content").into())
    }

    /// `more` of the bytes of `range` are new.
    fn on_arrived(
        &mut self,
        more: u64,
        range: &Range<u64>,
        guard: &TransferGuard,
        in_vain: &mut u64,
    ) -> Result<(), MissError> {
        guard.advance(more);
        self.shared.received_bytes.fetch_add(more, Relaxed);
        if more > 0 {
            *in_vain = 0;
            self.moved_at = self.shared.clock().monotonic();
            return Ok(());
        }
        // A piece costs something, however small it is.
        *in_vain += (range.end - range.start).max(GROUP_BYTES);
        if *in_vain > MOST_IN_VAIN { Err(PullError::Flood.into()) } else { Ok(()) }
    }

    /// The signed state does not name the file yet, or did not when it began to arrive.
    async fn unnamed(&mut self, parent: &ParentConnection) -> Result<(), MissError> {
        let from = self.download.as_ref().map_or(0, |download| download.arrived() / GROUP_BYTES * GROUP_BYTES);
        let stream = self.ask(parent, from).await?;
        let coming = &stream.2;
        let Some(root) = coming.root else { return self.take_plain(parent, stream).await };
        match self.download.take() {
            // The rest of the same file, by all that is known; what it is shows at the end.
            Some(download) if download.origin().size == coming.size => {
                self.download = Some(download);
                self.take_plain(parent, stream).await
            }
            Some(_) => Err(MissError::Named),
            None => {
                // The parent holds it: its content is about to be named here too.
                let named = self.named_within(NAMED_WITHIN).await?;
                Err(if named.root == root { MissError::Named } else { PullError::Ended.into() })
            }
        }
    }

    /// Takes bytes until all are here, and waits for the signed state to name what they are. Where the parent
    /// knows a root they are proven to be of that root, which is no more than its word.
    async fn take_plain(
        &mut self,
        parent: &ParentConnection,
        (mut writer, mut reader, coming): Stream,
    ) -> Result<(), MissError> {
        let size = coming.size;
        self.take_up_or_begin(&coming).await?;
        let here = self.here();
        let guard = self.transfer(size, here.len());
        if let Some(mut piece) = self.next_piece(size, &here) {
            let (mut at, mut in_vain) = (piece.start, 0);
            seek(&mut writer, &piece).await?;
            loop {
                let frame = tokio::select! {
                    frame = patiently(reader.read_frame()) => frame?,
                    Ok(()) = self.demand.changed() => {
                        let here = self.here();
                        if self.leaves(at, size, &here) && let Some(next) = self.next_piece(size, &here) {
                            piece = next;
                            seek(&mut writer, &piece).await?;
                        }
                        continue;
                    }
                };
                let (range, bytes) = match coming.root {
                    None => read_piece(&mut reader, frame, size).await?,
                    Some(root) => {
                        let (range, segment) = read_segment(&mut reader, frame, size).await?;
                        let mut groups = Groups(Vec::new());
                        let decoded = decode(root, size, range.clone(), segment, move |decoder, bytes| {
                            decoder.feed(bytes, &mut groups).map(|_| groups.0)
                        });
                        match decoded.await? {
                            Ok(groups) => (range, groups.into()),
                            Err(error) => {
                                self.on_decoded(parent, root, range.start, Err(error)).await?;
                                continue;
                            }
                        }
                    }
                };
                let before = self.here().len();
                at = range.end;
                self.write(range.start, bytes).await?;
                let here = self.here();
                self.on_arrived(here.len() - before, &range, &guard, &mut in_vain)?;
                self.tell_plain();
                if here.contains(&piece) {
                    let Some(next) = self.next_piece(size, &here) else { break };
                    piece = next;
                    seek(&mut writer, &piece).await?;
                }
            }
        }
        writer.get_mut().finish().ok();
        self.conclude().await
    }

    /// What is here of the download.
    fn here(&self) -> Ranges {
        self.download.as_ref().map(|download| download.here().clone()).unwrap_or_default()
    }

    async fn take_up_or_begin(&mut self, coming: &Coming) -> Result<(), MissError> {
        let origin = Origin { size: coming.size, modified: coming.modified };
        let is_same = |known: &Origin| match coming.root {
            Some(_) => known.size == origin.size,
            None => *known == origin && origin.modified.is_some(),
        };
        self.download = self.download.take().filter(|known| is_same(&known.origin()));
        if self.download.is_some() {
            self.start = self.start.max(1);
        } else {
            let (folder, name) = self.place();
            let begun = self.blocking(move |repository| {
                let downloads = repository.staging(&folder)?.downloads();
                let begun = downloads.begin(DownloadKey::of(&name), origin, false);
                begun.map_err(RepositoryError::io("beginning", &name))
            });
            self.download = Some(begun.await?);
            self.start += 1;
            self.course.begin_anew();
        }
        self.tell_plain();
        Ok(())
    }

    async fn write(&mut self, at: u64, bytes: Bytes) -> Result<(), MissError> {
        let Some(mut download) = self.download.take() else { return Err(PullError::Ended.into()) };
        let name = self.flight.name.clone();
        let written = self.blocking(move |_| {
            let write = |download: &mut Download| {
                download.write_at(at, &bytes)?;
                if download.is_behind() { download.catch_up() } else { Ok(()) }
            };
            write(&mut download).map_err(RepositoryError::io("writing", &name))?;
            Ok(download)
        });
        self.download = Some(written.await?);
        Ok(())
    }

    /// All bytes are here: what they are decides.
    async fn conclude(&mut self) -> Result<(), MissError> {
        let Some(mut download) = self.download.take() else { return Err(PullError::Ended.into()) };
        let name = self.flight.name.clone();
        let (download, digests) = self
            .blocking(move |_| {
                while download.is_behind() {
                    download.catch_up().map_err(RepositoryError::io("reading what arrived of", &name))?;
                }
                let digests = download.digests();
                Ok((download, digests))
            })
            .await?;
        let Some(Digests { root, size, sha1, .. }) = digests else { return Err(PullError::Ended.into()) };
        if self.flight.name.promised_sha1().is_some_and(|promised| promised != sha1) {
            return self.drop_wrong(download, "what its name promises").await;
        }
        let named = self.named_within(NAMED_WITHIN).await?;
        if (named.root, named.size) != (root, size) {
            return self.drop_wrong(download, "what the main signed").await;
        }
        self.flight.tell_verified(&self.plain_sight(&download));
        let staged = self
            .blocking(move |repository| {
                let finished = download.finish(named.modified, &repository.state().outboards);
                finished.map_err(RepositoryError::io("finishing", "a file that was asked for"))
            })
            .await?;
        self.receive(named, staged).await
    }

    async fn drop_wrong(&self, download: Download, what: &'static str) -> Result<(), MissError> {
        self.blocking(move |_| download.discard().map_err(RepositoryError::io("discarding", "wrong bytes"))).await?;
        Err(MissError::Wrong(what))
    }

    /// What a signed state names under this name, as soon as one does.
    async fn named_within(&self, patience: Duration) -> Result<FileRecord, MissError> {
        let mut changes = self.shared.repository.changes();
        let named = async {
            loop {
                changes.mark_unchanged();
                if let Some(file) = self.indexed().await? {
                    return Ok(file);
                }
                changes.changed().await.map_err(|_| PullError::Ended)?;
            }
        };
        timeout(patience, named).await.unwrap_or(Err(MissError::NotNow(FAILED)))
    }

    async fn receive(&self, file: FileRecord, staged: Staged) -> Result<(), MissError> {
        let (folder, name) = self.place();
        let arrival = Arrival { folder: folder.clone(), name, wanted: file.into(), staged: staged.clone() };
        self.blocking(move |repository| {
            let received = repository.receive(vec![arrival]);
            // Whether the disk has them is in doubt.
            if let Err(RepositoryError::Unsynced { .. }) = &received {
                let discarded = repository.staging(&folder)?.discard(&staged);
                discarded.map_err(RepositoryError::io("discarding", "what could not be synced"))?;
            }
            received
        })
        .await
    }

    async fn ask(&self, parent: &ParentConnection, from: u64) -> Result<Stream, MissError> {
        ask(parent, &self.flight.folder, &self.flight.name, false, from).await
    }

    fn next_piece(&mut self, size: u64, here: &Ranges) -> Option<Range<u64>> {
        self.course.next(size, here, &self.demand.borrow_and_update())
    }

    fn leaves(&mut self, at: u64, size: u64, here: &Ranges) -> bool {
        self.course.leaves(at, size, here, &self.demand.borrow_and_update())
    }

    fn tell_proven(&self, partial: &Partial, file: FileRecord, here: &Ranges) {
        self.flight.tell(Sight {
            start: self.start,
            size: file.size,
            modified: Some(file.modified),
            root: Some(file.root),
            may_flow: true,
            here: Arc::new(here.clone()),
            bytes: partial.data(),
            outboard: partial.outboard(),
        });
    }

    fn tell_plain(&self) {
        if let Some(download) = &self.download {
            self.flight.tell(self.plain_sight(download));
        }
    }

    /// Bytes may flow early where the name carries a SHA-1: agents check it too.
    fn plain_sight(&self, download: &Download) -> Sight {
        let Origin { size, modified } = download.origin();
        Sight {
            start: self.start,
            size,
            modified,
            root: None,
            may_flow: self.flight.name.is_immutable(),
            here: Arc::new(download.here().clone()),
            bytes: download.data(),
            outboard: None,
        }
    }

    fn transfer(&self, size: u64, here: u64) -> TransferGuard {
        let (folder, name) = self.place();
        self.shared.begin_transfer(Transfer { folder, name, done_bytes: here, size_bytes: size })
    }

    fn place(&self) -> (FolderName, FileName) {
        (self.flight.folder.clone(), self.flight.name.clone())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Repository) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, MissError> {
        Ok(self.shared.repository.apart("a file that was asked for", work).await?)
    }
}

async fn seek(writer: &mut FrameWriter<SendStream>, piece: &Range<u64>) -> Result<(), MissError> {
    // What is before it in its group comes along.
    let start = piece.start / GROUP_BYTES * GROUP_BYTES;
    Ok(patiently(writer.write_frame(Seek { start, end: piece.end })).await?)
}

/// The segment that a frame announces, and where its bytes belong.
async fn read_segment(
    reader: &mut FrameReader<RecvStream>,
    frame: Option<Frame>,
    size: u64,
) -> Result<(Range<u64>, Bytes), MissError> {
    let Granted { size: said, ranges, .. } = match frame {
        Some(Frame::Granted(granted)) => granted,
        other => return Err(ended(other)),
    };
    let range = match ranges.as_slice() {
        &[(start, end)] if said == size && start < end && end <= size && end - start <= u64::from(MAX_PIECE_BYTES) => {
            aligned(start..end, size)
        }
        _ => return Err(PullError::Lie("grant").into()),
    };
    let length = usize::try_from(encoded_len(size, &range)).map_err(|_| PullError::Flood)?;
    Ok((range, patiently(reader.read_raw(length)).await?))
}

/// The plain bytes that a frame announces, and where they belong.
async fn read_piece(
    reader: &mut FrameReader<RecvStream>,
    frame: Option<Frame>,
    size: u64,
) -> Result<(Range<u64>, Bytes), MissError> {
    let Piece { offset, length } = match frame {
        Some(Frame::Piece(piece)) => piece,
        other => return Err(ended(other)),
    };
    let is_small = (1..=MAX_PIECE_BYTES).contains(&length);
    let end = offset.checked_add(u64::from(length)).filter(|end| *end <= size && is_small);
    let Some(end) = end else { return Err(PullError::Lie("piece").into()) };
    Ok((offset..end, patiently(reader.read_raw(length as usize)).await?))
}

/// Verifies a whole segment, away from the tasks that must not wait for it.
async fn decode<T: Send + 'static>(
    root: Root,
    size: u64,
    range: Range<u64>,
    segment: Bytes,
    feed: impl FnOnce(&mut SegmentDecoder, &[u8]) -> Result<T, DecodeError> + Send + 'static,
) -> Result<Result<T, DecodeError>, MissError> {
    let start = range.start;
    let decoded = tasks::blocking(move || {
        let mut decoder = SegmentDecoder::new(root, size, range);
        let fed = feed(&mut decoder, &segment)?;
        if decoder.is_done() { Ok(fed) } else { Err(DecodeError::GroupMismatch { offset: start }) }
    });
    Ok(decoded.await?)
}

/// Proven bytes, in order.
struct Groups(Vec<u8>);

impl GroupSink for Groups {
    fn pair(&mut self, _: bao_tree::TreeNode, _: &(blake3::Hash, blake3::Hash)) -> io::Result<()> {
        Ok(())
    }

    fn group(&mut self, _: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Anything else than bytes.
fn ended(frame: Option<Frame>) -> MissError {
    match frame {
        // The rest failed to arrive there; another try may find more.
        Some(Frame::NotNow(_)) | None => PullError::Ended.into(),
        Some(other) => PullError::OutOfPlace(other.name()).into(),
    }
}
