//! Sizes, rates and durations as people write and read them. Pure.

use std::time::Duration;

const STEPS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// `1.5 GiB`, `812 B`.
pub fn bytes(n: u64) -> String {
    match STEPS.iter().find(|(_, size)| n >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", n as f64 / *size as f64),
        None => format!("{n} B"),
    }
}

/// `1 file`, `2 files`.
pub fn count(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// `3 d 4 h`, `12 min`, `850 ms`: at most two units.
pub fn duration(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0 => format!("{} ms", d.as_millis()),
        1..60 => format!("{:.1} s", d.as_secs_f64()),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86400, s % 86400 / 3600),
    }
}

/// `2026-07-14 13:54Z`, of seconds since 1970 UTC; none for what no calendar has.
pub fn date(unix_seconds: i64) -> Option<String> {
    jiff::Timestamp::from_second(unix_seconds).ok().map(|at| at.strftime("%Y-%m-%d %H:%MZ").to_string())
}

/// Reads a size: a number and one of B, KB, KiB, MB, MiB, GB, GiB, TB, TiB; blanks and case ignored.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let factor: u64 = match unit.as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        "tb" => 1_000_000_000_000,
        "tib" => 1 << 40,
        _ => return None,
    };
    scaled(number, factor)
}

/// Reads a duration: a number and one of `s m h d w`; blanks and case ignored; a bare number is days.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_number(text)?;
    let seconds = match unit.as_str() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "" | "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    scaled(number, seconds).map(Duration::from_secs)
}

fn split_number(text: &str) -> Option<(f64, String)> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    Some((number.parse().ok()?, unit.to_owned()))
}

fn scaled(number: f64, factor: u64) -> Option<u64> {
    let n = number * factor as f64;
    (n.is_finite() && n < u64::MAX as f64).then_some(n as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_administrators_write_them() {
        assert_eq!(parse_bytes("5 GiB"), Some(5 << 30));
        assert_eq!(parse_bytes("1.5gb"), Some(1_500_000_000));
        assert_eq!(parse_bytes("77"), Some(77));
        for wrong in ["", "GiB", "5 parsecs", "-1 GiB", "1e30 TiB"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_bare_number_is_days() {
        assert_eq!(parse_duration("7"), Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse_duration(" 12 H "), Some(Duration::from_secs(43_200)));
        assert_eq!(parse_duration("30m"), Some(Duration::from_secs(1_800)));
        assert_eq!(parse_duration("soon"), None);
    }

    #[test]
    fn numbers_are_shown_in_at_most_two_units() {
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(duration(Duration::from_millis(850)), "850 ms");
        assert_eq!(duration(Duration::from_secs(90_000)), "1 d 1 h");
    }
}
