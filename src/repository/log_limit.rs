//! How far back the log of changes reaches: so many rows, and so many days.
//!
//! Rows carry no time. Once a day of writing a mark is kept beside them: what was written before it is
//! at least as old as the mark.

use crate::{
    catalog::{Batch, CatalogError},
    domain::versioned,
};
use serde::{Deserialize, Serialize};

/// Rows between two marks are at most this far apart in time, in seconds.
const MARK_EVERY: u64 = 86_400;
/// More than any limit in days needs; a clock that runs wild makes no more.
const MAX_MARKS: usize = 1_000;
const MARKS_VERSION: u8 = 1;
/// The row of [`Mark`]s.
const MARKS_KEY: &str = "log_marks";

/// What the log keeps; who is further behind compares trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimit {
    /// Changes.
    pub rows: u64,
    /// Their age, in seconds; kept up to a day longer.
    pub seconds: u64,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self { rows: 100_000, seconds: 90 * 86_400 }
    }
}

/// A point of the log with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// When it was made, in seconds since 1970 UTC.
    at: u64,
    /// The last change before it.
    after: u64,
}

/// Cuts the log to its limit. `before` is the last change before those of this commit, `last` the last one.
pub(super) fn trim(
    batch: &mut Batch<'_>,
    limit: LogLimit,
    before: u64,
    last: u64,
    now: u64,
) -> Result<(), CatalogError> {
    let stored = batch.meta(MARKS_KEY)?.unwrap_or_default();
    let marks: Vec<Mark> = versioned::decode(MARKS_VERSION, &stored).unwrap_or_default();
    let (kept, base) = plan_marks(marks.clone(), limit, before, now);
    if kept != marks {
        set_marks(batch, &kept)?;
    }
    batch.trim_log(base.max(last.saturating_sub(limit.rows)))
}

/// Begins the log anew: changes after `base` will follow.
pub(super) fn restart(batch: &mut Batch<'_>, base: u64) -> Result<(), CatalogError> {
    batch.clear_log(base)?;
    set_marks(batch, &[])
}

fn set_marks(batch: &mut Batch<'_>, marks: &[Mark]) -> Result<(), CatalogError> {
    let bytes = versioned::encode(MARKS_VERSION, &marks);
    batch.set_meta(MARKS_KEY, &bytes.map_err(|source| CatalogError::Row { table: "meta", source })?)
}

/// The marks to keep, and the last change that is older than the limit.
fn plan_marks(mut marks: Vec<Mark>, limit: LogLimit, before: u64, now: u64) -> (Vec<Mark>, u64) {
    if marks.last().is_none_or(|last| last.at.saturating_add(MARK_EVERY) <= now) && marks.len() < MAX_MARKS {
        marks.push(Mark { at: now, after: before });
    }
    let is_old = |mark: &Mark| mark.at.saturating_add(limit.seconds) <= now;
    let Some(newest_old) = marks.iter().rposition(is_old) else { return (marks, 0) };
    let kept = marks.split_off(newest_old);
    let base = kept.first().map_or(0, |mark| mark.after);
    (kept, base)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const LIMIT: LogLimit = LogLimit { rows: 1_000, seconds: 3 * DAY };

    #[test]
    fn changes_older_than_the_limit_go_with_the_mark_that_dates_them() {
        let (mut marks, mut bases) = (vec![], vec![]);
        for day in 0..7 {
            let (kept, base) = plan_marks(marks, LIMIT, day * 10, day * DAY);
            marks = kept;
            bases.push(base);
        }
        // On day 3 the mark of day 0 is old: what came before it (nothing) goes.
        assert_eq!(bases, [0, 0, 0, 0, 10, 20, 30]);
        assert_eq!(marks.len(), 4);
    }

    #[test]
    fn one_mark_is_made_a_day_and_none_while_the_clock_stands_back() {
        let (marks, _) = plan_marks(vec![], LIMIT, 0, 10 * DAY);
        for now in [10 * DAY, 11 * DAY - 1, DAY] {
            assert_eq!(plan_marks(marks.clone(), LIMIT, 9, now), (marks.clone(), 0));
        }
        let (marks, _) = plan_marks(marks, LIMIT, 9, 11 * DAY);
        assert_eq!(marks, [Mark { at: 10 * DAY, after: 0 }, Mark { at: 11 * DAY, after: 9 }]);
    }

    #[test]
    fn marks_are_bounded() {
        let many = (0..MAX_MARKS as u64).map(|at| Mark { at, after: at }).collect();
        let forever = LogLimit { seconds: u64::MAX, ..LIMIT };
        assert_eq!(plan_marks(many, forever, 7, 9 * DAY).0.len(), MAX_MARKS);
    }

    #[test]
    fn version_one_of_the_marks_keeps_its_bytes() {
        let bytes = versioned::encode(MARKS_VERSION, &[Mark { at: 300, after: 7 }].as_slice()).unwrap();
        assert_eq!(bytes, [1, 1, 0xac, 2, 7]);
    }
}
