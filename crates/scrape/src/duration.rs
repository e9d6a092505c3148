//! Durations as target labels and error texts write them: `1m30s` (Prometheus' `model.Duration`).

use std::time::Duration;

/// Units in the order in which they have to come, with their milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration: numbers with units, larger units first, each at most once; `0` needs no unit. `None` if it is none or too long for
/// 64 bits of nanoseconds, as in Go.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total, mut units) = (text, 0_u64, UNITS.iter());
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let unit = &after[..after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len())];
        let (_, millis) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*millis)?)?;
        rest = &after[unit.len()..];
    }
    let valid = !text.is_empty() && total.checked_mul(1_000_000).is_some_and(|nanos| i64::try_from(nanos).is_ok());
    valid.then(|| Duration::from_millis(total))
}

/// Writes a duration so that [`parse`] reads it, to the millisecond. Years, weeks and days are only used alone, as in Prometheus.
pub(crate) fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, millis) in UNITS {
        let exact_only = matches!(unit, "y" | "w" | "d");
        if rest < millis || (exact_only && rest % millis != 0) {
            continue;
        }
        text.push_str(&format!("{}{unit}", rest / millis));
        rest %= millis;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        let cases = [
            ("15s", 15_000),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1s500ms", 1_500),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("25h", 90_000_000),
            ("2w", 1_209_600_000),
            ("1y", 31_536_000_000),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(format(Duration::from_millis(millis)), text);
        }
        assert_eq!(parse("0"), Some(Duration::ZERO));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        assert_eq!(parse("1d12h"), Some(Duration::from_secs(36 * 3600)));
        assert_eq!(format(Duration::ZERO), "0s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "1", "s", "1.5s", "-1s", "1s1m", "1s1s", "1 s", "1x", "1ms1s", "ü", "1sü", "99999999999999999999s", "300y"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
