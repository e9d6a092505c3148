//! Escapes: `\` and what follows it, for single characters and for named classes. Where they may stand is the parser's affair.

use super::{Fault, SyntaxError};

/// A class that matches nothing: what a surrogate code point stands for, as no text can hold one.
pub(super) const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

/// Reads an escape of one character at the start of `text` (which begins with `\`): its code point and what follows.
pub(super) fn character(text: &str) -> Result<(u32, &str), SyntaxError> {
    let mut chars = text.chars();
    chars.next();
    let Some(kind) = chars.next() else { return Err(SyntaxError::new(Fault::TrailingBackslash, "")) };
    let rest = chars.as_str();
    let simple = match kind {
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        'x' => return hexadecimal(text, rest),
        // A single non-zero digit would be a back reference, which RE2 has not.
        '0' => return Ok(octal(&text[1..])),
        '1'..='7' if rest.starts_with(|c: char| c.is_digit(8)) => return Ok(octal(&text[1..])),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return Err(invalid(text, rest)),
    };
    Ok((simple, rest))
}

/// Up to three octal digits at the start of `text`.
fn octal(text: &str) -> (u32, &str) {
    let digits = text.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let value = text[..digits].bytes().fold(0, |value, digit| value * 8 + u32::from(digit - b'0'));
    (value, &text[digits..])
}

/// `\x41` or `\x{1F600}`; `rest` is what follows the `x`.
fn hexadecimal<'t>(text: &'t str, rest: &'t str) -> Result<(u32, &'t str), SyntaxError> {
    if let Some(inner) = rest.strip_prefix('{') {
        let Some((digits, after)) = inner.split_once('}') else { return Err(invalid(text, "")) };
        let value = if digits.bytes().all(|b| b.is_ascii_hexdigit()) { u32::from_str_radix(digits, 16).ok() } else { None };
        return match value {
            Some(value) if value <= 0x10_ffff => Ok((value, after)),
            _ => Err(invalid(text, after)),
        };
    }
    let end = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
    let (digits, after) = rest.split_at(end);
    if digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return u32::from_str_radix(digits, 16).map(|value| (value, after)).map_err(|_| invalid(text, after));
    }
    Err(invalid(text, after))
}

fn invalid(text: &str, rest: &str) -> SyntaxError {
    SyntaxError::new(Fault::Escape, &text[..text.len() - rest.len()])
}

/// `\d \D \s \S \w \W` at the start of `text`, which are ASCII in RE2: the class in brackets, and what follows.
pub(super) fn perl_class(text: &str) -> Option<(&'static str, &str)> {
    let class = match text.as_bytes().get(..2)? {
        br"\d" => "[0-9]",
        br"\D" => "[^0-9]",
        // Without \v, other than POSIX [:space:].
        br"\s" => r"[\t\n\f\r ]",
        br"\S" => r"[^\t\n\f\r ]",
        br"\w" => "[0-9A-Za-z_]",
        br"\W" => "[^0-9A-Za-z_]",
        _ => return None,
    };
    Some((class, &text[2..]))
}

/// `\pL`, `\p{Greek}`, `\P{^Lu}` at the start of `text`: the class, and what follows. `None` if there is none.
pub(super) fn unicode_class(text: &str) -> Result<Option<(String, &str)>, SyntaxError> {
    let Some(inner) = text.strip_prefix(r"\p").or_else(|| text.strip_prefix(r"\P")) else { return Ok(None) };
    let (name, rest) = if let Some(braced) = inner.strip_prefix('{') {
        braced.split_once('}').ok_or_else(|| SyntaxError::new(Fault::CharRange, text))?
    } else {
        inner.split_at(inner.chars().next().map_or(0, char::len_utf8))
    };
    let (name, negated) = match name.strip_prefix('^') {
        Some(name) => (name, !text.starts_with(r"\P")),
        None => (name, text.starts_with(r"\P")),
    };
    match unicode_table(name, negated) {
        Some(class) => Ok(Some((class, rest))),
        None => Err(SyntaxError::new(Fault::CharRange, &text[..text.len() - rest.len()])),
    }
}

/// The Rust spelling of a general category or a script. Other properties, which Rust knows and Go does not, are refused.
fn unicode_table(name: &str, negated: bool) -> Option<String> {
    if !name.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-' | b' ')) || name.is_empty() {
        return None;
    }
    if name.eq_ignore_ascii_case("cs") {
        let class = if negated { r"[\x{0}-\x{10FFFF}]" } else { NOTHING };
        return Some(class.to_owned());
    }
    let letter = if negated { 'P' } else { 'p' };
    ["gc", "sc"].into_iter().map(|table| format!(r"\{letter}{{{table}={name}}}")).find(|class| regex_syntax::parse(class).is_ok())
}
