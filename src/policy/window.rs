//! Whether a part of every day in local time is on, and when that changes. Pure.
//!
//! A moment is inside when the clock on the wall says so, from the first minute inside to the first outside, on
//! nights when clocks are set as well: what the wall skips is not there, and what it shows twice counts twice. A
//! window that clocks which go forward skip from its beginning to its end is open right after, for as long as it
//! is: no night goes without it.

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, Time},
    tz::{Offset, TimeZone},
};

/// Edges that are looked at for the next change: two a day, and those that a change of clocks adds.
const MOST_EDGES: usize = 32;

/// A part of every day; it crosses midnight where `from` is later than `to`, and is all day where they are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayPart {
    /// The first wall time inside.
    pub from: Time,
    /// The first outside.
    pub to: Time,
}

/// How a part of the day stands. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether the moment is inside.
    pub is_open: bool,
    /// The first moment after, of which the opposite is true; `None` if there is none for days.
    pub changes_at: Option<i64>,
}

impl DayPart {
    /// How it stands at `now` (seconds since 1970 UTC) where clocks show the time of `zone`.
    pub fn look(&self, zone: &TimeZone, now: i64) -> Look {
        let Ok(now) = Timestamp::from_second(now) else { return Look { is_open: true, changes_at: None } };
        let is_open = self.is_open(zone, now);
        let mut at = now;
        for _ in 0..MOST_EDGES {
            let Some(edge) = self.next_edge(zone, at) else { break };
            if self.is_open(zone, edge) != is_open {
                return Look { is_open, changes_at: Some(edge.as_second()) };
            }
            at = edge;
        }
        Look { is_open, changes_at: None }
    }

    fn is_open(&self, zone: &TimeZone, at: Timestamp) -> bool {
        self.has(zone.to_datetime(at).time()) || self.substitute_end(zone, at).is_some_and(|end| at < end)
    }

    fn has(&self, time: Time) -> bool {
        let Self { from, to } = *self;
        if from < to { from <= time && time < to } else { from <= time || time < to }
    }

    /// The first moment after `at` at which anything may change.
    fn next_edge(&self, zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
        let offset = zone.to_offset(at);
        let today = offset.to_datetime(at).date();
        let dates = [Some(today), today.tomorrow().ok()].into_iter().flatten();
        let walls = dates.flat_map(|date| [self.from, self.to].map(|time| instant(date, time, offset)));
        let clocks_change = zone.following(at).next().map(|change| change.timestamp());
        let edges = walls.chain([clocks_change, self.substitute_end(zone, at)]).flatten();
        edges.filter(|edge| *edge > at).min()
    }

    /// The end of the window that stands for one that the last change of clocks before or at `at` has skipped.
    fn substitute_end(&self, zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
        let change = zone.preceding(at.checked_add(1.second()).ok()?).next()?.timestamp();
        let before = zone.to_offset(change.checked_sub(1.second()).ok()?);
        let (skipped_from, skipped_to) = (before.to_datetime(change), zone.to_datetime(change));
        let dates = skipped_from.date().yesterday().ok()?.series(1.day());
        let windows = dates.take_while(|date| *date <= skipped_to.date()).filter_map(|date| {
            let ends_on = if self.from < self.to { date } else { date.tomorrow().ok()? };
            Some((date.to_datetime(self.from), ends_on.to_datetime(self.to)))
        });
        let skipped = windows.filter(|(opens, closes)| skipped_from <= *opens && *closes <= skipped_to);
        let length = skipped.map(|(opens, closes)| closes.duration_since(opens)).max()?;
        change.checked_add(length).ok()
    }
}

fn instant(date: Date, time: Time, offset: Offset) -> Option<Timestamp> {
    offset.to_timestamp(date.to_datetime(time)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: i64 = 60;
    const DAY: i64 = 86_400;
    /// With and without summer time, north and south of the equator, half hours, two hours at once, a day that
    /// never was, and a rest from summer time in Ramadan.
    const ZONES: [&str; 9] = [
        "UTC",
        "Europe/Paris",
        "America/New_York",
        "America/Santiago",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Antarctica/Troll",
        "Pacific/Apia",
        "Africa/Casablanca",
    ];

    fn part(text: &str) -> DayPart {
        let (from, to) = text.split_once('-').unwrap();
        DayPart { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn utc(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    /// In Paris, by the offset that a wall time is written with.
    fn look(window: &str, at: &str) -> (bool, Option<String>) {
        let paris = zone("Europe/Paris");
        let Look { is_open, changes_at } = part(window).look(&paris, utc(at));
        let shown = |at| {
            let at = Timestamp::from_second(at).unwrap();
            format!("{}{}", paris.to_datetime(at).strftime("%d. %H:%M"), paris.to_offset(at))
        };
        (is_open, changes_at.map(shown))
    }

    fn said(is_open: bool, changes: &str) -> (bool, Option<String>) {
        (is_open, Some(changes.to_owned()))
    }

    #[test]
    fn it_opens_with_its_first_minute_and_is_closed_from_its_last_on() {
        for (window, at, expected) in [
            ("20:30-05:30", "2026-11-26T20:29:59+01", said(false, "26. 20:30+01")),
            ("20:30-05:30", "2026-11-26T20:30:00+01", said(true, "27. 05:30+01")),
            ("20:30-05:30", "2026-11-27T00:00:00+01", said(true, "27. 05:30+01")),
            ("20:30-05:30", "2026-11-27T05:29:59+01", said(true, "27. 05:30+01")),
            ("20:30-05:30", "2026-11-27T05:30:00+01", said(false, "27. 20:30+01")),
            ("23:30-00:05", "2026-11-26T23:30:00+01", said(true, "27. 00:05+01")),
            ("23:30-00:05", "2026-11-27T00:04:59+01", said(true, "27. 00:05+01")),
            ("23:30-00:05", "2026-11-27T00:05:00+01", said(false, "27. 23:30+01")),
            ("08:05-08:09", "2026-11-26T08:05:00+01", said(true, "26. 08:09+01")),
            ("08:05-08:09", "2026-11-26T08:50:00+01", said(false, "27. 08:05+01")),
            ("00:00-23:59", "2026-11-26T23:59:59+01", said(false, "27. 00:00+01")),
            ("12:00-00:00", "2026-11-26T23:59:59+01", said(true, "27. 00:00+01")),
        ] {
            assert_eq!(look(window, at), expected, "{window} at {at}");
        }
    }

    #[test]
    fn when_clocks_go_forward_what_the_wall_skips_is_not_there() {
        for (window, at, expected) in [
            ("20:30-05:30", "2027-03-28T01:59:59+01", said(true, "28. 05:30+02")),
            ("02:30-03:30", "2027-03-28T01:59:59+01", said(false, "28. 03:00+02")),
            ("02:30-03:30", "2027-03-28T03:00:00+02", said(true, "28. 03:30+02")),
            ("01:30-02:30", "2027-03-28T01:59:59+01", said(true, "28. 03:00+02")),
        ] {
            assert_eq!(look(window, at), expected, "{window} at {at}");
        }
    }

    #[test]
    fn a_window_that_is_skipped_as_a_whole_is_open_right_after_for_as_long_as_it_is() {
        for (window, at, expected) in [
            ("02:00-03:00", "2027-03-28T01:59:59+01", said(false, "28. 03:00+02")),
            ("02:00-03:00", "2027-03-28T03:00:00+02", said(true, "28. 04:00+02")),
            ("02:15-02:45", "2027-03-28T03:29:59+02", said(true, "28. 03:30+02")),
            ("02:15-02:45", "2027-03-28T03:30:00+02", said(false, "29. 02:15+02")),
            ("02:15-02:45", "2027-03-29T03:00:00+02", said(false, "30. 02:15+02")),
        ] {
            assert_eq!(look(window, at), expected, "{window} at {at}");
        }
    }

    #[test]
    fn when_clocks_go_back_what_the_wall_shows_twice_counts_twice() {
        for (window, at, expected) in [
            ("20:30-05:30", "2026-10-25T01:59:59+02", said(true, "25. 05:30+01")),
            ("02:30-03:30", "2026-10-25T02:30:00+02", said(true, "25. 02:00+01")),
            ("02:30-03:30", "2026-10-25T02:00:00+01", said(false, "25. 02:30+01")),
            ("02:30-03:30", "2026-10-25T02:30:00+01", said(true, "25. 03:30+01")),
            ("20:30-02:30", "2026-10-25T02:30:00+02", said(false, "25. 02:00+01")),
            ("20:30-02:30", "2026-10-25T02:00:00+01", said(true, "25. 02:30+01")),
        ] {
            assert_eq!(look(window, at), expected, "{window} at {at}");
        }
    }

    #[test]
    fn a_window_of_all_day_never_changes() {
        assert_eq!(look("03:00-03:00", "2026-10-25T02:30:00+02"), (true, None));
    }

    /// Whether the wall says so, minute by minute.
    fn walls(part: &DayPart, zone: &TimeZone, minutes: impl Iterator<Item = i64>) -> Vec<bool> {
        let time = |at| zone.to_datetime(Timestamp::from_second(at).unwrap()).time();
        minutes.map(|at| part.has(time(at))).collect()
    }

    fn any_part() -> impl Strategy<Value = DayPart> {
        let minute = 0i64..1_440;
        let of = |minute: i64| Time::midnight().saturating_add(minute.minutes());
        (minute.clone(), minute).prop_filter_map("never empty", move |(from, to)| {
            (from != to).then(|| DayPart { from: of(from), to: of(to) })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Years of minutes: about half of them in the past of the zone data, half in its rules for the future.
        #[test]
        fn on_every_minute_of_years_it_is_what_the_wall_says_unless_the_window_was_skipped(
            part in any_part(), name in prop::sample::select(&ZONES[..]), year in 2008i64..2040,
        ) {
            let zone = zone(name);
            let begin = utc(&format!("{year}-01-01T00:00:00Z"));
            let minutes = || (begin..begin + 366 * DAY).step_by(MINUTE as usize);
            let walls = walls(&part, &zone, minutes());
            let mut at = begin;
            while at < begin + 366 * DAY {
                let Look { is_open, changes_at } = part.look(&zone, at);
                let next = changes_at.unwrap();
                prop_assert!(next > at && next <= at + 3 * DAY, "{at}: {next}");
                for minute in (at..next.min(begin + 366 * DAY)).step_by(MINUTE as usize) {
                    let wall = walls[usize::try_from((minute - begin) / MINUTE).unwrap()];
                    let moment = Timestamp::from_second(minute).unwrap();
                    let stands_in = || part.substitute_end(&zone, moment).is_some_and(|end| moment < end);
                    prop_assert!(is_open == wall || (is_open && stands_in()), "{minute}");
                }
                at = next;
            }
        }

        #[test]
        fn every_day_has_its_window(part in any_part(), name in prop::sample::select(&ZONES[..]), day in 14_000i64..25_000) {
            let zone = zone(name);
            let noon = day * DAY;
            let opens = (noon..noon + 2 * DAY).step_by(MINUTE as usize).any(|at| part.look(&zone, at).is_open);
            prop_assert!(opens);
        }

        #[test]
        fn whatever_the_moment_the_answer_holds_until_it_changes(
            part in any_part(), name in prop::sample::select(&ZONES[..]), at in 1_200_000_000i64..2_200_000_000, share in 0.0f64..1.0,
        ) {
            let zone = zone(name);
            let Look { is_open, changes_at } = part.look(&zone, at);
            let next = changes_at.unwrap();
            let between = at + ((next - at) as f64 * share) as i64;
            prop_assert_eq!(part.look(&zone, between.min(next - 1)).is_open, is_open);
            prop_assert_eq!(part.look(&zone, next).is_open, !is_open);
        }
    }
}
