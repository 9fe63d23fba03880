//! A file whose content the signed state does not name yet: its bytes arrive and are hashed, and a head that the main
//! signed decides at the end.

use super::{
    MissError,
    pieces::{Stream, decode, read_piece, read_segment, seek},
    trip::Trip,
};
use crate::{
    base::ranges::Ranges,
    repository::RepositoryError,
    store::{
        download::{Digests, Download, DownloadKey, Origin, Shas},
        hash::sha_digests,
        segment::{GROUP_BYTES, GroupSink},
    },
    supply::Sight,
    sync::{
        frames::Coming,
        pull::parent::{PullError, patiently},
        shared::ParentConnection,
    },
};
use bytes::Bytes;
use std::{io, sync::Arc, time::Duration};

/// For the main's head once all bytes are here: the main has verified them before it let the last ones go.
const NAMED_WITHIN: Duration = Duration::from_secs(60);
/// After so long without it the bytes are compared with what the name promises, which costs another reading: nobody
/// waits on for a head that never comes.
const NAMED_SOON: Duration = Duration::from_secs(2);

impl Trip<'_> {
    /// The signed state does not name the file yet, or did not when it began to arrive.
    pub(super) async fn unnamed(&mut self, parent: &ParentConnection) -> Result<(), MissError> {
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
    pub(super) async fn take_plain(
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
                let begun = downloads.begin(DownloadKey::of(&name), origin, Shas::Neither);
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
                download.write(at, vec![bytes])?;
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
        let Some(Digests { root, size, .. }) = digests else { return Err(PullError::Ended.into()) };
        // What the name promises the main has verified before it signed the root.
        let named = match self.named_within(NAMED_SOON).await {
            Err(MissError::NotNow(_)) if !self.is_as_promised(&download).await? => None,
            Err(MissError::NotNow(_)) => Some(self.named_within(NAMED_WITHIN).await?),
            named => Some(named?),
        };
        let Some(named) = named.filter(|named| (named.root, named.size) == (root, size)) else {
            self.blocking(move |_| download.discard().map_err(RepositoryError::io("discarding", "wrong bytes")))
                .await?;
            return Err(MissError::Wrong);
        };
        self.flight.tell_verified(&self.plain_sight(&download));
        let staged = self
            .blocking(move |repository| {
                let finished = download.finish(named.modified, &repository.state().outboards);
                finished.map_err(RepositoryError::io("finishing", "a file that was asked for"))
            })
            .await?;
        self.receive(named, staged).await
    }

    /// Whether all bytes are what the name promises, if it promises anything.
    async fn is_as_promised(&self, download: &Download) -> Result<bool, MissError> {
        let name = self.flight.name.clone();
        let Some(promised) = name.promised_sha1() else { return Ok(true) };
        let (bytes, size) = (download.data(), download.origin().size);
        let found = self.blocking(move |_| {
            sha_digests(&*bytes, size, true, false).map_err(RepositoryError::io("reading what arrived of", &name))
        });
        Ok(found.await?.0 == Some(promised))
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
