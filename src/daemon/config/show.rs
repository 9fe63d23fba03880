//! How values are written back for `config show`, so that reading them again gives the same.

use serde::{Serialize, Serializer};
use std::{fmt::Display, time::Duration};

const SIZES: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const PERIODS: [(&str, u64); 3] = [("d", 86_400), ("h", 3_600), ("m", 60)];

/// Bytes in the largest unit that loses nothing.
pub(super) fn size<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&size_text(*bytes))
}

/// Bytes, or an empty text.
pub(super) fn optional_size<S: Serializer>(bytes: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&bytes.map(size_text).unwrap_or_default())
}

/// A duration in the largest unit that loses nothing.
pub(super) fn period<S: Serializer>(period: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&period_text(*period))
}

/// A value, or an empty text.
pub(super) fn optional<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => "".serialize(to),
    }
}

/// A path, or an empty text.
pub(super) fn optional_path<S: Serializer>(path: &Option<std::path::PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    optional(&path.as_ref().map(|path| path.display()), to)
}

/// `30m`, `3d`.
pub(super) fn period_text(period: Duration) -> String {
    in_largest_unit(period.as_secs(), &PERIODS)
        .map_or(format!("{}s", period.as_secs()), |(n, unit)| format!("{n}{unit}"))
}

fn size_text(bytes: u64) -> String {
    in_largest_unit(bytes, &SIZES).map_or(format!("{bytes} B"), |(n, unit)| format!("{n} {unit}"))
}

fn in_largest_unit(n: u64, units: &[(&'static str, u64)]) -> Option<(u64, &'static str)> {
    let (unit, size) = units.iter().find(|(_, size)| n >= *size && n.is_multiple_of(*size))?;
    Some((n / size, unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units;

    #[test]
    fn sizes_and_durations_read_back_as_what_they_were() {
        for bytes in [0, 1, 1023, 1024, 1_000_000, 5 << 30, (5 << 30) + 1, 3 << 40] {
            assert_eq!(units::parse_bytes(&size_text(bytes)), Some(bytes), "{}", size_text(bytes));
        }
        for seconds in [0, 59, 60, 90, 3_600, 86_400, 259_200, 86_401] {
            let period = Duration::from_secs(seconds);
            assert_eq!(units::parse_duration(&period_text(period)), Some(period), "{}", period_text(period));
        }
    }

    #[test]
    fn the_largest_unit_without_loss_is_taken() {
        assert_eq!((size_text(5 << 30), size_text(1_536)), ("5 GiB".to_owned(), "1536 B".to_owned()));
        assert_eq!(period_text(Duration::from_secs(1_800)), "30m");
    }
}
