//! When a pass is due, what it does next, and how long it rests. Pure.

use crate::catalog::ScrubRecord;
use std::time::Duration;

/// What opening a file costs beside its bytes, in bytes of reading: one seek of a slow disk.
const FILE_COSTS_BYTES: u64 = 1 << 20;
/// The longest wait in one go: sums, clock and settings are looked at again after it.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// The part of the period over which a pass is spread, in percent: the rest is for days on which the
/// machine was off.
const SPREAD_PERCENT: u64 = 90;
/// A pass that is behind by more than this part of its period is late.
const LATE_PART: u64 = 20;

/// How much there is to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Sums {
    fn weight(self) -> u128 {
        u128::from(self.bytes) + u128::from(self.files) * u128::from(FILE_COSTS_BYTES)
    }
}

/// What a reading has to make room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Hosts are served, or files are on their way.
    pub busy: bool,
    /// The pass will not end within its period at this pace.
    pub late: bool,
    /// A person waits for the result.
    pub hurry: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The pass goes on with the next files.
    Read,
    /// Nothing for so long.
    Wait(Duration),
}

/// What comes next at `now` (seconds since 1970 UTC), when every file is to be read within `every` (zero:
/// only when a person asks). A clock that was set back stops no pass.
pub(super) fn plan_next(pass: Option<&ScrubRecord>, every: Duration, all: Sums, hurry: bool, now: u64) -> Next {
    let Some(pass) = pass.filter(|pass| pass.ended_at.is_none()) else { return Next::Wait(LOOK_AGAIN) };
    if hurry {
        return Next::Read;
    }
    if every.is_zero() {
        return Next::Wait(LOOK_AGAIN);
    }
    match read_due(pass, every, all).saturating_sub(now) {
        _ if pass.began_at > now => Next::Read,
        0 => Next::Read,
        seconds => Next::Wait(Duration::from_secs(seconds).min(LOOK_AGAIN)),
    }
}

/// When the next pass is to begin, in seconds since 1970 UTC; in the past where that is overdue, `None` where only a
/// person begins one. A clock that was set back neither stops passes nor makes them run twice.
pub(super) fn begins_at(pass: Option<&ScrubRecord>, every: Duration, now: u64) -> Option<u64> {
    if every.is_zero() {
        return None;
    }
    Some(match pass {
        None => now,
        Some(pass) if pass.ended_at.is_some() && pass.began_at > now => now,
        // A pass that is late goes on to its end before another begins.
        Some(pass) if pass.ended_at.is_none() => due_again(pass, every).max(now + every.as_secs() / LATE_PART),
        Some(pass) => due_again(pass, every),
    })
}

/// Whether a pass is behind what its period asks for.
pub(super) fn is_late(pass: &ScrubRecord, every: Duration, all: Sums, now: u64) -> bool {
    let slack = every.as_secs() / LATE_PART;
    !every.is_zero() && pass.ended_at.is_none() && now > read_due(pass, every, all).saturating_add(slack)
}

/// How long to rest after working for `worked`, so that the disk is used for no more than a share of the
/// time: a tenth, a quarter when late, half when somebody waits; and little of it while others need it.
pub(super) fn plan_rest(worked: Duration, load: Load) -> Duration {
    let percent = match load {
        Load { busy: true, hurry: true, .. } => 10,
        Load { busy: true, late: true, .. } => 5,
        Load { busy: true, .. } => 2,
        Load { hurry: true, .. } => 50,
        Load { late: true, .. } => 25,
        Load { .. } => 10,
    };
    worked.saturating_mul(100 - percent) / percent
}

fn due_again(pass: &ScrubRecord, every: Duration) -> u64 {
    pass.began_at.saturating_add(every.as_secs())
}

/// When the next file is due, were all weight spread evenly over the period.
fn read_due(pass: &ScrubRecord, every: Duration, all: Sums) -> u64 {
    let done = Sums { files: pass.files, bytes: pass.bytes }.weight();
    let all = all.weight().max(1);
    let spread = u128::from(every.as_secs()) * u128::from(SPREAD_PERCENT) / 100;
    let offset = spread.saturating_mul(done.min(all)) / all;
    pass.began_at.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const EVERY: Duration = Duration::from_secs(30 * DAY);
    const ALL: Sums = Sums { files: 1_000, bytes: 300 << 30 };
    const BEGAN: u64 = 1_700_000_000;

    fn pass(percent: u64) -> ScrubRecord {
        let (files, bytes) = (ALL.files * percent / 100, ALL.bytes * percent / 100);
        ScrubRecord { began_at: BEGAN, files, bytes, ..ScrubRecord::default() }
    }

    fn ended() -> ScrubRecord {
        ScrubRecord { ended_at: Some(BEGAN + 27 * DAY), ..pass(100) }
    }

    fn next(pass: &ScrubRecord, now: u64) -> Next {
        plan_next(Some(pass), EVERY, ALL, false, now)
    }

    #[test]
    fn the_first_pass_begins_at_once_and_each_later_one_a_period_after_the_last_began() {
        assert_eq!(begins_at(None, EVERY, BEGAN), Some(BEGAN));
        assert_eq!(begins_at(Some(&ended()), EVERY, BEGAN + 28 * DAY), Some(BEGAN + 30 * DAY));
        assert_eq!(begins_at(Some(&ended()), EVERY, BEGAN + 300 * DAY), Some(BEGAN + 30 * DAY));
        assert_eq!(begins_at(None, Duration::ZERO, BEGAN), None);
        assert_eq!(plan_next(None, EVERY, ALL, false, BEGAN), Next::Wait(LOOK_AGAIN));
        assert_eq!(next(&ended(), BEGAN + 300 * DAY), Next::Wait(LOOK_AGAIN), "reading begins no pass");
    }

    #[test]
    fn no_pass_begins_while_one_is_under_way_however_late_it_is() {
        assert!(begins_at(Some(&pass(50)), EVERY, BEGAN + 300 * DAY).unwrap() > BEGAN + 300 * DAY);
        assert_eq!(begins_at(Some(&pass(50)), EVERY, BEGAN), Some(BEGAN + 30 * DAY));
    }

    #[test]
    fn reading_is_spread_over_the_period() {
        assert_eq!(next(&pass(0), BEGAN), Next::Read);
        let half = BEGAN + EVERY.as_secs() * 45 / 100;
        assert_eq!(next(&pass(50), half - 1), Next::Wait(Duration::from_secs(1)));
        assert_eq!(next(&pass(50), half), Next::Read);
        assert_eq!(next(&pass(50), BEGAN), Next::Wait(LOOK_AGAIN));
    }

    #[test]
    fn a_pass_over_nothing_and_one_with_more_done_than_there_is_left_end_in_their_time() {
        let nothing = plan_next(Some(&pass(0)), EVERY, Sums::default(), false, BEGAN);
        assert_eq!(nothing, Next::Read);
        let shrunk = plan_next(Some(&pass(100)), EVERY, Sums { files: 1, bytes: 1 }, false, BEGAN + 27 * DAY);
        assert_eq!(shrunk, Next::Read);
    }

    #[test]
    fn a_pass_in_a_hurry_waits_for_nothing() {
        assert_eq!(plan_next(Some(&pass(50)), EVERY, ALL, true, BEGAN), Next::Read);
    }

    #[test]
    fn a_period_of_nothing_leaves_it_to_people() {
        let half = pass(50);
        let never = |pass: Option<&ScrubRecord>, hurry| plan_next(pass, Duration::ZERO, ALL, hurry, BEGAN);
        assert_eq!(never(None, false), Next::Wait(LOOK_AGAIN));
        assert_eq!(never(Some(&half), false), Next::Wait(LOOK_AGAIN));
        assert_eq!(never(Some(&half), true), Next::Read);
        assert!(!is_late(&pass(0), Duration::ZERO, ALL, BEGAN + 1));
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing() {
        assert_eq!(begins_at(Some(&ended()), EVERY, BEGAN - 400 * DAY), Some(BEGAN - 400 * DAY));
        assert_eq!(next(&pass(50), BEGAN - 400 * DAY), Next::Read);
    }

    #[test]
    fn a_pass_is_late_once_it_is_behind_by_a_twentieth_of_its_period() {
        let due = BEGAN + EVERY.as_secs() * 45 / 100;
        assert!(!is_late(&pass(50), EVERY, ALL, due + EVERY.as_secs() / 20));
        assert!(is_late(&pass(50), EVERY, ALL, due + EVERY.as_secs() / 20 + 1));
        assert!(!is_late(&ended(), EVERY, ALL, BEGAN + 300 * DAY));
    }

    #[test]
    fn rests_grow_with_the_work_and_with_what_others_need() {
        let load = |busy, late, hurry| plan_rest(Duration::from_millis(90), Load { busy, late, hurry }).as_millis();
        assert_eq!(load(false, false, false), 810);
        assert_eq!(load(false, true, false), 270);
        assert_eq!(load(false, false, true), 90);
        assert_eq!(load(true, false, false), 4_410);
        assert_eq!(load(true, true, false), 1_710);
        assert_eq!(load(true, true, true), 810);
        assert_eq!(plan_rest(Duration::ZERO, Load { busy: true, late: false, hurry: false }), Duration::ZERO);
    }
}
