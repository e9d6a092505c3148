//! Wall-clock milliseconds, as samples carry them, and durations as people write them. Everything that waits uses tokio's clock instead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; 0 on a machine whose clock stands before it.
#[must_use]
pub fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// A duration in whole milliseconds, as timestamps are counted; saturates.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What a duration must look like.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a duration: write a number and a unit, such as 500ms, 10s, 2m or 1h")]
pub struct BadDuration {
    text: String,
}

/// Reads `500ms`, `10s`, `1.5m` or `2h`.
///
/// # Errors
/// Text without a known unit, a negative or absurd number (over 365 days).
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let bad = || BadDuration { text: text.to_owned() };
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, seconds) = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds))).ok_or_else(bad)?;
    let number: f64 = number.trim().parse().map_err(|_| bad())?;
    let year = 365.0 * 86_400.0;
    Some(number * seconds).filter(|s| (0.0..=year).contains(s)).map(Duration::from_secs_f64).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_remedy() {
        for text in ["", "10", "s", "-1s", "10 days", "NaNs", "inf s", "1e300h"] {
            let error = parse_duration(text).expect_err(text).to_string();
            assert!(error.contains("500ms"), "{error}");
        }
    }
}
