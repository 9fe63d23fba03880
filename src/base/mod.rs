//! What everything else stands on: clock, back-off, units, positioned reads. Imports nothing of ours.

pub mod backoff;
pub mod chain;
pub mod clock;
pub mod future;
pub mod random_access;
pub mod read_at;
pub mod spacing;
pub mod units;
