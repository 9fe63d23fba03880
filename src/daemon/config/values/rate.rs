//! How fast bytes may travel.

use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate; write it as \"50 Mbit/s\"")]
pub struct ParseRateError(String);

/// Bits per second, as lines are sold. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    /// Bits in a second.
    pub bits_per_second: u64,
}

impl Rate {
    /// Whole bytes in a second, at least one.
    pub fn bytes_per_second(self) -> u64 {
        (self.bits_per_second / 8).max(1)
    }
}

const UNITS: [(&str, u64); 4] = [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000), ("bit/s", 1)];

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseRateError(text.chars().take(80).collect()))
    }
}

fn parse(text: &str) -> Option<Rate> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let bits = number.parse::<f64>().ok()? * *factor as f64;
    (1.0..u64::MAX as f64).contains(&bits).then_some(Rate { bits_per_second: bits as u64 })
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().find(|(_, size)| self.bits_per_second.is_multiple_of(*size));
        let (unit, size) = exact.unwrap_or(&("bit/s", 1));
        write!(f, "{} {unit}", self.bits_per_second / size)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_in_bits_and_written_without_loss() {
        for (text, bits, shown) in [
            ("50 Mbit/s", 50_000_000, "50 Mbit/s"),
            ("1.5mbit/s", 1_500_000, "1500 kbit/s"),
            ("64 kbit/s", 64_000, "64 kbit/s"),
            ("1 bit/s", 1, "1 bit/s"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.bits_per_second, rate.to_string()), (bits, shown.to_owned()));
            assert_eq!(rate.bytes_per_second(), (bits / 8).max(1));
        }
    }

    #[test]
    fn bytes_and_nothing_are_no_rate() {
        for wrong in ["", "50", "50 MB/s", "0 Mbit/s", "-1 Mbit/s", "1e99 Gbit/s", "Mbit/s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
