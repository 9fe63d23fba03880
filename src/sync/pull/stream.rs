//! One stream of content: asks for a batch, verifies what comes, stages it.
//!
//! Every item ends at the desk, whatever happens. Only an error that concerns the whole connection is
//! returned: a lie about one file, or a stream that breaks off, costs that file a wait.

use super::{
    desk::{Desk, failure_of},
    large::{self, Fetched},
    parent::{PullError, patiently},
    plan::{Failure, Item},
};
use crate::{
    base::{tasks, throttle::Urgency},
    domain::digest::Root,
    repository::{LocalSource, Repository, RepositoryError, Turn},
    store::staging::Staged,
    sync::{
        frames::{BadGroup, Frame, Get, GetItem, RefusedReason},
        serve::SMALL_BYTES,
        shared::Shared,
        wire::{FrameReader, FrameWriter, ReadFrameError, WriteFrameError},
    },
};
use bytes::Bytes;
use quinn::{Connection, RecvStream};
use std::{
    io,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
};
use tokio_util::task::TaskTracker;

/// What a stream works with.
pub(super) struct Stream {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Connection,
    pub(super) desk: Desk,
    pub(super) tasks: TaskTracker,
}

impl Stream {
    /// Fetches a job: one large file, or small ones.
    pub(super) async fn fetch(self, job: Vec<Item>) -> Result<(), PullError> {
        let mut to_fetch = self.look_here(job).await?;
        match to_fetch.as_slice() {
            [] => Ok(()),
            [item] if item.wanted.size > SMALL_BYTES => {
                let item = item.clone();
                match large::fetch(&self, &item).await {
                    Ok(Fetched::Whole(staged, claim)) => self.desk.on_partial(item, staged, claim).await,
                    Ok(Fetched::Absent | Fetched::TakenOver) => self.desk.on_failed(vec![item], Failure::Absent).await,
                    Ok(Fetched::Unwanted) => self.desk.on_settled(item).await,
                    Ok(Fetched::PutOff) => self.desk.on_failed(vec![item], Failure::PutOff).await,
                    Err(error) => {
                        let why = self.judge(&item, error)?;
                        self.desk.on_failed(vec![item], why).await;
                    }
                }
                Ok(())
            }
            _ => {
                // What one answer can't carry goes with the next pass.
                let rest = to_fetch.split_off(to_fetch.len().min(crate::sync::frames::MAX_GET_ITEMS));
                self.desk.on_failed(rest, Failure::Absent).await;
                self.fetch_small(to_fetch).await
            }
        }
    }

    /// What this disk has already needs no network; answers with what of the rest may travel.
    async fn look_here(&self, job: Vec<Item>) -> Result<Vec<Item>, PullError> {
        let (repository, mirroring) = (self.shared.repository.clone(), *self.shared.mirroring().borrow());
        let looked = tasks::blocking_in(&self.tasks, move || {
            let look = |item: &Item| {
                let (folder, name, wanted) = (&item.folder, &item.name, &item.wanted);
                let source = match repository.turn(folder, name, wanted)? {
                    Turn::Any => Some(repository.obtain_locally(folder, name, wanted)?),
                    Turn::Fetched => Some(LocalSource::Nothing),
                    Turn::Waits => None,
                };
                let fetches = mirroring.fetches(name, false)
                    || mirroring.fetches(name, true) && repository.holds_any(folder, name)?;
                Ok::<_, RepositoryError>((source, fetches))
            };
            job.into_iter().map(|item| (look(&item), item)).collect::<Vec<_>>()
        });
        let (mut to_fetch, mut put_off) = (Vec::new(), Vec::new());
        for (looked, item) in looked.await? {
            match looked {
                Ok((None, _)) => self.desk.on_failed(vec![item], Failure::Waits).await,
                Ok((Some(LocalSource::Nothing), true)) => to_fetch.push(item),
                Ok((Some(LocalSource::Nothing), false)) => put_off.push(item),
                Ok((Some(LocalSource::Settled), _)) => self.desk.on_settled(item).await,
                Ok((Some(LocalSource::Staged(staged)), _)) => self.desk.on_staged(item, staged).await,
                Err(error) => {
                    let why = self.judge(&item, error.into())?;
                    self.desk.on_failed(vec![item], why).await;
                }
            }
        }
        self.desk.on_failed(put_off, Failure::PutOff).await;
        Ok(to_fetch)
    }

    /// Waits until a file that is under way may go on no longer.
    pub(super) async fn stopped(&self, item: &Item) {
        let mut mirroring = self.shared.mirroring();
        if mirroring.wait_for(|mirroring| !mirroring.goes_on(&item.name)).await.is_err() {
            std::future::pending().await
        }
    }

    async fn fetch_small(&self, job: Vec<Item>) -> Result<(), PullError> {
        let mut whole = Vec::new();
        let mut absent = Vec::new();
        let mut left = job.into_iter();
        let (mut broken, mut rest) = (None, Failure::Absent);
        match self.ask(left.as_slice().iter().map(whole_of).collect()).await {
            Ok(mut reader) => {
                for item in left.by_ref() {
                    let read = tokio::select! {
                        biased;
                        () = self.stopped(&item) => {
                            rest = Failure::PutOff;
                            self.desk.on_failed(vec![item], rest).await;
                            break;
                        }
                        read = read_small(&mut reader, &item) => read,
                    };
                    match read {
                        Ok(Some(bytes)) => whole.push((item, bytes)),
                        Ok(None) => absent.push(item),
                        Err(error) => {
                            broken = Some((item, error));
                            break;
                        }
                    }
                }
            }
            Err(error) => broken = left.next().map(|item| (item, error)),
        }
        self.stage_small(whole).await?;
        self.desk.on_failed(absent, Failure::Absent).await;
        self.desk.on_failed(left.collect(), rest).await;
        let Some((item, error)) = broken else { return Ok(()) };
        let why = self.judge(&item, error)?;
        self.desk.on_failed(vec![item], why).await;
        Ok(())
    }

    async fn stage_small(&self, whole: Vec<(Item, Bytes)>) -> Result<(), PullError> {
        let repository = self.shared.repository.clone();
        let staged = tasks::blocking_in(&self.tasks, move || {
            let stage = |(item, bytes): (Item, Bytes)| (stage_one(&repository, &item, &bytes), item);
            whole.into_iter().map(stage).collect::<Vec<_>>()
        });
        for (staged, item) in staged.await? {
            match staged {
                Ok(staged) => {
                    self.shared.received_bytes.fetch_add(item.wanted.size, Relaxed);
                    self.desk.on_staged(item, staged).await;
                }
                Err(error) => {
                    if matches!(error, PullError::Lie(_)) {
                        self.report_bad(item.wanted.root, 0).await;
                    }
                    let why = self.judge(&item, error)?;
                    self.desk.on_failed(vec![item], why).await;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn ask(&self, items: Vec<GetItem>) -> Result<FrameReader<RecvStream>, PullError> {
        let (send, receive) = self.connection.open_bi().await?;
        let mut writer = FrameWriter::new(send);
        patiently(writer.write_frame(Get { items })).await?;
        writer.get_mut().finish().ok();
        Ok(FrameReader::new(receive).below(&self.shared.throttle, Urgency::Whenever))
    }

    /// Tells the parent that its copy does not verify.
    pub(super) async fn report_bad(&self, root: Root, offset: u64) {
        report_bad(&self.connection, root, offset).await;
    }

    /// What an error means: for one file, or, returned, for the connection.
    fn judge(&self, item: &Item, error: PullError) -> Result<Failure, PullError> {
        let alive = self.connection.close_reason().is_none();
        let why = match &error {
            PullError::Lie(_) => Failure::Lied,
            PullError::Repository(error) => failure_of(error),
            PullError::Ended | PullError::Late => Failure::Broken,
            PullError::Read(ReadFrameError::Io(_) | ReadFrameError::Cut) if alive => Failure::Broken,
            PullError::Write(WriteFrameError::Io(_)) if alive => Failure::Broken,
            _ => return Err(error),
        };
        let error = &error as &dyn std::error::Error;
        if why == Failure::Full {
            // One alarm tells of it, where every missing file would.
            tracing::debug!(folder = %item.folder, name = %item.name, error, "a file finds no room");
        } else {
            tracing::warn!(folder = %item.folder, name = %item.name, error, "a file did not arrive; it is tried again");
        }
        Ok(why)
    }
}

/// Tells a parent that its copy does not verify, as far as it still listens.
pub(super) async fn report_bad(connection: &Connection, root: Root, offset: u64) {
    let told = async {
        let (send, _) = connection.open_bi().await?;
        let mut writer = FrameWriter::new(send);
        patiently(writer.write_frame(BadGroup { root, offset })).await?;
        writer.get_mut().finish().ok();
        Ok::<_, PullError>(())
    };
    if let Err(error) = told.await {
        tracing::debug!(%root, error = &error as &dyn std::error::Error, "damage can't be reported");
    }
}

fn whole_of(item: &Item) -> GetItem {
    GetItem { root: item.wanted.root, ranges: Vec::new() }
}

/// The bytes of a file that one group holds; `None` if the parent lacks it.
async fn read_small(reader: &mut FrameReader<RecvStream>, item: &Item) -> Result<Option<Bytes>, PullError> {
    let size = item.wanted.size;
    let Some(granted) = read_grant(reader, item, std::slice::from_ref(&(0..size))).await? else { return Ok(None) };
    if granted.iter().map(|range| range.end - range.start).sum::<u64>() != size {
        return Err(PullError::Lie("grant"));
    }
    patiently(reader.read_raw(size as usize)).await.map(Some)
}

/// The ranges that the parent grants of an item; `None` if it has nothing of it.
pub(super) async fn read_grant(
    reader: &mut FrameReader<RecvStream>,
    item: &Item,
    asked: &[Range<u64>],
) -> Result<Option<Vec<Range<u64>>>, PullError> {
    match patiently(reader.read_frame()).await? {
        Some(Frame::Granted(granted)) => {
            let ranges: Vec<_> = granted.ranges.iter().map(|(start, end)| *start..*end).collect();
            let asked_for =
                |range: &Range<u64>| asked.iter().any(|asked| asked.start <= range.start && range.end <= asked.end);
            if granted.size != item.wanted.size || !ranges.iter().all(asked_for) {
                return Err(PullError::Lie("grant"));
            }
            Ok(Some(ranges))
        }
        Some(Frame::Refused(refused)) => {
            if refused.reason != RefusedReason::Unknown {
                tracing::debug!(name = %item.name, reason = %refused.reason, "the parent refused a file");
            }
            Ok(None)
        }
        Some(other) => Err(PullError::OutOfPlace(other.name())),
        None => Err(PullError::Ended),
    }
}

/// A file of one group is its own proof: it hashes to its root or it is not staged.
fn stage_one(repository: &Repository, item: &Item, bytes: &[u8]) -> Result<Staged, PullError> {
    if Root::from(blake3::hash(bytes)) != item.wanted.root {
        return Err(PullError::Lie("content"));
    }
    let stage = repository.staging(&item.folder)?.stage_bytes(bytes, item.wanted.modified);
    stage.map_err(|source| io_error("staging", item.name.to_string(), source))
}

pub(super) fn io_error(doing: &'static str, what: String, source: io::Error) -> PullError {
    RepositoryError::io(doing, what)(source).into()
}
