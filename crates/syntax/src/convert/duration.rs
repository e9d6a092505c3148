//! Durations in Go's spelling: `1h30m`, `1.5s`, `500ms`.

use std::time::Duration;

use super::{FromValue, Shape, ToValue, ValueError, text_from_value};
use crate::value::Value;

/// Units and their length in nanoseconds, as Go's `time.ParseDuration` knows them.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Go's durations are nanoseconds in an `i64`: about 292 years.
const MAX_NANOS: u128 = i64::MAX as u128;

/// Reads a duration as Go does: a sequence of numbers, each with a unit of `ns us ms s m h`, or `0`.
///
/// # Errors
/// Go's own words: `time: missing unit in duration "5"`; days and weeks are not known. Negative durations are refused.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    if unsigned.is_empty() {
        return Err(invalid(text));
    }
    let mut rest = unsigned;
    let mut total = 0_u128;
    while !rest.is_empty() {
        let (nanos, remaining) = parse_part(rest, text)?;
        total += nanos;
        if total > MAX_NANOS {
            return Err(invalid(text));
        }
        rest = remaining;
    }
    if text.starts_with('-') && total > 0 {
        return Err(format!("duration {text:?} must not be negative"));
    }
    Ok(from_nanos(total))
}

fn invalid(text: &str) -> String {
    format!("time: invalid duration {text:?}")
}

/// One number with its unit, in nanoseconds, and what follows it.
fn parse_part<'a>(part: &'a str, whole: &str) -> Result<(u128, &'a str), String> {
    let (integer, rest) = split_digits(part);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), split_digits);
    if integer.is_empty() && fraction.is_empty() {
        return Err(invalid(whole));
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    if unit.is_empty() {
        return Err(format!("time: missing unit in duration {whole:?}"));
    }
    let nanos = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, nanos)| u128::from(*nanos))
        .ok_or_else(|| format!("time: unknown unit {unit:?} in duration {whole:?}"))?;
    let whole_units: u128 = if integer.is_empty() { 0 } else { integer.parse().map_err(|_| invalid(whole))? };
    let whole_nanos = whole_units.checked_mul(nanos).filter(|n| *n <= MAX_NANOS).ok_or_else(|| invalid(whole))?;
    Ok((whole_nanos + fraction_nanos(fraction, nanos), rest))
}

/// `0.fraction` of a unit, truncated to nanoseconds. Digits beyond the 18th cannot matter.
fn fraction_nanos(fraction: &str, unit: u128) -> u128 {
    let digits = fraction.get(..18).unwrap_or(fraction);
    let scale = 10_u128.pow(u32::try_from(digits.len()).unwrap_or(18));
    digits.parse::<u128>().map_or(0, |value| value * unit / scale)
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `total` is at most [`MAX_NANOS`].
fn from_nanos(total: u128) -> Duration {
    Duration::from_nanos(u64::try_from(total).unwrap_or(u64::MAX))
}

/// Writes a duration as Go does: `1m30s`, `1h0m0s`, `1.5s`, `500ms`, `0s`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit, length) = match nanos {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("\u{b5}s", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{}{unit}", decimal(nanos, length));
    }
    let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
    let seconds = decimal(rest, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `nanos / unit` with as many decimals as needed; `unit` is a power of ten.
fn decimal(nanos: u128, unit: u128) -> String {
    let (whole, fraction) = (nanos / unit, nanos % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{fraction:0width$}").trim_end_matches('0'))
}

impl FromValue for Duration {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        if value.is_null() {
            return Ok(Self::ZERO);
        }
        parse_duration(&text_from_value(value)?).map_err(ValueError::custom)
    }

    fn type_name() -> String {
        "duration".to_owned()
    }

    fn shape() -> Shape {
        Shape::Scalar
    }
}

impl ToValue for Duration {
    fn to_value(&self) -> Value {
        Value::String(format_duration(*self).into())
    }
}
