//! When a job is due that runs every so often, or once a day from a wall time on.
//!
//! One answer has three moments, so that systemd's timers and the daemon's own clock can ask the same question:
//! from the first on somebody who asks gets a run, at the second the daemon begins by itself, and at the third it
//! begins also where a timer should have done so. Times are seconds since 1970 UTC.

use jiff::{Timestamp, civil::Time, tz::TimeZone};
use std::time::Duration;

/// After a failure, unless the job is due earlier.
const TRY_AGAIN: i64 = 600;
/// A timer that comes a little early is not sent away: this part of a period.
const EARLY_PART: i64 = 10;
/// What a timer should have begun waits for it no longer than this.
const LONGEST_PATIENCE: i64 = 3_600;

/// A job runs for the first time.
pub const FIRST: &str = "it never ran";
/// The last run did not end well.
pub const FAILED: &str = "the last run failed";
/// Its period is over.
pub const PERIOD: &str = "its period";
/// Its time of day.
pub const DAILY: &str = "its time of day";

/// The last run of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// When it began.
    pub started_at: i64,
    /// Whether it failed or was cut short.
    pub failed: bool,
}

/// When a job is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// From here on whoever asks whether it is due hears yes.
    pub from: i64,
    /// Here the daemon begins.
    pub at: i64,
    /// Here the daemon begins what a timer of systemd should have begun.
    pub late: i64,
    /// Why then, for people.
    pub why: &'static str,
}

impl Next {
    /// Due at one moment, whoever asks.
    pub fn at(at: i64, why: &'static str) -> Self {
        Self { from: at, at, late: at, why }
    }

    /// Whether somebody who asks at `now` gets a run.
    pub fn is_due(&self, now: i64) -> bool {
        self.from <= now
    }

    /// When the daemon begins by itself.
    pub fn moment(&self, has_timer: bool) -> i64 {
        if has_timer { self.late } else { self.at }
    }
}

/// Due a `period` after the last run began.
pub fn every(period: Duration, last: Option<Last>, now: i64) -> Next {
    let Some(last) = believed(last, now) else { return Next::at(now, FIRST) };
    let period = i64::try_from(period.as_secs()).unwrap_or(i64::MAX / 4).max(1);
    let at = last.started_at.saturating_add(period);
    if last.failed && period > TRY_AGAIN {
        return Next::at(last.started_at + TRY_AGAIN, FAILED);
    }
    Next {
        from: at - period / EARLY_PART,
        at,
        late: at.saturating_add((period / 2).min(LONGEST_PATIENCE)),
        why: PERIOD,
    }
}

/// Due once a day, from `time` on the wall of `zone`; on a day without that time, from the moment on that takes its
/// place. What was missed is due at once.
pub fn daily(time: Time, last: Option<Last>, now: i64, zone: &TimeZone) -> Next {
    let Some(last) = believed(last, now) else { return Next::at(now, FIRST) };
    let due = match (moment(time, now, 0, zone), moment(time, now, -1, zone)) {
        (Some(today), _) if today <= now => today,
        (_, Some(yesterday)) => yesterday,
        _ => return Next::at(now, DAILY),
    };
    if last.started_at < due {
        return Next::at(due, DAILY);
    }
    if last.failed {
        return Next::at(last.started_at + TRY_AGAIN, FAILED);
    }
    let next = [0, 1].into_iter().find_map(|days| moment(time, now, days, zone).filter(|at| *at > now));
    Next::at(next.unwrap_or(now + 86_400), DAILY)
}

/// A run in a time to come counts for nothing: the clock was wrong.
fn believed(last: Option<Last>, now: i64) -> Option<Last> {
    last.filter(|last| last.started_at <= now)
}

/// `time` so many days from the day of `now`.
fn moment(time: Time, now: i64, days: i64, zone: &TimeZone) -> Option<i64> {
    let today = zone.to_datetime(Timestamp::from_second(now).ok()?).date();
    let date = today.checked_add(jiff::Span::new().days(days)).ok()?;
    Some(zone.to_timestamp(date.to_datetime(time)).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_HOUR: Duration = Duration::from_secs(1_800);

    /// Seconds since 1970 of a wall time in Paris.
    fn at(text: &str) -> i64 {
        paris().to_timestamp(text.parse().unwrap()).unwrap().as_second()
    }

    fn paris() -> TimeZone {
        TimeZone::get("Europe/Paris").unwrap()
    }

    fn ran(started_at: i64) -> Option<Last> {
        Some(Last { started_at, failed: false })
    }

    #[test]
    fn a_period_begins_with_the_run_and_a_timer_that_is_early_or_absent_is_nothing_lost() {
        assert_eq!(every(HALF_HOUR, None, 7_000), Next::at(7_000, FIRST));
        let next = every(HALF_HOUR, ran(10_000), 10_001);
        assert_eq!(next, Next { from: 11_620, at: 11_800, late: 12_700, why: PERIOD });
        assert!(!next.is_due(11_619) && next.is_due(11_620));
        assert_eq!((next.moment(false), next.moment(true)), (11_800, 12_700));
        assert_eq!(every(Duration::from_secs(86_400), ran(0), 5).late, 86_400 + 3_600);
        assert_eq!(every(HALF_HOUR, ran(10_000), 9_999).why, FIRST, "the clock was set back");
        assert!(every(Duration::MAX, ran(10_000), 10_001).at > 1 << 60);
        assert!(every(Duration::ZERO, ran(10_000), 10_001).at > 10_000, "never twice within a second");
    }

    #[test]
    fn what_failed_is_tried_again_before_its_period_is_over() {
        let failed = Some(Last { started_at: 10_000, failed: true });
        assert_eq!(every(HALF_HOUR, failed, 10_001), Next::at(10_600, FAILED));
        assert_eq!(every(Duration::from_secs(60), failed, 10_001).at, 10_060);
        let failed = Some(Last { started_at: at("2026-05-05T02:31"), failed: true });
        let next = daily(Time::constant(2, 30, 0, 0), failed, at("2026-05-05T02:32"), &paris());
        assert_eq!(next, Next::at(at("2026-05-05T02:41"), FAILED));
    }

    #[test]
    fn a_daily_job_is_due_once_after_its_time_on_every_day() {
        for (last, now, due) in [
            (None, "2026-05-05T12:00", true),
            (Some("2026-05-05T02:31"), "2026-05-05T23:00", false),
            (Some("2026-05-05T02:31"), "2026-05-06T02:29", false),
            (Some("2026-05-05T02:31"), "2026-05-06T02:30", true),
            (Some("2026-05-05T02:29"), "2026-05-05T02:35", true),
            (Some("2026-05-01T03:00"), "2026-05-05T01:00", true),
            (Some("2026-05-06T03:00"), "2026-05-05T01:00", true),
            // The hour that does not exist, and the one that exists twice.
            (Some("2026-03-28T02:31"), "2026-03-29T03:31", true),
            (Some("2026-10-25T02:31"), "2026-10-25T05:00", false),
        ] {
            let next = daily(Time::constant(2, 30, 0, 0), last.and_then(|last| ran(at(last))), at(now), &paris());
            assert_eq!(next.is_due(at(now)), due, "{last:?} {now} {next:?}");
        }
        let next = daily(Time::constant(2, 30, 0, 0), ran(at("2026-05-05T02:31")), at("2026-05-05T23:00"), &paris());
        assert_eq!(next, Next::at(at("2026-05-06T02:30"), DAILY));
    }
}
