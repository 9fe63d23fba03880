//! Which bytes a Range header asks for (RFC 9110, section 14). Pure.

use http::{HeaderMap, header::RANGE};
use std::ops::Range;

/// What a Range header comes to for a file of a known size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// No range, several, or one that can't be read: the whole file.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// A range that lies outside the file.
    Unsatisfiable,
}

/// Reads the Range header, if there is one, against a file of `size` bytes.
pub(super) fn select(headers: &HeaderMap, size: u64) -> Selection {
    let mut values = headers.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Selection::Whole };
    let Some((first, last)) = value.to_str().ok().and_then(single_range) else { return Selection::Whole };
    match (first, last) {
        (Some(first), Some(last)) if last < first => Selection::Whole,
        (Some(first), last) => part(first, last.map_or(size, |last| last.saturating_add(1)), size),
        (None, Some(suffix)) => part(size.saturating_sub(suffix), size, size),
        (None, None) => Selection::Whole,
    }
}

fn part(start: u64, end: u64, size: u64) -> Selection {
    let end = end.min(size);
    if start < end { Selection::Part(start..end) } else { Selection::Unsatisfiable }
}

/// `bytes=first-last` with either end left out; empty list members are no members.
fn single_range(value: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, ranges) = value.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = ranges.split(',').map(|range| range.trim_matches([' ', '\t'])).filter(|range| !range.is_empty());
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return None };
    let (first, last) = range.split_once('-')?;
    Some((position(first)?, position(last)?))
}

/// Digits of any number: a position beyond 64 bits lies behind the end of every file.
fn position(digits: &str) -> Option<Option<u64>> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let beyond = |digits: &str| digits.parse().unwrap_or(u64::MAX);
    Some((!digits.is_empty()).then(|| beyond(digits)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Selection::*;
    use proptest::prelude::*;

    fn of(values: &[&str], size: u64) -> Selection {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(RANGE, value.parse().unwrap());
        }
        select(&headers, size)
    }

    #[test]
    fn one_range_selects_its_bytes() {
        for (value, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=2-5", Part(2..6)),
            ("bytes=0-9", Part(0..10)),
            ("bytes=5-", Part(5..10)),
            ("bytes=9-9", Part(9..10)),
            ("bytes=9-10", Part(9..10)),
            ("bytes=0-99999999999999999999999", Part(0..10)),
            ("bytes=0-18446744073709551615", Part(0..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-10", Part(0..10)),
            ("bytes=-11", Part(0..10)),
            ("bytes=-99999999999999999999999", Part(0..10)),
            ("BYTES=2-5", Part(2..6)),
            ("bytes= 2-5", Part(2..6)),
            ("bytes=2-5,", Part(2..6)),
            ("bytes=, 2-5 ,", Part(2..6)),
        ] {
            assert_eq!(of(&[value], 10), expected, "{value}");
        }
    }

    #[test]
    fn a_range_outside_the_file_can_not_be_satisfied() {
        for value in ["bytes=10-", "bytes=10-10", "bytes=11-20", "bytes=99999999999999999999999-", "bytes=-0"] {
            assert_eq!(of(&[value], 10), Unsatisfiable, "{value}");
        }
        for value in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(of(&[value], 0), Unsatisfiable, "{value} of nothing");
        }
    }

    #[test]
    fn several_ranges_other_units_and_nonsense_are_the_whole() {
        for value in [
            "bytes=0-1,3-4",
            "bytes=0-1,,3-4",
            "bytes=5-2",
            "bytes=-",
            "bytes=",
            "bytes=,",
            "bytes",
            "bytes 0-1",
            "bytes=a-b",
            "bytes=1-b",
            "bytes=+1-2",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "bytes=--1",
            "bytes=1-2-3",
            "lines=0-1",
            "",
        ] {
            assert_eq!(of(&[value], 10), Whole, "{value}");
        }
        assert_eq!(of(&[], 10), Whole);
        assert_eq!(of(&["bytes=0-1", "bytes=3-4"], 10), Whole);
    }

    proptest! {
        #[test]
        fn a_selected_part_lies_inside_the_file(value in "bytes=[0-9]{0,21}-[0-9]{0,21}", size: u64) {
            if let Part(part) = of(&[&value], size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
