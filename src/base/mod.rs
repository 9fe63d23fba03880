//! What everything else stands on: clock, back-off, a ceiling for the line, units, positioned reads, blocking work. Imports nothing of ours.

pub mod backoff;
pub mod bucket;
pub mod chain;
pub mod clock;
pub mod future;
pub mod random_access;
pub mod ranges;
pub mod read_at;
pub mod spacing;
pub mod tasks;
pub mod throttle;
pub mod units;
