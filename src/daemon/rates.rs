//! Traffic over the last seconds, from counters that only grow.

use super::{api::RatesReport, node::Node};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// One sample a second, over this many seconds.
const WINDOW: usize = 5;

/// The last samples of what came and what went.
#[derive(Default)]
pub(super) struct Rates {
    samples: Mutex<VecDeque<(u64, u64)>>,
}

impl Rates {
    /// Samples once a second until the node stops.
    pub(super) async fn run(self: Arc<Self>, node: Arc<Node>) {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = node.stopping().cancelled() => return,
                _ = every.tick() => self.sample(&node.shared.received_bytes, &node.shared.sent_bytes),
            }
        }
    }

    fn sample(&self, received: &AtomicU64, sent: &AtomicU64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((received.load(Relaxed), sent.load(Relaxed)));
        while samples.len() > WINDOW + 1 {
            samples.pop_front();
        }
    }

    /// Bytes per second over the window.
    pub(super) fn report(&self) -> RatesReport {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return RatesReport::default() };
        let seconds = samples.len().saturating_sub(1).max(1) as u64;
        RatesReport {
            in_bytes_per_second: last.0.saturating_sub(first.0) / seconds,
            out_bytes_per_second: last.1.saturating_sub(first.1) / seconds,
            limit_bits_per_second: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let rates = Rates::default();
        assert_eq!(rates.report(), RatesReport::default());
        for second in 0..100u64 {
            rates.sample(&(second * 10).into(), &(second * second).into());
        }
        let report = rates.report();
        assert_eq!(report.in_bytes_per_second, 10);
        assert_eq!(report.out_bytes_per_second, (99 * 99 - 94 * 94) / 5);
    }
}
