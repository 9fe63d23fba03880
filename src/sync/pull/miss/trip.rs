//! One flight while it lasts: tries, what has arrived over them, and its end in the folder.

use super::{
    FAILED, MissError, connected,
    pieces::{self, Stream},
};
use crate::{
    base::ranges::Ranges,
    domain::{
        digest::Root,
        file::FileRecord,
        name::{FileName, FolderName},
    },
    repository::{Arrival, Repository, RepositoryError},
    store::{
        download::{Download, DownloadKey, Shas},
        segment::{DecodeError, GROUP_BYTES},
        staging::Staged,
    },
    supply::{Flight, course::Course},
    sync::{
        pull::{parent::PullError, stream::report_bad},
        shared::{ParentConnection, Shared, Transfer, TransferGuard},
    },
};
use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

/// What a parent may send in a row that is here already: far more than is under way when others are wanted.
const MOST_IN_VAIN: u64 = 16 << 20;

/// One flight while it lasts.
pub(super) struct Trip<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) flight: &'a Arc<Flight>,
    pub(super) demand: watch::Receiver<BTreeSet<u64>>,
    pub(super) course: Course,
    /// Which beginning of the file readers see.
    pub(super) start: u32,
    /// Whether what an earlier flight left was looked for.
    has_looked: bool,
    /// What has arrived while its content was not known.
    pub(super) download: Option<Download>,
    /// When anything arrived last.
    pub(super) moved_at: Instant,
}

impl<'a> Trip<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, flight: &'a Arc<Flight>) -> Self {
        Self {
            shared,
            flight,
            demand: flight.demand(),
            course: Course::default(),
            start: 0,
            has_looked: false,
            download: None,
            moved_at: shared.clock().monotonic(),
        }
    }

    /// One try: until the file is held here.
    pub(super) async fn once(&mut self) -> Result<(), MissError> {
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
            let taken = repository.staging(&folder)?.downloads().take_up(DownloadKey::of(&name), Shas::Neither);
            taken.map_err(RepositoryError::io("reading what arrived of", &name))
        })
        .await
    }

    /// What has arrived goes where the disk is full.
    pub(super) async fn make_room(&mut self) {
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

    pub(super) async fn indexed(&self) -> Result<Option<FileRecord>, MissError> {
        let (folder, name) = self.place();
        self.blocking(move |repository| repository.indexed(&folder, &name)).await
    }

    /// What does not verify is reported to the parent, which looks at its copy.
    pub(super) async fn on_decoded(
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
    pub(super) fn on_arrived(
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

    /// What a signed state names under this name, as soon as one does.
    pub(super) async fn named_within(&self, patience: Duration) -> Result<FileRecord, MissError> {
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

    pub(super) async fn receive(&self, file: FileRecord, staged: Staged) -> Result<(), MissError> {
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

    pub(super) async fn ask(&self, parent: &ParentConnection, from: u64) -> Result<Stream, MissError> {
        pieces::ask(self.shared, parent, &self.flight.folder, &self.flight.name, false, from).await
    }

    pub(super) fn next_piece(&mut self, size: u64, here: &Ranges) -> Option<Range<u64>> {
        self.course.next(size, here, &self.demand.borrow_and_update())
    }

    pub(super) fn leaves(&mut self, at: u64, size: u64, here: &Ranges) -> bool {
        self.course.leaves(at, size, here, &self.demand.borrow_and_update())
    }

    pub(super) fn transfer(&self, size: u64, here: u64) -> TransferGuard {
        let (folder, name) = self.place();
        self.shared.begin_transfer(Transfer { folder, name, done_bytes: here, size_bytes: size })
    }

    pub(super) fn place(&self) -> (FolderName, FileName) {
        (self.flight.folder.clone(), self.flight.name.clone())
    }

    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Repository) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, MissError> {
        Ok(self.shared.repository.apart("a file that was asked for", work).await?)
    }
}
