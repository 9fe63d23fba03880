//! Work that blocks, away from the tasks that must not wait for it.
//!
//! A thread can be told to run such work at once, one piece at a time: then a simulation of many nodes
//! on that thread goes the same way every time, and no time passes on its clock meanwhile.

use std::{cell::Cell, panic::resume_unwind, thread};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::task::TaskTracker;

thread_local! {
    static AT_ONCE: Cell<bool> = const { Cell::new(false) };
}

/// From here on, runtimes that run on this thread alone wait for blocking work as it comes. For
/// simulations.
pub fn run_at_once_on_this_thread() {
    AT_ONCE.set(true);
}

/// Runs `work` on a thread that may block. Needs a tokio runtime.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match AT_ONCE.get() {
        true => tokio::spawn(async { run_apart(work) }),
        false => tokio::task::spawn_blocking(work),
    }
}

/// As [`blocking`]; `tracker` waits for the end of the work even if nobody takes its result.
pub fn blocking_in<T: Send + 'static>(
    tracker: &TaskTracker,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let token = tracker.token();
    blocking(move || {
        let done = work();
        drop(token);
        done
    })
}

/// Does both, the first on a thread of its own if they take `long`.
pub fn both<A: Send, B>(long: bool, first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    if !long {
        return (first(), second());
    }
    thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        (first.join().unwrap_or_else(|panic| resume_unwind(panic)), second)
    })
}

/// On a thread of its own all the same: there, as on any blocking thread, channels may be waited for.
fn run_apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let runtime = Handle::current();
    let done = thread::scope(|scope| {
        let apart = scope.spawn(|| {
            let _entered = runtime.enter();
            work()
        });
        apart.join()
    });
    done.unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn work_is_tracked_until_its_end_and_a_panic_reaches_who_waits() {
        let tracker = TaskTracker::new();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let work = blocking_in(&tracker, move || wait.recv().is_ok());
        tracker.close();
        assert!(tokio::time::timeout(Duration::from_millis(1), tracker.wait()).await.is_err());
        go.send(()).unwrap();
        tracker.wait().await;
        assert!(work.await.unwrap());
        assert!(blocking(|| panic!("on purpose")).await.unwrap_err().is_panic());
    }

    #[test]
    fn on_a_thread_that_is_told_so_work_runs_in_order_and_may_wait_for_channels() {
        run_at_once_on_this_thread();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let order = runtime.block_on(async {
            let (sender, mut receiver) = mpsc::channel(8);
            let all: Vec<_> = (0..8)
                .map(|n| {
                    let sender = sender.clone();
                    blocking(move || sender.blocking_send(n).unwrap())
                })
                .collect();
            for one in all {
                one.await.unwrap();
            }
            let mut order = Vec::new();
            receiver.recv_many(&mut order, 8).await;
            assert!(blocking(|| panic!("on purpose")).await.unwrap_err().is_panic());
            order
        });
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
