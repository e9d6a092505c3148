//! Numbers and strings: how far they reach, and what they mean.

use super::{Lexer, described};
use crate::diagnostics::Diagnostic;
use crate::position::{Position, Span};
use crate::token::TokenKind;
use crate::value::Number;

impl Lexer<'_> {
    pub(super) fn number(&mut self, start: Position) -> TokenKind {
        let digit = |character: char| character.is_ascii_digit();
        let mut kind = TokenKind::Number;
        self.bump_while(digit);
        if self.eat('.') {
            kind = TokenKind::Float;
            self.bump_while(digit);
        }
        if self.peek().is_some_and(|next| matches!(next, 'e' | 'E')) {
            kind = TokenKind::Float;
            self.bump();
            if !self.eat('+') {
                self.eat('-');
            }
            let digits = self.offset;
            self.bump_while(digit);
            if self.offset == digits {
                self.error(start, "exponent has no digits");
            }
        }
        kind
    }

    pub(super) fn string(&mut self, start: Position) -> TokenKind {
        let quote = self.bump().unwrap_or('"');
        loop {
            match self.peek() {
                None => return self.unterminated(start),
                Some('\n') if quote != '`' => return self.unterminated(start),
                Some(character) => {
                    self.bump();
                    if character == quote {
                        break;
                    }
                    if character == '\\' && quote == '"' {
                        self.check_escape();
                    }
                }
            }
        }
        if quote == '\'' {
            self.warn_single_quotes(start);
        }
        TokenKind::String
    }

    fn unterminated(&mut self, start: Position) -> TokenKind {
        self.error(start, "string literal not terminated");
        TokenKind::String
    }

    fn warn_single_quotes(&mut self, start: Position) {
        let span = Span::new(start, self.position());
        let text = self.source.get(span.range()).unwrap_or_default();
        let portable = portable_string(text);
        self.diagnostics.push(
            Diagnostic::warning(&self.file, span, "single-quoted strings are not portable; use double quotes")
                .with_help(Some(format!("write {portable}, which Alloy understands as well"))),
        );
    }

    /// Checks what follows a backslash; stops in front of what does not belong there.
    fn check_escape(&mut self) {
        let start = self.position();
        let (digits, radix, max) = match self.peek() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | '"') => {
                self.bump();
                return;
            }
            Some('0'..='7') => (3, 8, 0xff),
            Some('x') => (2, 16, 0xff),
            Some('u') => (4, 16, 0x10_ffff),
            Some('U') => (8, 16, 0x10_ffff),
            None => return self.error(start, "escape sequence not terminated"),
            Some(_) => return self.error(start, "unknown escape sequence"),
        };
        if radix == 16 {
            self.bump();
        }
        let mut code = 0_u32;
        for _ in 0..digits {
            let Some(next) = self.peek() else { return self.error(start, "escape sequence not terminated") };
            let Some(digit) = next.to_digit(radix) else {
                return self.error(start, format!("illegal character {} in escape sequence", described(next)));
            };
            code = code.wrapping_mul(radix).wrapping_add(digit);
            self.bump();
        }
        if code > max || (0xd800..0xe000).contains(&code) {
            self.error(start, "escape sequence is invalid Unicode code point");
        }
    }
}

/// A single-quoted literal in a spelling that Alloy knows: plain if nothing in it needs care, raw if it can be.
/// Between single quotes nothing is escaped, as between backticks.
pub(crate) fn portable_string(literal: &str) -> String {
    let inner = literal.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(literal);
    if !inner.contains(['"', '\\']) {
        format!("\"{inner}\"")
    } else if !inner.contains('`') {
        format!("`{inner}`")
    } else {
        crate::literal::quoted(inner)
    }
}

/// What a number literal means: digits are octal after a leading zero where they can be, and become a float where
/// they fit no integer. `None` if the number is too large for a float.
pub(crate) fn number_value(text: &str) -> Option<Number> {
    let octal = text.strip_prefix('0').filter(|rest| !rest.is_empty());
    let (digits, radix) = octal.map_or((text, 10), |rest| (rest, 8));
    if let Ok(value) = i64::from_str_radix(digits, radix) {
        return Some(Number::Int(value));
    }
    if let Ok(value) = u64::from_str_radix(digits, radix) {
        return Some(Number::Uint(value));
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Number::Float)
}

/// What a string literal means; bytes, since escapes can spell any. The lexer has accepted the literal.
pub(crate) fn string_value(literal: &str) -> Vec<u8> {
    let mut characters = literal.chars();
    let quote = characters.next();
    characters.next_back();
    let inner = characters.as_str();
    if quote == Some('"') {
        unescape(inner)
    } else {
        // Raw strings lose their carriage returns.
        inner.bytes().filter(|byte| *byte != b'\r').collect()
    }
}

fn unescape(inner: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        rest = unescape_one(escape, &mut bytes);
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Takes one escape off the beginning of `text`, without its backslash.
fn unescape_one<'a>(text: &'a str, bytes: &mut Vec<u8>) -> &'a str {
    let Some(first) = text.chars().next() else { return text };
    let (after_letter, skip) = (text.get(first.len_utf8()..).unwrap_or_default(), first.len_utf8());
    let simple = match first {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '"' => first as u8,
        'x' => return unescape_code(text, skip, 2, 16, bytes),
        'u' => return unescape_code(text, skip, 4, 16, bytes),
        'U' => return unescape_code(text, skip, 8, 16, bytes),
        _ => return unescape_code(text, 0, 3, 8, bytes),
    };
    bytes.push(simple);
    after_letter
}

fn unescape_code<'a>(text: &'a str, skip: usize, digits: usize, radix: u32, bytes: &mut Vec<u8>) -> &'a str {
    let code = text.get(skip..skip + digits).and_then(|digits| u32::from_str_radix(digits, radix).ok());
    let Some(code) = code else { return text };
    match (digits, u8::try_from(code)) {
        (2 | 3, Ok(byte)) => bytes.push(byte),
        _ => {
            let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    text.get(skip + digits..).unwrap_or_default()
}
