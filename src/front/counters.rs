//! What the hosts' listeners have done since the start, for status and metrics.

use http::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters that everybody may read while they are counted up.
#[derive(Debug, Default)]
pub struct FrontCounters {
    connections: AtomicU64,
    refused: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
    by_class: [AtomicU64; 5],
}

/// The counters at one moment; sums may be ahead of each other by requests that end just then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrontCounts {
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that ended in a failed TLS handshake or a head that is no HTTP.
    pub refused: u64,
    /// Requests that have ended: answered, cut, or left by their client.
    pub requests: u64,
    /// Bytes of bodies handed to connections.
    pub bytes: u64,
    /// Answers by the first digit of their status: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub by_class: [u64; 5],
}

impl FrontCounters {
    /// Reads all counters.
    pub fn read(&self) -> FrontCounts {
        FrontCounts {
            connections: self.connections.load(Relaxed),
            refused: self.refused.load(Relaxed),
            requests: self.requests.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            by_class: std::array::from_fn(|class| self.by_class[class].load(Relaxed)),
        }
    }

    pub(super) fn on_connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(super) fn on_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// A request ended; without `status`, before there was an answer.
    pub(super) fn on_ended(&self, status: Option<StatusCode>, bytes: u64) {
        self.requests.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        let class = status.and_then(|status| usize::from(status.as_u16() / 100).checked_sub(1));
        if let Some(class) = class.and_then(|class| self.by_class.get(class)) {
            class.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_the_class_of_their_status() {
        let counters = FrontCounters::default();
        for (status, bytes) in [(200, 10), (206, 5), (304, 0), (404, 1), (503, 2), (599, 0), (999, 0)] {
            counters.on_ended(StatusCode::from_u16(status).ok(), bytes);
        }
        counters.on_ended(None, 0);
        let read = counters.read();
        assert_eq!((read.requests, read.bytes, read.by_class), (8, 18, [0, 2, 1, 1, 2]));
    }
}
