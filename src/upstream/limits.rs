//! How long is waited, how often is tried, and how much is taken.

use crate::domain::file::MAX_FILE_BYTES;
use std::time::Duration;

/// The bounds of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Redirects that are followed for one answer.
    pub hops: u32,
    /// For a connection to be made.
    pub connect: Duration,
    /// From asking to the end of the answer's head, each hop by itself.
    pub head: Duration,
    /// For a whole `HEAD`, redirects included.
    pub describe: Duration,
    /// Longest silence in a body.
    pub stall: Duration,
    /// How long an origin may be slow.
    pub slow_after: Duration,
    /// What has to arrive within `slow_after` of waiting, in bytes.
    pub slow_bytes: u64,
    /// Attempts in a row that bring nothing new.
    pub tries: u32,
    /// Attempts for one file altogether.
    pub all_tries: u32,
    /// How often one file is begun again from its first byte.
    pub starts_over: u32,
    /// The wait after the first failure; it doubles from there.
    pub first_wait: Duration,
    /// The longest wait between two attempts; an origin that asks for more is left alone for this time.
    pub longest_wait: Duration,
    /// Longest file that is taken, in bytes.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hops: 10,
            connect: Duration::from_secs(10),
            head: Duration::from_secs(30),
            // What a stock agent waits for the answer to its own `HEAD`.
            describe: Duration::from_secs(5),
            stall: Duration::from_secs(30),
            slow_after: Duration::from_secs(60),
            // 4 KiB/s: a modem of 1998 is faster.
            slow_bytes: 240 << 10,
            tries: 6,
            all_tries: 1_000,
            starts_over: 3,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            max_bytes: MAX_FILE_BYTES,
        }
    }
}
