//! Worker threads that read shards while the caller's thread goes on through the outer cabinet. Owns the
//! threads. A shard waits until a worker is free, so that there is one shard's bytes for each worker and one
//! more; after the first error nothing further is begun.

use super::{
    error::{EditionError, Fault},
    options::Options,
    shard::{Budget, Shard},
};
use std::{
    io::Read,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
};

/// More would hold more bytes than anything here is planned for.
const MAX_WORKERS: usize = 16;

/// A shard that waits for a worker.
struct Packed {
    /// Counted in the order of the outer cabinet.
    number: usize,
    name: String,
    bytes: Vec<u8>,
}

/// Where shards are handed in.
pub(super) struct Pool<'a> {
    options: &'a Options,
    budget: &'a Budget,
    /// `None`: the caller's thread reads them itself.
    queue: Option<SyncSender<Packed>>,
    has_failed: &'a AtomicBool,
    /// How many were handed in.
    count: usize,
    /// What the caller's thread read.
    own: Vec<Shard>,
}

type Outcome = (usize, Result<Shard, EditionError>);

/// Runs `feed` with a pool, then waits for the workers. The shards stand in the order in which they were handed
/// in; of several errors it is the first one's, in that order.
pub(super) fn with_pool<T>(
    options: &Options,
    feed: impl FnOnce(&mut Pool<'_>) -> Result<T, EditionError>,
) -> Result<(T, Vec<Shard>), EditionError> {
    let (budget, has_failed) = (Budget::new(&options.limits), AtomicBool::new(false));
    thread::scope(|scope| {
        let (results, outcomes) = channel::<Outcome>();
        let queue = (options.workers > 0).then(|| {
            let (queue, jobs) = sync_channel(0);
            let jobs = Arc::new(Mutex::new(jobs));
            for _ in 0..options.workers.min(MAX_WORKERS) {
                let (jobs, results) = (Arc::clone(&jobs), results.clone());
                let (budget, has_failed) = (&budget, &has_failed);
                scope.spawn(move || work(&jobs, &results, options, budget, has_failed));
            }
            queue
        });
        drop(results);
        let mut pool = Pool { options, budget: &budget, queue, has_failed: &has_failed, count: 0, own: Vec::new() };
        let fed = feed(&mut pool);
        let mut shards = pool.own;
        // Workers end when nobody can hand in any more.
        drop(pool.queue);
        let mut outcomes: Vec<Outcome> = outcomes.iter().collect();
        outcomes.sort_by_key(|(number, _)| *number);
        for (_, outcome) in outcomes {
            shards.push(outcome?);
        }
        Ok((fed?, shards))
    })
}

fn work(
    jobs: &Mutex<Receiver<Packed>>,
    results: &Sender<Outcome>,
    options: &Options,
    budget: &Budget,
    has_failed: &AtomicBool,
) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Packed { number, name, bytes }) = job else { return };
        let outcome = Shard::read(&name, &mut &bytes[..], options, budget);
        has_failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
        if results.send((number, outcome)).is_err() {
            return;
        }
    }
}

impl Pool<'_> {
    /// Whether there is any sense in going on.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Takes a shard of `size` bytes, which was not handed in before.
    pub(super) fn hand_in(&mut self, name: String, size: u64, from: &mut dyn Read) -> Result<(), EditionError> {
        let limits = &self.options.limits;
        for (what, count, limit) in [
            ("shards", self.count as u64 + 1, u64::from(limits.max_shards)),
            ("bytes of a shard", size, limits.max_shard_bytes),
        ] {
            if count > limit {
                return Err(Fault::Limit { what, limit }.of(&[&name]));
            }
        }
        self.count += 1;
        let Some(queue) = &self.queue else {
            self.own.push(Shard::read(&name, from, self.options, self.budget)?);
            return Ok(());
        };
        // The size is believed as far as bytes come.
        let mut bytes = Vec::new();
        let read = bytes.try_reserve_exact(size as usize).map_err(|_| std::io::ErrorKind::OutOfMemory.into());
        let read = read.and_then(|()| from.read_to_end(&mut bytes));
        read.map_err(|error| Fault::Read(error).of(&[&name]))?;
        // A worker that panicked is the only reason for this to fail, and the scope's end tells of it.
        let _ = queue.send(Packed { number: self.count, name, bytes });
        Ok(())
    }
}
