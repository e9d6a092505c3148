//! Sample values and timestamps as Prometheus reads them: Go's `strconv.ParseFloat` without hexadecimal floats and underscores
//! (`model/textparse`: `parseFloat`), and whole milliseconds.

use model::stale::NORMAL_NAN_BITS;

/// Why a value is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not a number at all.
    #[error("value is not a number")]
    Syntax,
    /// A finite number in the text that no 64-bit float can hold.
    #[error("value out of range")]
    Range,
    /// Hexadecimal exponent or digit separator.
    #[error("`p`, `P` and `_` are not allowed in a value")]
    Unsupported,
}

/// Exactly representable powers of ten: with a mantissa below 2^53 one multiplication or division rounds correctly (Clinger 1990).
const POWERS: [f64; 23] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];
/// Mantissas up to here are exact as 64-bit floats.
const MAX_EXACT: u64 = 1 << 53;
/// This many decimal digits always fit into 64 bits.
const MAX_DIGITS: usize = 19;

/// Parses a whole value. NaN comes out with the bits that Prometheus gives to every scraped NaN.
///
/// # Errors
/// [`NumberError`] if Prometheus would not take it: other words than `Inf`, `Infinity` and `NaN` (in any case, NaN without a sign),
/// hexadecimal, underscores, numbers beyond the range of 64-bit floats.
pub fn parse_value(token: &[u8]) -> Result<f64, NumberError> {
    match scan_value(token) {
        Some((value, used)) if used == token.len() => Ok(value),
        _ => parse_any(token),
    }
}

/// Reads the value at the beginning of `bytes`: the value and how many bytes it took. `None` if it is no number, or `bytes` end with it.
#[inline(always)] // a tenth of an unchanged body's cost otherwise
pub(crate) fn read_value(bytes: &[u8]) -> Option<(f64, usize)> {
    if let Some((value, used)) = scan_value(bytes)
        && matches!(bytes.get(used), Some(b'\n' | b' '))
    {
        return Some((value, used));
    }
    let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b' '))?;
    Some((parse_any(&bytes[..end]).ok()?, end))
}

/// `value`, or the NaN that all scraped NaNs become: one with other bits could be taken for a staleness marker.
#[inline]
pub(crate) fn normal(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(NORMAL_NAN_BITS) } else { value }
}

fn parse_any(token: &[u8]) -> Result<f64, NumberError> {
    let (negative, digits) = match token {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, token),
    };
    let unsupported = |byte: &u8| matches!(byte, b'p' | b'P' | b'_');
    let syntax = || if token.iter().any(unsupported) { NumberError::Unsupported } else { NumberError::Syntax };
    if !matches!(digits.first(), Some(b'0'..=b'9' | b'.')) {
        return word(digits, negative, digits.len() < token.len()).ok_or_else(syntax);
    }
    let value: f64 = fast_float2::parse(digits).map_err(|_| syntax())?;
    if value.is_infinite() {
        return Err(NumberError::Range);
    }
    Ok(if negative { -value } else { value })
}

fn word(text: &[u8], negative: bool, signed: bool) -> Option<f64> {
    if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
        return Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    (text.eq_ignore_ascii_case(b"nan") && !signed).then_some(f64::from_bits(NORMAL_NAN_BITS))
}

/// Reads a plain decimal at the beginning of `bytes`: the value and how many bytes it took. `None` if there is none or it needs more
/// than one correctly rounded operation; what follows the number is the caller's to check.
#[inline(always)] // as read_value, which else calls it where there are several visitors
pub(crate) fn scan_value(bytes: &[u8]) -> Option<(f64, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut mantissa = 0;
    let mut at = digits(bytes, start, &mut mantissa);
    let mut count = at - start;
    let mut exponent = 0_i32;
    if bytes.get(at) == Some(&b'.') {
        let end = digits(bytes, at + 1, &mut mantissa);
        let decimals = end - at - 1;
        count += decimals;
        exponent = -(decimals.min(MAX_DIGITS + 1) as i32);
        at = end;
    }
    if count == 0 || count > MAX_DIGITS {
        return None;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let (written, end) = scan_exponent(bytes, at + 1)?;
        exponent += written;
        at = end;
    }
    if mantissa > MAX_EXACT {
        return None;
    }
    let power = POWERS.get(exponent.unsigned_abs() as usize)?;
    let value = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
    Some((if negative { -value } else { value }, at))
}

/// Adds the digits from `at` on to `mantissa` and returns where they end. May wrap around: callers count the digits.
#[inline]
fn digits(bytes: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let (value, count) = digit_block(u64::from_le_bytes(*block));
        *mantissa = mantissa.wrapping_mul(POWERS_U64[count]).wrapping_add(value);
        at += count;
        if count < 8 {
            return at;
        }
    }
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

const POWERS_U64: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number that the leading digits of eight bytes make (the first one lowest), and how many there are: all eight in one word,
/// without a branch per digit (Lemire 2018, "Quickly parsing eight digits").
#[inline]
fn digit_block(block: u64) -> (u64, usize) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let values = block ^ (EACH * u64::from(b'0'));
    // The high bit of each byte that is no digit: above 9, or a byte above 127 before.
    let others = (values.wrapping_add(EACH * 0x76) | values) & (EACH * 0x80);
    let count = (others.trailing_zeros() / 8) as usize;
    if count == 0 {
        return (0, 0);
    }
    // Digits to the high end, so that what is missing in front counts as zeros.
    let values = values << (8 * (8 - count));
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    (low.wrapping_add(high) >> 32, count)
}

#[inline]
fn scan_exponent(bytes: &[u8], mut at: usize) -> Option<(i32, usize)> {
    let negative = bytes.get(at) == Some(&b'-');
    if negative || bytes.get(at) == Some(&b'+') {
        at += 1;
    }
    let mut value = 0;
    let end = digits(bytes, at, &mut value);
    // Four digits are more than any float needs; longer ones go the slow way.
    if end == at || end - at > 4 {
        return None;
    }
    let value = value as i32;
    Some((if negative { -value } else { value }, end))
}

/// Reads the digits of a timestamp at the beginning of `bytes`: milliseconds and how many bytes they took. `None` if there are none or
/// more than always fit into an `i64`.
#[inline]
pub(crate) fn scan_timestamp(bytes: &[u8]) -> Option<(i64, usize)> {
    let mut value = 0;
    let end = digits(bytes, 0, &mut value);
    // 18 digits always fit into an i64.
    (1..MAX_DIGITS).contains(&end).then_some((value as i64, end))
}

/// Reads a timestamp in seconds at the beginning of `bytes`, with a space or newline behind it: milliseconds and how many bytes it took.
/// `None` if it is not a plain decimal.
#[inline]
pub(crate) fn scan_seconds(bytes: &[u8]) -> Option<(i64, usize)> {
    let mut mantissa = 0;
    let mut end = digits(bytes, 0, &mut mantissa);
    let whole = end;
    let mut decimals = 0;
    if bytes.get(whole) == Some(&b'.') {
        end = digits(bytes, whole + 1, &mut mantissa);
        decimals = end - whole - 1;
    }
    if whole == 0 || end > MAX_DIGITS || mantissa > MAX_EXACT || !matches!(bytes.get(end), Some(b'\n' | b' ')) {
        return None;
    }
    // By way of the seconds, as in Prometheus: rounding may take a millisecond away.
    let seconds = mantissa as f64 / POWERS[decimals];
    Some(((seconds * 1000.0) as i64, end))
}

/// Parses digits into milliseconds; `None` beyond 64 bits.
pub(crate) fn parse_timestamp(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |value, byte| value.checked_mul(10)?.checked_add(i64::from(byte.wrapping_sub(b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_go_reads_is_read() {
        let cases: [(&str, f64); 26] = [
            ("0", 0.0),
            ("-0", -0.0),
            ("1", 1.0),
            ("+1", 1.0),
            ("-1.5", -1.5),
            ("5.", 5.0),
            (".5", 0.5),
            ("1e3", 1000.0),
            ("1E+03", 1000.0),
            ("4.9351e-05", 4.9351e-05),
            ("7.424100000000001e-05", 7.424100000000001e-05),
            ("1.7976931348623157e+308", f64::MAX),
            ("5e-324", 5e-324),
            ("1e-400", 0.0),
            ("0e999999", 0.0),
            ("123456789012345678901234567890", 123_456_789_012_345_678_901_234_567_890.0),
            ("0.00000000000000000000000000001", 1e-29),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("Inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("INFINITY", f64::INFINITY),
            ("+infinity", f64::INFINITY),
            ("1e22", 1e22),
            ("1e23", 1e23),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
        ];
        for (text, expected) in cases {
            let got = parse_value(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(got.to_bits(), expected.to_bits(), "{text}");
        }
    }

    #[test]
    fn every_nan_has_the_bits_of_a_scraped_nan() {
        for text in ["NaN", "nan", "NAN"] {
            assert_eq!(parse_value(text.as_bytes()).unwrap().to_bits(), NORMAL_NAN_BITS, "{text}");
        }
    }

    #[test]
    fn what_go_rejects_is_rejected() {
        use NumberError::{Range, Syntax, Unsupported};
        let cases = [
            ("", Syntax),
            ("true", Syntax),
            (".", Syntax),
            ("-", Syntax),
            ("+", Syntax),
            ("--1", Syntax),
            ("+-1", Syntax),
            ("1e", Syntax),
            ("1e+", Syntax),
            ("1.2.3", Syntax),
            ("1\r", Syntax),
            ("infi", Syntax),
            ("infinit", Syntax),
            ("-NaN", Syntax),
            ("+nan", Syntax),
            ("nanx", Syntax),
            ("0x10", Syntax),
            ("1,5", Syntax),
            ("1e400", Range),
            ("-1e400", Range),
            ("1.8e308", Range),
            ("0x1p-3", Unsupported),
            ("0x1P-3", Unsupported),
            ("1_2", Unsupported),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_value(text.as_bytes()).map(f64::to_bits), Err(expected), "{text}");
        }
    }

    #[test]
    fn timestamps_are_whole_milliseconds_of_at_most_64_bits() {
        assert_eq!(scan_timestamp(b"1700000000123\n"), Some((1_700_000_000_123, 13)));
        assert_eq!(scan_timestamp(b"-1"), None);
        assert_eq!(scan_timestamp(b"9999999999999999999"), None);
        assert_eq!(parse_timestamp(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_timestamp(b"9223372036854775808"), None);
    }

    #[test]
    fn seconds_are_read_if_they_are_plain() {
        assert_eq!(scan_seconds(b"1520879607.789\n"), Some((1_520_879_607_789, 14)));
        assert_eq!(scan_seconds(b"17 # {}"), Some((17_000, 2)));
        assert_eq!(scan_seconds(b"5. "), Some((5000, 2)));
        for text in ["", "\n", "-1\n", "1", "1e3\n", "1.5x\n", "1\0\n", ". ", "# {} 1\n", "9007199254740993\n", "12345678901234567890\n"] {
            assert_eq!(scan_seconds(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn both_ways_to_read_seconds_agree(text in "[0-9]{1,10}(\\.[0-9]{0,5})?") {
            let seconds = parse_value(text.as_bytes()).unwrap();
            prop_assert_eq!(scan_seconds(format!("{text}\n").as_bytes()), Some(((seconds * 1000.0) as i64, text.len())));
        }

        #[test]
        fn every_float_survives_every_way_of_writing_it(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [format!("{value}"), format!("{value:e}"), format!("{value:.17e}")] {
                prop_assert_eq!(parse_value(text.as_bytes()).map(f64::to_bits), Ok(bits), "{}", text);
            }
        }

        #[test]
        fn blocks_of_digits_agree_with_digits_one_by_one(text in "[0-9]{0,8}[ -:a-z\u{7f}-\u{ff}]{0,8}[0-9]{0,8}") {
            let block = *text.as_bytes().first_chunk::<8>().unwrap_or(&[b'x'; 8]);
            let count = block.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let value = block[..count].iter().fold(0, |value, byte| value * 10 + u64::from(byte - b'0'));
            prop_assert_eq!(digit_block(u64::from_le_bytes(block)), (value, count));
        }

        #[test]
        fn short_decimals_agree_with_the_standard_library(text in "-?[0-9]{1,12}(\\.[0-9]{0,10})?([eE][+-]?[0-9]{1,3})?") {
            let expected: f64 = text.parse().unwrap();
            let got = parse_value(text.as_bytes());
            if expected.is_infinite() {
                prop_assert_eq!(got.map(f64::to_bits), Err(NumberError::Range));
            } else {
                prop_assert_eq!(got.map(f64::to_bits), Ok(expected.to_bits()));
            }
        }
    }
}
