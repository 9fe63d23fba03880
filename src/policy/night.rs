//! When the nightly cleanup runs: at one moment of a window in local time, drawn for each node and night anew,
//! once a night. Pure.
//!
//! The moment is a wall time. Where it does not exist, because clocks go forward, the first moment after
//! stands for it, and the work may begin until an hour later; where it exists twice, the first counts. Work
//! that was not begun within the window is left to the next night, and that is told as missed.

use super::{
    due::{FAILED, Last, Next},
    jitter::jitter,
};
use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, TimeZone},
};

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// For how long work may begin where a moment stands for one that does not exist.
const SUBSTITUTE: i64 = HOUR;
/// How long before the window's end the daemon does what another timer has left undone.
const CATCH_UP: i64 = 60;
/// How long after a failure it is tried again, if the window is still open.
const TRY_AGAIN: i64 = 600;
/// A last run this far in the future is one of this night, before the clock was set back; beyond, the clock
/// was wrong when it ran.
const SET_BACK: i64 = DAY;

/// Its moment of the night.
pub const NIGHT: &str = "its moment of the night";

/// One node's nights.
#[derive(Debug, Clone)]
pub struct Nights {
    /// The first wall time inside the window.
    pub from: Time,
    /// The first outside; on the next day where it is no later than `from`.
    pub to: Time,
    /// A number that is this node's own, and stays.
    pub node: u64,
}

/// The same on one clock.
struct Local<'n> {
    nights: &'n Nights,
    zone: &'n TimeZone,
}

/// The window of one night, in seconds since 1970 UTC.
#[derive(Debug, Clone, Copy)]
struct Night {
    date: Date,
    opens: i64,
    /// The moment that was drawn.
    moment: i64,
    /// Until when it may begin late.
    ends: i64,
}

/// A wall time as an instant; whether it stands for one that does not exist.
struct Instant {
    at: i64,
    is_substitute: bool,
}

impl Nights {
    /// When the work begins, asked at `now` (seconds since 1970 UTC) in `zone`, where it was begun last at `last`: from
    /// the opening of a window on for a timer that asks, at the night's moment by the daemon itself. `None` only beyond
    /// the calendar.
    pub fn next(&self, last: Option<Last>, now: i64, zone: &TimeZone) -> Option<Next> {
        let local = Local { nights: self, zone };
        let last = believed(last, now);
        for night in local.around(now).into_iter().filter(|night| now < night.ends) {
            if !self.is_done(&night, last) {
                let opens = local.opening(&night, now);
                let late = (night.ends - CATCH_UP).max(opens);
                return Some(Next { from: opens, at: night.moment.max(opens), late, why: NIGHT });
            }
            let again = last.filter(|last| last.failed).map(|last| last.started_at + TRY_AGAIN);
            if let Some(again) = again.filter(|again| (night.opens..night.ends).contains(again)) {
                return Some(Next::at(again, FAILED));
            }
        }
        None
    }

    /// The last night, if it passed without the work though nights before it had it.
    pub fn missed(&self, last: Option<Last>, now: i64, zone: &TimeZone) -> Option<Date> {
        let last = believed(last, now)?;
        let past = Local { nights: self, zone }.around(now).into_iter().rev().find(|night| night.ends <= now)?;
        (!self.is_done(&past, Some(last)) && last.started_at < past.opens).then_some(past.date)
    }

    fn is_done(&self, night: &Night, last: Option<Last>) -> bool {
        last.is_some_and(|last| last.started_at > night.moment - self.apart())
    }

    /// Seconds of the window by the wall clock.
    fn length(&self) -> i64 {
        let seconds =
            |time: Time| i64::from(time.hour()) * HOUR + i64::from(time.minute()) * 60 + i64::from(time.second());
        match (seconds(self.to) - seconds(self.from)).rem_euclid(DAY) {
            0 => DAY,
            length => length,
        }
    }

    /// Two runs of different nights are farther apart; two in one night, whatever the zone is called meanwhile,
    /// are nearer.
    fn apart(&self) -> i64 {
        ((DAY - self.length()) / 2).min(12 * HOUR)
    }
}

fn believed(last: Option<Last>, now: i64) -> Option<Last> {
    last.filter(|last| last.started_at < now.saturating_add(SET_BACK))
}

impl Local<'_> {
    /// The nights that can matter at `now`: yesterday's, whose window may cross midnight, to one after a date
    /// that a zone leaves out.
    fn around(&self, now: i64) -> Vec<Night> {
        let Ok(at) = Timestamp::from_second(now) else { return Vec::new() };
        let today = self.zone.to_datetime(at).date();
        let dates = (-2..=3).filter_map(|days: i64| today.checked_add(days.days()).ok());
        dates.filter_map(|date| self.night(date)).collect()
    }

    fn night(&self, date: Date) -> Option<Night> {
        let Nights { from, node, .. } = *self.nights;
        let (from, length) = (date.to_datetime(from), self.nights.length());
        let opens = self.instant(from)?;
        let closes = self.instant(from.checked_add(length.seconds()).ok()?)?;
        let closes = if opens.is_substitute { opens.at + SUBSTITUTE } else { closes.at };
        let drawn = jitter(node ^ seed(date), length);
        let moment = self.instant(from.checked_add(drawn.seconds()).ok()?)?;
        let ends = if moment.is_substitute { closes.max(moment.at + SUBSTITUTE) } else { closes };
        Some(Night { date, opens: opens.at, moment: moment.at, ends })
    }

    /// The instant of a wall time, the first of two; `None` on a date that the zone leaves out.
    fn instant(&self, wall: DateTime) -> Option<Instant> {
        let found = self.zone.to_ambiguous_timestamp(wall);
        let at = match found.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => found.earlier().ok()?,
            // Both offsets of a gap lead beside it: the instant between them is where the clocks jump.
            AmbiguousOffset::Gap { .. } => {
                let before = found.earlier().ok()?;
                self.zone.following(before).next()?.timestamp()
            }
        };
        let is_substitute = matches!(found.offset(), AmbiguousOffset::Gap { .. });
        let is_there = self.zone.to_datetime(at).date() == wall.date();
        is_there.then_some(Instant { at: at.as_second(), is_substitute })
    }

    /// When the window of a night opens, or opens again: where clocks go back, a part of the night that was outside
    /// comes once more.
    fn opening(&self, night: &Night, now: i64) -> i64 {
        let wall = |at: i64| Timestamp::from_second(at).map(|at| self.zone.to_datetime(at)).ok();
        let outside = wall(now).zip(wall(night.opens)).map(|(now, opens)| now.duration_until(opens).as_secs());
        match outside {
            Some(seconds) if now > night.opens && seconds > 0 => now + seconds,
            _ => night.opens,
        }
    }
}

/// Another number for each date.
fn seed(date: Date) -> u64 {
    let [year, month, day] = [date.year().into(), date.month().into(), date.day().into()].map(i64::unsigned_abs);
    ((year * 100 + month) * 100 + day).rotate_left(32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, time};
    use proptest::prelude::*;

    /// Zones with and without summer time, on both halves of the earth, with half hours, with gaps at three and
    /// at four, with a half-hour change, and one that left out a date.
    const ZONES: [&str; 12] = [
        "UTC",
        "Europe/Paris",
        "Europe/Helsinki",
        "Europe/London",
        "America/New_York",
        "America/St_Johns",
        "America/Sao_Paulo",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "Asia/Tehran",
        "Africa/Casablanca",
        "Pacific/Apia",
    ];

    /// One node's nights in a zone.
    struct Clock {
        nights: Nights,
        zone: TimeZone,
    }

    fn nights(zone: &str, node: u64) -> Clock {
        let nights = Nights { from: time(2, 30, 0, 0), to: time(3, 30, 0, 0), node };
        Clock { nights, zone: TimeZone::get(zone).unwrap() }
    }

    fn ran(at: i64) -> Option<Last> {
        Some(Last { started_at: at, failed: false })
    }

    impl Clock {
        fn wall(&self, at: i64) -> DateTime {
            self.zone.to_datetime(Timestamp::from_second(at).unwrap())
        }

        /// The first instant of a wall time.
        fn at(&self, text: &str) -> i64 {
            self.zone.to_timestamp(text.parse().unwrap()).unwrap().as_second()
        }

        fn next(&self, now: i64, last: Option<Last>) -> Next {
            self.nights.next(last, now, &self.zone).unwrap()
        }

        fn missed(&self, now: i64, last: Option<Last>) -> Option<Date> {
            self.nights.missed(last, now, &self.zone)
        }

        /// Whether the daemon begins by itself.
        fn begins(&self, now: i64, last: Option<Last>) -> bool {
            self.next(now, last).at <= now
        }

        /// Whether a timer that asks gets a run.
        fn is_open(&self, now: i64, last: Option<Last>) -> bool {
            self.next(now, last).is_due(now)
        }
    }

    /// The instants at which the work begins from one instant to another, by a daemon that sleeps until it is told to
    /// wake.
    fn runs(clock: &Clock, by_timer: bool, from: i64, until: i64) -> Vec<i64> {
        let (mut now, mut last, mut runs) = (from, None, Vec::new());
        while now < until {
            assert_eq!(clock.missed(now, last), None, "{}", clock.wall(now));
            let next = clock.next(now, last).moment(by_timer);
            if next <= now {
                runs.push(now);
                last = ran(now);
            } else {
                now = next;
            }
        }
        runs
    }

    #[test]
    fn every_day_of_twenty_years_in_twelve_zones_has_one_moment_inside_the_window_or_its_substitute() {
        for zone in ZONES {
            for by_timer in [false, true] {
                let clock = nights(zone, 0x5eed);
                let runs = runs(&clock, by_timer, clock.at("2009-12-31T12:00"), clock.at("2029-12-31T12:00"));
                let mut expected = date(2010, 1, 1);
                for at in runs {
                    let wall = clock.wall(at);
                    if zone == "Pacific/Apia" && expected == date(2011, 12, 30) {
                        expected = expected.tomorrow().unwrap();
                    }
                    assert_eq!(wall.date(), expected, "{zone}: a date was left out or had it twice");
                    let inside = (time(2, 30, 0, 0)..time(3, 30, 0, 0)).contains(&wall.time());
                    let before = clock.wall(at - 2 * HOUR);
                    let clocks_jumped = || before.duration_until(wall).as_secs() > 2 * HOUR;
                    assert!(inside || clocks_jumped(), "{zone}: {wall} is outside");
                    expected = expected.tomorrow().unwrap();
                }
                assert_eq!(expected, date(2030, 1, 1), "{zone}");
            }
        }
    }

    #[test]
    fn nodes_and_nights_differ_and_the_whole_window_is_used() {
        let moment = |node, day: &str| {
            let clock = nights("Europe/Paris", node);
            clock.next(clock.at(day), None).at - clock.at(day)
        };
        let of_nodes: Vec<_> = (0..200).map(|node| moment(node, "2026-05-05T02:00") / 60).collect();
        let of_nights: Vec<_> = (10..30).map(|day| moment(7, &format!("2026-05-{day}T02:00")) / 60).collect();
        for (moments, most_alike) in [(&of_nodes, 15), (&of_nights, 4)] {
            assert!(moments.iter().all(|minute| (30..90).contains(minute)), "{moments:?}");
            let alike = moments.iter().map(|minute| moments.iter().filter(|other| *other == minute).count()).max();
            assert!(alike.unwrap() <= most_alike, "{moments:?}");
        }
        let quarters: std::collections::BTreeSet<_> = of_nodes.iter().map(|minute| minute / 15).collect();
        assert_eq!(quarters.len(), 4);
    }

    #[test]
    fn where_the_moment_does_not_exist_the_first_after_it_stands_for_it_for_an_hour() {
        for node in 0..20 {
            let clock = nights("Europe/Helsinki", node);
            let moment = clock.next(clock.at("2026-03-29T02:00"), None).at;
            let wall = clock.wall(moment).time();
            if (time(2, 30, 0, 0)..time(3, 0, 0, 0)).contains(&wall) {
                assert!(clock.begins(clock.at("2026-03-29T02:59:59"), None));
                assert!(!clock.begins(clock.at("2026-03-29T04:00"), None));
            } else {
                assert_eq!(wall, time(4, 0, 0, 0));
                assert!(!clock.begins(clock.at("2026-03-29T02:59:59"), None));
                assert!(clock.begins(clock.at("2026-03-29T04:59:59"), None));
                assert!(!clock.begins(clock.at("2026-03-29T05:00"), None));
            }
        }
        let paris = nights("Europe/Paris", 1);
        let open = |at: &str| paris.is_open(paris.at(at), None);
        assert!(!open("2026-03-29T01:59:59") && open("2026-03-29T03:00") && open("2026-03-29T03:59:59"));
        assert!(!open("2026-03-29T04:00"));
    }

    #[test]
    fn where_the_moment_exists_twice_the_work_is_done_once() {
        for node in 0..20 {
            let clock = nights("Europe/Paris", node);
            // Clocks go from 03:00 back to 02:00 two hours after the first 01:00.
            let back = clock.at("2026-10-25T01:00") + 2 * HOUR;
            let moment = clock.next(clock.at("2026-10-25T01:00"), None).at;
            assert_eq!(moment < back, clock.wall(moment).time() < time(3, 0, 0, 0));
            assert!(!clock.begins(moment + HOUR, ran(moment)) && !clock.is_open(moment + HOUR, ran(moment)));
            // Ten past two comes once more, and is outside both times.
            assert!(!clock.begins(back + 600, None) && !clock.is_open(back + 600, None));
            assert_eq!(clock.next(back + 600, None).from, back + 1_800);
        }
    }

    #[test]
    fn a_daemon_that_was_down_runs_on_its_return_if_still_due_and_else_tells_and_waits_for_the_next_night() {
        let clock = nights("Europe/Paris", 3);
        let last = ran(clock.at("2026-05-04T03:00"));
        let moment = clock.next(clock.at("2026-05-05T02:00"), last).at;
        assert!(!clock.begins(moment - 1, last) && clock.missed(moment - 1, last).is_none());
        assert!(clock.begins(clock.at("2026-05-05T03:29:59"), last));
        let late = clock.at("2026-05-05T03:30");
        assert!(!clock.begins(late, last) && !clock.is_open(late, last));
        assert_eq!(clock.missed(late, last), Some(date(2026, 5, 5)));
        assert_eq!(clock.wall(clock.next(late, last).at).date(), date(2026, 5, 6));
        let new = clock.at("2026-05-05T12:00");
        assert!(!clock.begins(new, None) && clock.missed(new, None).is_none(), "one that never ran missed nothing");
    }

    #[test]
    fn what_failed_is_tried_again_while_the_window_is_open() {
        let clock = nights("Europe/Paris", 3);
        let moment = clock.next(clock.at("2026-05-05T02:00"), None).at;
        let failed = Some(Last { started_at: moment, failed: true });
        let again = clock.next(moment + 1, failed);
        let ends = clock.at("2026-05-05T03:30");
        match moment + 600 < ends {
            true => assert_eq!(again, Next::at(moment + 600, FAILED)),
            false => assert!(again.at > ends),
        }
        let failed = Some(Last { started_at: ends - 60, failed: true });
        assert!(clock.next(ends - 30, failed).at > ends + 20 * HOUR);
    }

    #[test]
    fn a_clock_that_jumps_and_a_zone_that_changes_make_no_second_run_within_the_day() {
        let paris = nights("Europe/Paris", 3);
        let done = paris.next(paris.at("2026-05-05T02:00"), None).at;
        let set_back = paris.next(done - HOUR, ran(done));
        assert!(set_back.from > done + 20 * HOUR);
        let set_forward = done + 40 * HOUR;
        assert!(!paris.begins(set_forward, ran(done)));
        assert_eq!(paris.missed(set_forward, ran(done)), Some(date(2026, 5, 6)));
        // A clock that was years ahead when it ran counts for nothing.
        assert!(paris.begins(done, ran(done + 400 * DAY)));
        for zone in ["America/New_York", "Asia/Kolkata", "UTC"] {
            let moved = nights(zone, 3);
            let next = moved.next(done + 60, ran(done)).at;
            assert!(
                (done + 12 * HOUR..done + 40 * HOUR).contains(&next),
                "{zone}: after {} hours",
                (next - done) / HOUR
            );
        }
    }

    #[test]
    fn what_a_timer_did_is_not_done_again_and_what_it_left_undone_is_due_at_the_windows_end() {
        let clock = nights("Europe/Paris", 3);
        let last = ran(clock.at("2026-05-04T02:31"));
        let begun = clock.at("2026-05-05T02:30");
        let next = clock.next(begun, last);
        assert!(next.is_due(begun) && next.moment(true) == clock.at("2026-05-05T03:29"));
        let after = clock.next(clock.at("2026-05-05T03:29"), ran(begun));
        assert!(after.from == clock.at("2026-05-06T02:30") && after.moment(true) == clock.at("2026-05-06T03:29"));
    }

    proptest! {
        #[test]
        fn any_window_in_any_zone_has_a_run_each_day_and_never_two(
            zone in 0..ZONES.len(), node: u64, from in 0i8..24, minutes in 1i64..1_440, day in 0i64..7_000,
        ) {
            let from = time(from, 0, 0, 0);
            let nights = Nights { from, to: from.wrapping_add(minutes.minutes()), node };
            let clock = Clock { nights, zone: TimeZone::get(ZONES[zone]).unwrap() };
            let start = 1_262_304_000 + day * DAY;
            let (mut last, mut now, mut runs) = (None, start, 0);
            while now < start + 10 * DAY {
                if clock.begins(now, last) {
                    prop_assert!(last.is_none_or(|last: Last| now - last.started_at > clock.nights.apart()));
                    (last, runs) = (ran(now), runs + 1);
                }
                let next = clock.next(now, last).at;
                prop_assert!(next > now);
                now = next;
            }
            // A window of nearly a day may leave a night out where the draws lie close together.
            prop_assert!((if minutes > 600 { 4 } else { 8 }..=11).contains(&runs), "{} runs", runs);
        }
    }
}
