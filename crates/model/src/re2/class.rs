//! Bracketed classes. RE2 knows ranges, escapes and `[:names:]` in them, but no nested classes and no set operations, so every character
//! that comes out is written as a code point.

use std::fmt::Write;

use super::escape::{self, NOTHING};
use super::{Fault, SyntaxError};

/// Names between `[:` and `:]`.
const POSIX: [&str; 14] =
    ["alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit"];

const SURROGATES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;

/// Reads the class at the start of `text` (which begins with `[`): its translation, and what follows.
pub(super) fn bracketed(text: &str) -> Result<(String, &str), SyntaxError> {
    let mut out = String::from("[");
    let mut rest = &text[1..];
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true; // `]` is a character in the first place
    while first || !rest.starts_with(']') {
        first = false;
        rest = item(rest, text, &mut out)?;
    }
    out.push(']');
    Ok((out, &rest[1..]))
}

/// Reads one item of the class `whole` at the start of `rest`.
fn item<'t>(rest: &'t str, whole: &str, out: &mut String) -> Result<&'t str, SyntaxError> {
    if let Some(after) = posix(rest, out)? {
        return Ok(after);
    }
    if let Some((class, after)) = escape::unicode_class(rest)? {
        out.push_str(&class);
        return Ok(after);
    }
    if let Some((class, after)) = escape::perl_class(rest) {
        out.push_str(class);
        return Ok(after);
    }
    let (low, mut after) = character(rest, whole)?;
    let mut high = low;
    if let Some(upper) = after.strip_prefix('-').filter(|upper| !upper.is_empty() && !upper.starts_with(']')) {
        (high, after) = character(upper, whole)?;
        if high < low {
            return Err(SyntaxError::new(Fault::CharRange, &rest[..rest.len() - after.len()]));
        }
    }
    push_range(low, high, out);
    Ok(after)
}

fn posix<'t>(rest: &'t str, out: &mut String) -> Result<Option<&'t str>, SyntaxError> {
    // Without an end this is no name, and the bracket a character.
    let Some((name, after)) = rest.strip_prefix("[:").and_then(|inner| inner.split_once(":]")) else { return Ok(None) };
    if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Err(SyntaxError::new(Fault::CharRange, &rest[..rest.len() - after.len()]));
    }
    out.push_str("[:");
    out.push_str(name);
    out.push_str(":]");
    Ok(Some(after))
}

fn character<'t>(rest: &'t str, whole: &str) -> Result<(u32, &'t str), SyntaxError> {
    let mut chars = rest.chars();
    match chars.next() {
        None => Err(SyntaxError::new(Fault::MissingBracket, whole)),
        Some('\\') => escape::character(rest),
        Some(c) => Ok((u32::from(c), chars.as_str())),
    }
}

/// Writes a range without the surrogates, which Rust refuses and no text holds.
fn push_range(low: u32, high: u32, out: &mut String) {
    let low = if SURROGATES.contains(&low) { SURROGATES.end() + 1 } else { low };
    let high = if SURROGATES.contains(&high) { SURROGATES.start() - 1 } else { high };
    // Writing to a string can't fail.
    let _ = if low > high { out.write_str(NOTHING) } else { write!(out, r"\x{{{low:x}}}-\x{{{high:x}}}") };
}
