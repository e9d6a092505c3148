//! How OpenMetrics writes floats in `le` and `quantile`. Prometheus 3 rewrites those label values to this form, so that a bucket has one
//! name whatever its exporter writes (`model/labels`: `FormatOpenMetricsFloat`).

use std::fmt::Write as _;

/// Beyond these decimal exponents Go's shortest `%g` switches to scientific notation.
const PLAIN_EXPONENTS: std::ops::Range<i32> = -4..6;

/// `value` as OpenMetrics wants it in label values: always with a point or an exponent, the shortest digits that round-trip.
#[must_use]
pub fn open_metrics_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return "0.0".to_owned();
    }
    let (mantissa, exponent) = shortest(value);
    if PLAIN_EXPONENTS.contains(&exponent) {
        return plain(&mantissa, exponent);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let mut text = mantissa;
    let _ = write!(text, "e{sign}{:02}", exponent.unsigned_abs());
    text
}

/// The shortest digits that round-trip, with a point behind the first one, and the decimal exponent. Of two that are equally near Go
/// takes the even one, the standard library the larger.
fn shortest(value: f64) -> (String, i32) {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    // 17 digits suffice for every float, so a tie between two of them shows in the 18th, and zeros follow.
    let exact = format!("{value:.30e}");
    let exact = exact.split('e').next().unwrap_or_default().trim_end_matches('0');
    let even = exact.strip_suffix('5').filter(|even| even.len() == mantissa.len() && even.ends_with(['0', '2', '4', '6', '8']));
    let mantissa = even.filter(|even| format!("{even}e{exponent}").parse() == Ok(value)).unwrap_or(mantissa);
    (mantissa.to_owned(), exponent.parse().unwrap_or(0))
}

/// The number without an exponent, with at least one digit behind the point.
fn plain(mantissa: &str, exponent: i32) -> String {
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let mut digits = mantissa.replace('.', "");
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1));
    }
    let point = exponent as usize + 1;
    while digits.len() <= point {
        digits.push('0');
    }
    digits.insert(point, '.');
    format!("{sign}{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_go_writes_them() {
        let cases = [
            (1.0, "1.0"),
            (0.0, "0.0"),
            (-0.0, "0.0"),
            (-1.0, "-1.0"),
            (10.0, "10.0"),
            (0.25, "0.25"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (100_000.0, "100000.0"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (123_456.7, "123456.7"),
            (1e21, "1e+21"),
            (1e-100, "1e-100"),
            (2.5e300, "2.5e+300"),
            (-0.05, "-0.05"),
            (123_450.0, "123450.0"),
            // 1.50000762939453125 and 1.00000762939453375: two are equally near.
            (1.5 + 2_f64.powi(-17), "1.5000076293945312"),
            (-1.5 - 2_f64.powi(-17), "-1.5000076293945312"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, text) in cases {
            assert_eq!(open_metrics_float(value), text);
        }
    }
}
