//! The body of one answer, into a download: the network and the disk at the same time.
//!
//! What arrives while the disk is busy is gathered, up to a bound; beyond it the origin waits. What is there
//! is written at once when the disk is idle, so that nobody waits for a block to be full. The body is left
//! as soon as the course says so.

use super::{client::Upstream, demand::Demand, error::Fault, growth::Teller, trickle::Trickle};
use crate::{
    base::{ranges::Ranges, tasks::blocking},
    store::download::Download,
    supply::course::Course,
};
use bytes::Bytes;
use reqwest::Response;
use std::{io, ops::Range, time::Instant};
use tokio::{
    task::{JoinError, JoinHandle},
    time::{sleep_until, timeout_at},
};

/// What may wait for the disk, in bytes: enough that hashing costs nothing beside system calls.
const GATHERED_BYTES: usize = 1 << 20;
/// And in how many parts: an origin may send one byte at a time.
const GATHERED_PARTS: usize = 1_024;
/// Parts that are smaller than this on an average are joined: to copy them takes less than a system call for each.
const SMALL_PART_BYTES: usize = 16 << 10;

/// A download at the disk, and how writing went.
type Writing = JoinHandle<(Download, io::Result<()>)>;

/// What is asked at intervals whether the body is still the right one, and who is told what it brings.
pub(super) struct Around<'a> {
    pub(super) course: &'a mut Course,
    pub(super) demand: &'a mut Demand,
    pub(super) teller: Teller<'a>,
}

/// One body on its way; after it, the download, unless the disk lost it.
pub(super) struct Transfer<'a> {
    body: Response,
    upstream: &'a Upstream,
    trickle: Trickle,
    /// Where in the file the next byte of the body belongs.
    at: u64,
    /// Behind the last byte that is of use.
    until: u64,
    /// Behind the body's last byte.
    end: u64,
    size: u64,
    /// What is here, and what is gathered.
    here: Ranges,
    /// What belongs before `at` and is not written yet.
    gathered: Vec<Bytes>,
    /// Since when the origin is waited for.
    waiting: Option<Instant>,
    /// Before then nothing is read: this node's ceiling.
    turn: Option<Instant>,
}

impl<'a> Transfer<'a> {
    /// `body` brings the bytes of `asked`, or, where it has an earlier `end`, only some of them. What of them
    /// is here is passed over.
    pub(super) fn new(
        upstream: &'a Upstream,
        body: Response,
        asked: Range<u64>,
        end: u64,
        download: &Download,
    ) -> Self {
        let here = download.here().clone();
        Self {
            body,
            upstream,
            trickle: Trickle::new(&upstream.limits),
            at: asked.start,
            until: end_of_last_gap(&here, &asked),
            end,
            size: download.origin().size,
            here,
            gathered: Vec::new(),
            waiting: None,
            turn: None,
        }
    }

    /// Writes the body into `download`, and tells of it. The download comes back unless writing failed. `Ok`
    /// if the body has brought everything that it can, or was left.
    pub(super) async fn run(
        mut self,
        download: Download,
        mut around: Around<'_>,
    ) -> (Option<Download>, Result<(), Fault>) {
        let (mut idle, mut writing) = (Some(download), None::<Writing>);
        let mut ended = self.is_left(&mut around).then_some(Ok(()));
        loop {
            writing = writing.or_else(|| self.work(&mut idle, ended.is_some()));
            if writing.is_none()
                && let Some(end) = ended.take()
            {
                around.teller.tell();
                return (idle, end);
            }
            let (may_read, due) = (self.has_room(), around.teller.due());
            tokio::select! {
                done = done(&mut writing) => {
                    writing = None;
                    match done {
                        Ok(download) => {
                            around.teller.on_growth(&download, self.now());
                            idle = Some(download);
                        }
                        Err(fault) => return (None, Err(fault)),
                    }
                }
                end = self.gather(), if ended.is_none() && may_read => ended = end,
                () = around.demand.changed(), if ended.is_none() => ended = self.is_left(&mut around).then_some(Ok(())),
                () = moment(due) => around.teller.tell(),
            }
        }
    }

    /// Whether a reader far ahead is served first.
    fn is_left(&self, around: &mut Around<'_>) -> bool {
        let Around { course, demand, .. } = around;
        demand.look(|waiting| course.leaves(self.at, self.size, &self.here, waiting))
    }

    /// Something for the disk to do, if it is idle and there is anything: what is gathered, or, unless the
    /// body has `ended`, what is here and not hashed.
    fn work(&mut self, idle: &mut Option<Download>, ended: bool) -> Option<Writing> {
        let has_bytes = !self.gathered.is_empty();
        let mut download = idle.take_if(|download| has_bytes || (!ended && download.is_behind()))?;
        let at = self.at - self.gathered_bytes() as u64;
        let parts = joined(std::mem::take(&mut self.gathered));
        Some(blocking(move || {
            let written = download.write(at, parts).and_then(|()| download.catch_up());
            (download, written)
        }))
    }

    fn gathered_bytes(&self) -> usize {
        self.gathered.iter().map(Bytes::len).sum()
    }

    fn has_room(&self) -> bool {
        self.gathered.len() < GATHERED_PARTS && self.gathered_bytes() < GATHERED_BYTES
    }

    /// Waits for the next bytes; how it ended, if it did. May be dropped while it waits.
    async fn gather(&mut self) -> Option<Result<(), Fault>> {
        if let Some(turn) = self.turn {
            sleep_until(turn.into()).await;
            self.turn = None;
        }
        let limits = &self.upstream.limits;
        let since = *self.waiting.get_or_insert_with(|| self.upstream.clock.monotonic());
        let deadline = tokio::time::Instant::from_std(since + limits.stall);
        let Ok(read) = timeout_at(deadline, self.body.chunk()).await else {
            return Some(Err(Fault::Stalled(limits.stall)));
        };
        self.waiting = None;
        let waited = self.now().saturating_duration_since(since);
        match read {
            Ok(Some(bytes)) => {
                self.turn = self.upstream.throttle.came(on_wire(bytes.len() as u64));
                if !self.trickle.on_bytes(waited, bytes.len() as u64) {
                    let (least, within) = (limits.slow_bytes, limits.slow_after);
                    return Some(Err(Fault::Slow { least, within }));
                }
                self.take(bytes)
            }
            Ok(None) if self.at >= self.until => Some(Ok(())),
            Ok(None) => Some(Err(self.cut(None))),
            Err(error) => Some(Err(self.cut(Some(error.without_url())))),
        }
    }

    fn take(&mut self, bytes: Bytes) -> Option<Result<(), Fault>> {
        let end = self.at + bytes.len() as u64;
        if end > self.size {
            return Some(Err(Fault::WrongSize { promised: self.size, found: None }));
        }
        if end > self.end {
            return Some(Err(Fault::Malformed("more bytes than its range has")));
        }
        let range = std::mem::replace(&mut self.at, end)..end;
        // What is here is passed over before it costs anything, unless that would leave a gap in what is gathered.
        if !self.gathered.is_empty() || !self.here.contains(&range) {
            self.gathered.push(bytes);
        }
        self.here.insert(range);
        // A body that goes on over what is here brings nothing more.
        (self.at >= self.until && self.until < self.end).then_some(Ok(()))
    }

    fn cut(&self, error: Option<reqwest::Error>) -> Fault {
        let source = error.map(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>);
        Fault::Cut { arrived: self.here.len(), size: self.size, source }
    }

    fn now(&self) -> Instant {
        self.upstream.clock.monotonic()
    }
}

/// The same bytes, in one part if there are many small ones.
fn joined(parts: Vec<Bytes>) -> Vec<Bytes> {
    let are_small = parts.iter().map(Bytes::len).sum::<usize>() < parts.len() * SMALL_PART_BYTES;
    if parts.len() > 1 && are_small { vec![parts.concat().into()] } else { parts }
}

/// What bytes of a body are on the wire: the heads of TCP and IP are 52 bytes in each 1,448 (RFC 7323).
fn on_wire(bytes: u64) -> u64 {
    bytes + bytes * 52 / 1_448
}

fn end_of_last_gap(here: &Ranges, range: &Range<u64>) -> u64 {
    let mut end = range.start;
    while let Some(gap) = here.first_gap(&(end..range.end)) {
        end = gap.end;
    }
    end
}

async fn done(writing: &mut Option<Writing>) -> Result<Download, Fault> {
    let Some(writing) = writing else { return std::future::pending().await };
    written(writing.await)
}

fn written(done: Result<(Download, io::Result<()>), JoinError>) -> Result<Download, Fault> {
    let doing = "writing what arrives";
    let (download, written) = done.map_err(|error| Fault::Disk { doing, source: io::Error::other(error) })?;
    written.map_err(|source| Fault::Disk { doing, source })?;
    Ok(download)
}

async fn moment(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(tokio::time::Instant::from_std(due)).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_parts_are_written_as_one_and_large_ones_as_they_came() {
        let part = |byte: u8, len: usize| Bytes::from(vec![byte; len]);
        let small = [part(1, 3), part(2, 0), part(3, SMALL_PART_BYTES)];
        assert_eq!(joined(small.to_vec()), [Bytes::from(small.concat())]);
        let large = [part(1, SMALL_PART_BYTES), part(2, SMALL_PART_BYTES)];
        assert_eq!(joined(large.to_vec()), large);
        assert_eq!((joined(vec![part(1, 5)]), joined(vec![])), (vec![part(1, 5)], vec![]));
    }
}
