//! A file whose content the signed state names: every group is proven before anybody sees it.

use super::{
    MissError, is_full,
    pieces::{decode, read_segment, seek},
    trip::Trip,
};
use crate::{
    base::ranges::Ranges,
    domain::file::FileRecord,
    repository::{LocalSource, Repository, RepositoryError},
    store::partial::Partial,
    supply::Sight,
    sync::{
        pull::parent::{PullError, patiently},
        shared::{ParentConnection, TransferGuard},
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::{RecvStream, SendStream};
use std::{io, ops::Range, sync::Arc};

impl Trip<'_> {
    /// The signed state names the content.
    pub(super) async fn named(&mut self, parent: &ParentConnection, file: FileRecord) -> Result<(), MissError> {
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
}
