//! Floats in Go's `%e`, `%f`, `%g`, `%x` and `%b`.

/// Digits that `%g` shows before it turns to an exponent, if no precision is given.
const SHORTEST_LIMIT: usize = 6;

/// The digits of a finite float without its sign. Without precision: as many digits as are needed. `sharp` keeps the
/// decimal point and the zeros behind it.
pub(super) fn digits(number: f64, verb: char, precision: Option<usize>, sharp: bool) -> String {
    let number = number.abs();
    let text = match verb {
        'e' | 'E' => exponent(number, precision, verb),
        'f' | 'F' => match precision {
            Some(precision) => format!("{number:.precision$}"),
            None => format!("{number}"),
        },
        'x' => return hexadecimal(number, precision, sharp),
        'X' => return hexadecimal(number, precision, sharp).to_uppercase(),
        'b' => return binary(number),
        _ => general(number, precision, if verb == 'G' { 'E' } else { 'e' }),
    };
    if !sharp {
        return text;
    }
    let significant = if matches!(verb, 'e' | 'E' | 'f' | 'F') { 0 } else { precision.unwrap_or(6) };
    with_point(&text, significant)
}

/// `1.5e+06`: Rust's exponents have neither sign nor leading zero.
fn exponent(number: f64, precision: Option<usize>, letter: char) -> String {
    let rust = match precision {
        Some(precision) => format!("{number:.precision$e}"),
        None => format!("{number:e}"),
    };
    let (mantissa, exponent) = rust.split_once('e').unwrap_or((&rust, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{mantissa}{letter}{sign}{exponent:0>2}")
}

/// Decimal or with exponent, whichever is usual for the size. The precision counts all digits.
fn general(number: f64, precision: Option<usize>, letter: char) -> String {
    let significant = precision.map(|precision| precision.max(1));
    let scientific = match significant {
        Some(significant) => format!("{number:.after$e}", after = significant - 1),
        None => format!("{number:e}"),
    };
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: isize = power.parse().unwrap_or(0);
    let shown = mantissa.trim_end_matches('0').bytes().filter(u8::is_ascii_digit).count();
    let before_point = usize::try_from(power + 1).unwrap_or(0);
    let limit = match significant {
        None => SHORTEST_LIMIT,
        Some(significant) if significant > shown && shown >= before_point => shown,
        Some(significant) => significant,
    };
    if power < -4 || power >= isize::try_from(limit).unwrap_or(isize::MAX) {
        return trimmed(&exponent(number, significant.map(|significant| significant - 1), letter), letter);
    }
    match significant {
        Some(significant) => {
            let after = isize::try_from(significant).unwrap_or(isize::MAX) - 1 - power;
            trimmed(&format!("{number:.after$}", after = usize::try_from(after).unwrap_or(0)), letter)
        }
        None => format!("{number}"),
    }
}

/// Without zeros at the end of the fraction.
fn trimmed(text: &str, letter: char) -> String {
    let (mantissa, exponent) = text.find(letter).map_or((text, ""), |at| text.split_at(at));
    if !mantissa.contains('.') {
        return text.to_owned();
    }
    format!("{}{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
}

/// With a decimal point in any case, and with zeros up to so many significant digits.
fn with_point(text: &str, significant: usize) -> String {
    let (mantissa, exponent) = text.find(['e', 'E']).map_or((text, ""), |at| text.split_at(at));
    let digits = mantissa.bytes().filter(u8::is_ascii_digit);
    // A zero before the point counts only if it is all there is.
    let shown = if mantissa == "0" { 1 } else { digits.skip_while(|digit| *digit == b'0').count() };
    let point = if mantissa.contains('.') { "" } else { "." };
    let zeros = "0".repeat(significant.saturating_sub(shown));
    format!("{mantissa}{point}{zeros}{exponent}")
}

const MANTISSA_BITS: i32 = 52;
const MANTISSA_MASK: u64 = (1 << MANTISSA_BITS) - 1;
const EXPONENT_BIAS: i32 = 1023;

/// Mantissa and power of two, as the bits have them: the number is `mantissa · 2^power`.
fn parts(number: f64) -> (u64, i32) {
    let bits = number.to_bits();
    let exponent = i32::try_from(bits >> MANTISSA_BITS & 0x7ff).unwrap_or(0);
    let mantissa = bits & MANTISSA_MASK;
    match exponent {
        0 => (mantissa, 1 - EXPONENT_BIAS - MANTISSA_BITS),
        _ => (mantissa | (1 << MANTISSA_BITS), exponent - EXPONENT_BIAS - MANTISSA_BITS),
    }
}

/// `4503599627370496p-52`
fn binary(number: f64) -> String {
    let (mantissa, power) = parts(number);
    format!("{mantissa}p{power:+}")
}

/// `0x1.8p+01`
fn hexadecimal(number: f64, precision: Option<usize>, sharp: bool) -> String {
    let (mut mantissa, mut power) = parts(number);
    if mantissa == 0 {
        let zeros = precision.filter(|precision| *precision > 0).map_or(String::new(), |n| format!(".{}", "0".repeat(n)));
        return format!("0x0{zeros}p+00");
    }
    // The leading one to bit 60, so that fifteen whole digits follow it.
    let shift = mantissa.leading_zeros().saturating_sub(3);
    mantissa <<= shift;
    power += 60 - i32::try_from(shift).unwrap_or(0);
    if let Some(precision) = precision.filter(|precision| *precision < 15) {
        // Round half to even.
        let extra = u32::try_from((15 - precision) * 4).unwrap_or(0);
        let half = 1_u64 << (extra - 1);
        let odd = mantissa >> extra & 1;
        mantissa = (mantissa + half - 1 + odd) >> extra << extra;
        if mantissa >> 61 != 0 {
            mantissa >>= 1;
            power += 1;
        }
    }
    let digits = format!("{:015x}", mantissa & ((1 << 60) - 1));
    let digits = match precision {
        Some(precision) => format!("{digits:0<precision$}").chars().take(precision).collect(),
        None => digits.trim_end_matches('0').to_owned(),
    };
    let point = if digits.is_empty() && !sharp { "" } else { "." };
    let (sign, power) = if power < 0 { ('-', -power) } else { ('+', power) };
    format!("0x1{point}{digits}p{sign}{power:02}")
}
