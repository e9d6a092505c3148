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
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a duration: write numbers with units, such as 500ms, 10s, 2m or 1h30m")]
pub struct BadDuration {
    text: String,
}

/// Reads a duration as configurations have it: `500ms`, `10s`, `1.5m` or `1h30m`.
///
/// # Errors
/// Text without a known unit, a negative or absurd number (over 365 days).
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let parsed = syntax::parse_duration(text.trim()).ok().filter(|d| *d <= YEAR);
    parsed.ok_or_else(|| BadDuration { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_remedy() {
        for text in ["", "10", "s", "-1s", "10 days", "NaNs", "inf s", "1e300h"] {
            let error = parse_duration(text).expect_err(text).to_string();
            assert!(error.contains("500ms"), "{error}");
        }
    }
}
