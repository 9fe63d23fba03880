//! A part of every day, in local time.

use jiff::civil::Time;
use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A text that is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no part of a day; write it as \"20:30-05:30\"")]
pub struct ParseWindowError(String);

/// From one wall time to another; it crosses midnight where `from` is later than `to`. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first moment inside.
    pub from: Time,
    /// The first moment outside.
    pub to: Time,
}

impl FromStr for Window {
    type Err = ParseWindowError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseWindowError(text.chars().take(80).collect());
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (wall_time(from).ok_or_else(wrong)?, wall_time(to).ok_or_else(wrong)?);
        (from != to).then_some(Self { from, to }).ok_or_else(wrong)
    }
}

/// `HH:MM`.
fn wall_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !two_digits(hour) || !two_digits(minute) {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.hour(), from.minute(), to.hour(), to.minute())
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_cross_midnight_and_is_never_empty() {
        for right in ["02:30-03:30", "20:30-05:30", "00:00-23:59"] {
            assert_eq!(right.parse::<Window>().unwrap().to_string(), right);
        }
        for wrong in ["", "02:30", "2:30-3:30", "02:30-02:30", "24:00-01:00", "02:60-03:00", "02:30-+3:30"] {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }
}
