//! When Microsoft is asked for another edition: once a day at a minute of this node's own, and from Patch
//! Tuesday's instant on again and again until another one is there or a day has passed.
//!
//! Patch Tuesday is the second Tuesday of a month, 10:00 in Redmond, whatever zone this machine is in.

use super::{due::Next, jitter::jitter};
use jiff::{
    Span, Timestamp,
    civil::{Date, Weekday, time},
    tz::TimeZone,
};

/// Where Microsoft's clocks hang.
const REDMOND: &str = "America/Los_Angeles";
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// What has happened so far. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Past {
    /// When it was asked last.
    pub asked: Option<i64>,
    /// When another edition was published last.
    pub changed: Option<i64>,
    /// Whether the last asking failed.
    pub failed: bool,
}

/// It was never asked.
pub const FIRST: &str = "it was never asked for";
/// The daily time.
pub const DAILY: &str = "the time of day of this node";
/// Patch Tuesday has come, and its edition has not.
pub const PATCH_TUESDAY: &str = "Patch Tuesday: again and again until its edition is there";
/// The last asking failed.
pub const FAILED: &str = "the last attempt failed";

/// When to ask next after `now`. `every` is the time between two daily askings in seconds; `node` is a number
/// that is this node's own, and stays: nodes that share a line then don't all ask at once. Only the daily time and
/// Patch Tuesday's instant are left to a timer where there is one.
pub fn next(past: &Past, every: i64, node: u64, now: i64) -> Next {
    let Some(asked) = past.asked.filter(|asked| *asked <= now) else { return Next::at(now, FIRST) };
    let every = every.max(MINUTE);
    let at = daily(asked, every, node);
    let (half, whole) = (asked + every / 2, asked + every);
    // A timer has a time of day of its own: it counts from half a period on, and has a whole one to come.
    let daily = Next { from: at.min(half), at, late: at.max(whole) + HOUR.min(every / 2), why: DAILY };
    // Every 30 to 60 minutes, drawn anew after each asking.
    let again = asked + 30 * MINUTE + jitter(node ^ asked.unsigned_abs(), 30 * MINUTE);
    let daily = if past.failed && again < daily.at { Next::at(again, FAILED) } else { daily };
    let Some(tuesday) = last_patch_tuesday(now) else { return daily };
    let is_open = now < tuesday + DAY && past.changed.is_none_or(|changed| changed < tuesday);
    if is_open {
        let next = if asked < tuesday { first_of(tuesday, node) } else { Next::at(again, PATCH_TUESDAY) };
        return if next.at <= daily.at { next } else { daily };
    }
    match next_patch_tuesday(now) {
        Some(tuesday) if tuesday < daily.at => first_of(tuesday, node),
        _ => daily,
    }
}

/// The first asking of a Patch Tuesday.
fn first_of(tuesday: i64, node: u64) -> Next {
    let at = tuesday + jitter(node, 10 * MINUTE);
    Next { from: tuesday, at, late: tuesday + 15 * MINUTE, why: PATCH_TUESDAY }
}

/// The first moment after `asked` at the node's own offset in the period.
fn daily(asked: i64, every: i64, node: u64) -> i64 {
    let offset = jitter(node, every);
    let at = (asked - offset).div_euclid(every) * every + every + offset;
    // Just asked by hand: not again within the hour.
    if at - asked < HOUR.min(every / 2) { at + every } else { at }
}

/// The instant of the last Patch Tuesday at or before `now`.
pub fn last_patch_tuesday(now: i64) -> Option<i64> {
    [0, -1].into_iter().find_map(|months| patch_tuesday(now, months).filter(|at| *at <= now))
}

/// The instant of the first Patch Tuesday after `now`.
pub fn next_patch_tuesday(now: i64) -> Option<i64> {
    [0, 1].into_iter().find_map(|months| patch_tuesday(now, months).filter(|at| *at > now))
}

/// That of the month of `now`, or of one `months` away.
fn patch_tuesday(now: i64, months: i64) -> Option<i64> {
    let redmond = TimeZone::get(REDMOND).ok()?;
    let today = Timestamp::from_second(now).ok()?.to_zoned_datetime(redmond.clone()).date();
    let first = Date::new(today.year(), today.month(), 1).ok()?.checked_add(Span::new().months(months)).ok()?;
    let second = first.nth_weekday_of_month(2, Weekday::Tuesday).ok()?;
    Some(second.to_datetime(time(10, 0, 0, 0)).to_zoned_datetime(redmond).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn patch_tuesday_is_at_ten_in_redmond_whatever_the_season() {
        for instant in ["2026-07-14T17:00:00Z", "2026-11-10T18:00:00Z", "2027-03-09T18:00:00Z", "2027-04-13T17:00:00Z"]
        {
            let instant = at(instant);
            assert_eq!(last_patch_tuesday(instant), Some(instant));
            assert_eq!(next_patch_tuesday(instant - 1), Some(instant));
            assert_eq!(last_patch_tuesday(instant + 20 * DAY), Some(instant));
            assert!(last_patch_tuesday(instant - 1).unwrap() < instant - 20 * DAY);
        }
        assert_eq!(last_patch_tuesday(at("2027-01-01T00:00:00Z")), Some(at("2026-12-08T18:00:00Z")));
    }

    #[test]
    fn who_never_asked_asks_at_once_and_then_daily_at_a_time_of_its_own() {
        let now = at("2026-11-20T09:00:00Z");
        assert_eq!(next(&Past::default(), DAY, 7, now), Next::at(now, FIRST));
        let past = Past { asked: Some(now), ..Past::default() };
        let first = next(&past, DAY, 7, now);
        assert_eq!(first.why, DAILY);
        assert!((now + HOUR..=now + DAY + HOUR).contains(&first.at));
        let second = next(&Past { asked: Some(first.at), ..past }, DAY, 7, first.at);
        assert_eq!(second.at, first.at + DAY);
        assert_ne!(next(&past, DAY, 8, now).at, first.at);
        let failed = next(&Past { failed: true, ..past }, DAY, 7, now);
        assert!(failed.why == FAILED && (30 * MINUTE..=60 * MINUTE).contains(&(failed.at - now)), "{failed:?}");
        assert_eq!(next(&Past { asked: Some(now + 5), ..past }, DAY, 7, now).why, FIRST, "a clock that was set back");
    }

    #[test]
    fn from_patch_tuesday_on_it_is_asked_every_half_hour_or_so_until_the_edition_is_there() {
        let tuesday = at("2026-11-10T18:00:00Z");
        let past = Past { asked: Some(tuesday - 2 * HOUR), changed: Some(tuesday - 28 * DAY), failed: false };
        let first = next(&past, DAY, 3, tuesday - HOUR);
        assert!(first.why == PATCH_TUESDAY && (tuesday..tuesday + 10 * MINUTE).contains(&first.at), "{first:?}");
        let mut past = Past { asked: Some(first.at), ..past };
        let mut askings = 1;
        loop {
            let now = past.asked.unwrap();
            let next = next(&past, DAY, 3, now);
            let wait = next.at - now;
            if next.why == PATCH_TUESDAY {
                assert!((30 * MINUTE..=60 * MINUTE).contains(&wait), "{wait}");
                askings += 1;
            }
            past.asked = Some(next.at);
            if next.at > tuesday + DAY {
                break;
            }
        }
        assert!((24..=48).contains(&askings), "{askings}");
        let there = Past { asked: Some(tuesday + HOUR), changed: Some(tuesday + HOUR), failed: false };
        assert_eq!(next(&there, DAY, 3, tuesday + HOUR).why, DAILY);
    }

    #[test]
    fn a_daily_timer_asks_at_its_own_time_and_the_daemon_only_where_it_did_not() {
        for node in 0..50 {
            let mut past = Past { asked: Some(at("2026-11-20T09:00:00Z")), ..Past::default() };
            for day in 1..5 {
                let timer = at("2026-11-20T09:00:00Z") + day * DAY;
                let next = next(&past, DAY, node, timer - 1);
                assert!(next.is_due(timer) && next.late > timer && next.late <= timer + DAY + HOUR, "{next:?}");
                past.asked = Some(timer);
            }
        }
        let past = Past { asked: Some(at("2026-11-10T08:00:00Z")), ..Past::default() };
        let tuesday = at("2026-11-10T18:00:00Z");
        let next = next(&past, DAY, 7, tuesday - 1);
        assert!(next.why == PATCH_TUESDAY && next.is_due(tuesday) && next.late < tuesday + HOUR, "{next:?}");
    }

    proptest! {
        #[test]
        fn it_is_never_long_until_it_is_asked_again(
            asked in 1_700_000_000i64..2_000_000_000, ago in 0i64..100 * DAY, changed in any::<bool>(), node: u64,
        ) {
            let past = Past { asked: Some(asked), changed: changed.then_some(asked), failed: node % 2 == 0 };
            let next = next(&past, DAY, node, asked);
            prop_assert!(next.at > asked && next.at <= asked + 2 * DAY, "{next:?}");
            prop_assert!(super::next(&past, DAY, node, asked + ago).at <= asked + ago + 2 * DAY);
        }
    }
}
