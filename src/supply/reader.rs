//! One reader of a flight: takes what is here, waits for what is not, ends short where the rest never comes.

use super::{
    flight::Flight,
    sight::{Progress, Sight, Step, next_step},
};
use crate::base::read_at::ReadAt;
use bytes::Bytes;
use std::{io, ops::Range, sync::Arc};
use tokio::sync::watch;

/// Most bytes of a part that is not read.
const PART_BYTES: u64 = 256 * 1024;

/// What comes next of a file.
pub enum Part {
    /// Its bytes.
    Read(Bytes),
    /// Where they lie: they can be sent without being read.
    Lies(Arc<dyn ReadAt>, Range<u64>),
}

/// Reads a range of a file while it arrives.
pub struct Reader {
    flight: Arc<Flight>,
    progress: watch::Receiver<Progress>,
    number: u64,
    start: u32,
    size: u64,
    left: Range<u64>,
    is_waiting: bool,
}

impl Reader {
    /// A reader of `range` of what `sight` shows.
    pub fn new(flight: Arc<Flight>, sight: &Sight, range: Range<u64>) -> Self {
        let left = range.start..range.end.min(sight.size);
        let (progress, number) = (flight.watch(), flight.on_reader());
        Self { flight, progress, number, start: sight.start, size: sight.size, left, is_waiting: false }
    }

    /// How many bytes are still to come.
    pub fn left(&self) -> u64 {
        self.left.end.saturating_sub(self.left.start)
    }

    /// The next bytes; none after the last one. An error ends the response short: nothing is ever made up.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.left.is_empty() {
            return None;
        }
        let read = self.read().await;
        self.on_taken(read.as_ref().map(|bytes| bytes.len() as u64).ok());
        Some(read)
    }

    /// As [`Reader::next`], and what can be sent without being read is not read; at most 256 KiB of it.
    pub async fn next_part(&mut self) -> Option<io::Result<Part>> {
        if self.left.is_empty() {
            return None;
        }
        let part = self.part().await;
        self.on_taken(part.as_ref().ok().map(|part| match part {
            Part::Read(bytes) => bytes.len() as u64,
            Part::Lies(_, range) => range.end - range.start,
        }));
        Some(part)
    }

    async fn read(&mut self) -> io::Result<Bytes> {
        let (sight, until) = self.readable().await?;
        self.flight.blocks.read(&sight, self.left.start..until).await
    }

    async fn part(&mut self) -> io::Result<Part> {
        let (sight, until) = self.readable().await?;
        let range = self.left.start..until.min(self.left.start.saturating_add(PART_BYTES));
        if sight.bytes.is_sendable(&range) {
            return Ok(Part::Lies(sight.bytes, range));
        }
        self.flight.blocks.read(&sight, self.left.start..until).await.map(Part::Read)
    }

    /// Goes on behind what was taken; after an error there is nothing left.
    fn on_taken(&mut self, taken: Option<u64>) {
        match taken {
            Some(taken) => self.left.start += taken,
            None => self.left.end = self.left.start,
        }
    }

    /// Reads `range` from here on.
    pub fn seek(&mut self, range: Range<u64>) {
        self.left = range.start..range.end.min(self.size);
    }

    /// Waits until something can be read where this reader is, and up to where; whoever reads it goes on with
    /// [`Reader::seek`]. Nothing is lost when the future is dropped. There must be something left.
    pub async fn readable(&mut self) -> io::Result<(Sight, u64)> {
        loop {
            let step = {
                let progress = self.progress.borrow_and_update();
                let step = next_step(&progress, self.start, &self.left);
                match (step, &progress.sight) {
                    (Step::Read(until), Some(sight)) => Ok((sight.clone(), until)),
                    (Step::Wait, Some(sight)) => Err(sight.here.run_end(0)),
                    _ => return Err(cut()),
                }
            };
            match step {
                Ok(readable) => {
                    self.wait_at(None);
                    return Ok(readable);
                }
                // The first gap is filled anyway.
                Err(prefix) => self.wait_at(Some(self.left.start).filter(|at| *at != prefix)),
            }
            self.progress.changed().await.map_err(|_| cut())?;
        }
    }

    fn wait_at(&mut self, position: Option<u64>) {
        if self.is_waiting || position.is_some() {
            self.flight.on_waiting(self.number, position);
        }
        self.is_waiting = position.is_some();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.flight.on_reader_left(self.number);
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the file will not arrive whole")
}

#[cfg(test)]
mod tests;
