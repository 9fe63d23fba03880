//! Single-threaded runtimes for connections.
//!
//! A connection lives on one lane, with its driver and everything that works on its streams: what
//! arrives is decrypted, ordered and read on one core, without waking another thread for each batch of
//! packets. The socket's own driver is on the first lane, and so is the connection to the parent: a
//! node with one busy peer uses one thread for it. Work that blocks still goes to blocking threads.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Blocking work of one lane's connections at once: eight streams each way, and what members ask for.
const BLOCKING_THREADS: usize = 64;

/// Where connections may live.
#[derive(Debug, Clone)]
pub struct Lanes {
    lanes: Arc<[Handle]>,
    next: Arc<AtomicUsize>,
}

impl Lanes {
    /// The runtime of the caller as the only lane. Needs a tokio runtime.
    pub fn here() -> Self {
        Self::of([Handle::current()].into())
    }

    /// `count` threads, at least one; they end when the guard is dropped.
    pub fn start(count: usize) -> io::Result<(Self, DropGuard)> {
        let stop = CancellationToken::new();
        let lanes: io::Result<Arc<[Handle]>> = (0..count.max(1)).map(|number| start_lane(number, &stop)).collect();
        Ok((Self::of(lanes?), stop.drop_guard()))
    }

    fn of(lanes: Arc<[Handle]>) -> Self {
        Self { lanes, next: Arc::default() }
    }

    /// The lane of the socket and of the parent.
    pub fn first(&self) -> &Handle {
        &self.lanes[0]
    }

    /// Over when every lane has had a turn; never, where one stands still.
    pub async fn turn(&self) {
        for lane in self.lanes.iter() {
            // An error is the end of the lanes, which is no standstill.
            lane.spawn(async {}).await.ok();
        }
    }

    /// The lane of the next member: each in turn.
    pub(super) fn next(&self) -> &Handle {
        &self.lanes[self.next.fetch_add(1, Relaxed) % self.lanes.len()]
    }
}

fn start_lane(number: usize, stop: &CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let (handle, stop) = (runtime.handle().clone(), stop.clone());
    let name = format!("sync-{number}");
    std::thread::Builder::new().name(name).spawn(move || runtime.block_on(stop.cancelled()))?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn thread_of(lane: &Handle) -> Option<String> {
        lane.spawn(async { std::thread::current().name().map(str::to_owned) }).await.unwrap()
    }

    #[tokio::test]
    async fn members_take_the_lanes_in_turn_and_each_lane_is_one_thread() {
        let (lanes, _running) = Lanes::start(2).unwrap();
        let mut threads = Vec::new();
        for _ in 0..4 {
            threads.push(thread_of(lanes.next()).await.unwrap());
        }
        assert_eq!(threads, ["sync-0", "sync-1", "sync-0", "sync-1"]);
        assert_eq!(thread_of(lanes.first()).await.unwrap(), "sync-0");
    }

    #[tokio::test]
    async fn lanes_end_with_their_guard() {
        let (lanes, running) = Lanes::start(1).unwrap();
        let never = lanes.first().spawn(std::future::pending::<()>());
        drop(running);
        assert!(never.await.unwrap_err().is_cancelled());
    }
}
