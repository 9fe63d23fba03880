//! The body of one answer, into a download: the network and the disk at the same time.
//!
//! What arrives while the disk is busy is gathered, up to a bound; beyond it the origin waits. What is there
//! is written at once when the disk is idle, so that nobody waits for a block to be full.

use super::{client::Upstream, error::Fault, limits::Limits, trickle::Trickle};
use crate::{
    base::{clock::SharedClock, tasks::blocking},
    store::download::Download,
};
use bytes::{Buf, Bytes};
use reqwest::Response;
use std::{io, time::Instant};
use tokio::{task::JoinHandle, time::timeout_at};

/// What may wait for the disk, in bytes: enough that hashing costs nothing beside system calls.
const GATHERED_BYTES: usize = 1 << 20;

/// One body on its way; after it, the download, unless the disk lost it.
pub(super) struct Transfer<'a> {
    body: Response,
    clock: &'a SharedClock,
    limits: &'a Limits,
    trickle: Trickle,
    /// Bytes at its beginning that are here already.
    skip: u64,
    /// Bytes of the file that are still to come.
    rest: u64,
    size: u64,
    gathered: Vec<u8>,
    /// Since when the origin is waited for.
    waiting: Option<Instant>,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(upstream: &'a Upstream, body: Response, skip: u64, download: &Download) -> Self {
        let (limits, size) = (&upstream.limits, download.origin().size);
        Self {
            body,
            clock: &upstream.clock,
            limits,
            trickle: Trickle::new(limits),
            skip,
            rest: size - download.arrived(),
            size,
            gathered: Vec::new(),
            waiting: None,
        }
    }

    /// Writes the body into `download`, telling `on_growth` after each write. The download comes back
    /// unless writing failed. `Ok` if the file is whole.
    pub(super) async fn run(
        mut self,
        download: Download,
        on_growth: &mut (dyn FnMut(&Download) + Send),
    ) -> (Option<Download>, Result<(), Fault>) {
        let (mut idle, mut writing) = (Some(download), None::<JoinHandle<(Download, io::Result<()>)>>);
        let mut ended = None;
        loop {
            if !self.gathered.is_empty()
                && let Some(mut download) = idle.take()
            {
                let bytes = std::mem::take(&mut self.gathered);
                writing = Some(blocking(move || {
                    let written = download.write(&bytes);
                    (download, written)
                }));
            }
            match (writing.as_mut(), ended.take()) {
                (None, Some(end)) => return (idle, end),
                (Some(busy), Some(end)) => {
                    let written = written(busy.await, on_growth);
                    writing = None;
                    match written {
                        Ok(download) => (idle, ended) = (Some(download), Some(end)),
                        Err(fault) => return (None, Err(fault)),
                    }
                }
                (Some(busy), None) => {
                    let may_read = self.gathered.len() < GATHERED_BYTES;
                    tokio::select! {
                        done = busy => {
                            writing = None;
                            match written(done, on_growth) {
                                Ok(download) => idle = Some(download),
                                Err(fault) => return (None, Err(fault)),
                            }
                        }
                        end = self.gather(), if may_read => ended = end,
                    }
                }
                (None, None) => ended = self.gather().await,
            }
        }
    }

    /// Waits for the next bytes; how it ended, if it did. May be dropped while it waits.
    async fn gather(&mut self) -> Option<Result<(), Fault>> {
        let since = *self.waiting.get_or_insert_with(|| self.clock.monotonic());
        let deadline = tokio::time::Instant::from_std(since + self.limits.stall);
        let Ok(read) = timeout_at(deadline, self.body.chunk()).await else {
            return Some(Err(Fault::Stalled(self.limits.stall)));
        };
        self.waiting = None;
        let waited = self.clock.monotonic().saturating_duration_since(since);
        match read {
            Ok(Some(bytes)) => {
                if !self.trickle.on_bytes(waited, bytes.len() as u64) {
                    let (least, within) = (self.limits.slow_bytes, self.limits.slow_after);
                    return Some(Err(Fault::Slow { least, within }));
                }
                self.take(bytes)
            }
            Ok(None) if self.rest == 0 => Some(Ok(())),
            Ok(None) => Some(Err(self.cut(None))),
            Err(error) => Some(Err(self.cut(Some(error.without_url())))),
        }
    }

    fn take(&mut self, mut bytes: Bytes) -> Option<Result<(), Fault>> {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        bytes.advance(skipped);
        self.skip -= skipped as u64;
        match self.rest.checked_sub(bytes.len() as u64) {
            Some(rest) => self.rest = rest,
            None => return Some(Err(Fault::WrongSize { promised: self.size, found: None })),
        }
        self.gathered.extend_from_slice(&bytes);
        None
    }

    fn cut(&self, error: Option<reqwest::Error>) -> Fault {
        let source = error.map(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>);
        Fault::Cut { arrived: self.size - self.rest, size: self.size, source }
    }
}

fn written(
    done: Result<(Download, io::Result<()>), tokio::task::JoinError>,
    on_growth: &mut (dyn FnMut(&Download) + Send),
) -> Result<Download, Fault> {
    let doing = "writing what arrives";
    let (download, written) = done.map_err(|error| Fault::Disk { doing, source: io::Error::other(error) })?;
    written.map_err(|source| Fault::Disk { doing, source })?;
    on_growth(&download);
    Ok(download)
}
