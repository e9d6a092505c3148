//! Any line of Prometheus' own text format.

use memchr::{memchr2, memrchr};

use super::Parser;
use crate::comment::{self, Comment};
use crate::error::{Error, Reason};
use crate::number::{parse_timestamp, parse_value};
use crate::series::{Series, Stop, is_space, skip_spaces, skip_while};
use crate::visitor::Visitor;

impl Parser {
    /// Any line: how many bytes it took, or `None` if it isn't complete.
    pub(super) fn text_line<V: Visitor>(&mut self, rest: &[u8], visitor: &mut V) -> Result<Option<usize>, Error<V::Error>> {
        let Some(newline) = self.newline(rest)? else { return Ok(None) };
        let start = skip_spaces(rest, 0);
        let end = match rest[start] {
            b'\n' => Ok(newline),
            b'#' => self.comment(rest, start, newline, visitor),
            0 => {
                // As in Prometheus: a NUL where a line could begin is the end of the body.
                self.ended = true;
                Ok(newline)
            }
            _ => match self.known_series(rest, newline, visitor)? {
                Some(end) => Ok(end),
                None => return self.new_series(rest, visitor),
            },
        };
        if end == Ok(newline) {
            self.line += 1;
            return Ok(Some(newline + 1));
        }
        self.complete(rest, end)
    }

    fn comment<V: Visitor>(&mut self, rest: &[u8], hash: usize, newline: usize, visitor: &mut V) -> Result<usize, Stop> {
        let view = self.view(rest);
        match comment::read(view, hash, newline, visitor.wants_metadata())? {
            Comment::Plain(end) => Ok(end),
            Comment::About { kind, entry, end } => {
                self.kind = kind.unwrap_or(self.kind);
                self.typed |= kind.is_some();
                if let Some(entry) = entry {
                    visitor.metadata(entry);
                }
                Ok(end)
            }
            Comment::EndOfBody => {
                self.ended = true;
                Ok(newline)
            }
        }
    }

    /// A series that the visitor knows, though it didn't expect it here: its end is guessed, and the guess is right if it is known.
    fn known_series<V: Visitor>(&mut self, rest: &[u8], newline: usize, visitor: &mut V) -> Result<Option<usize>, Error<V::Error>> {
        let Some(end) = guess_end(&rest[..newline]) else { return Ok(None) };
        let Some(row) = visitor.find(&rest[..end]) else { return Ok(None) };
        match suffix(rest, end) {
            Ok(suffix) => {
                visitor.sample(row, suffix.value, suffix.timestamp).map_err(Error::Refused)?;
                Ok(Some(suffix.end))
            }
            Err(Stop::Bad(reason)) => Err(self.error(rest, reason)),
            Err(Stop::More) => Ok(None),
        }
    }

    /// A series that has to be lexed: it is new, or spans lines, or its end was guessed wrongly.
    fn new_series<V: Visitor>(&mut self, rest: &[u8], visitor: &mut V) -> Result<Option<usize>, Error<V::Error>> {
        let view = self.view(rest);
        let parts = self.spans.lex(view).and_then(|end| Ok((end, suffix(view, end)?)));
        let (end, suffix) = match parts {
            Ok(parts) if parts.1.end <= self.max_line => parts,
            Ok(parts) => return self.complete(rest, Ok(parts.1.end)),
            Err(stop) => return self.complete(rest, Err(stop)),
        };
        let row = match visitor.find(&view[..end]) {
            Some(row) => row,
            None => visitor.learn(Series::new(&view[..end], &self.spans, self.kind)).map_err(Error::Refused)?,
        };
        visitor.sample(row, suffix.value, suffix.timestamp).map_err(Error::Refused)?;
        self.complete(rest, Ok(suffix.end))
    }
}

/// What follows a series: its value, perhaps a timestamp, and where the newline is.
struct Suffix {
    value: f64,
    timestamp: Option<i64>,
    end: usize,
}

fn suffix(text: &[u8], at: usize) -> Result<Suffix, Stop> {
    let start = skip_spaces(text, at);
    let end = skip_while(text, start, |byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'{' | 0));
    if end == text.len() {
        return Err(Stop::More);
    }
    if start == end {
        return Err(Reason::Value.into());
    }
    let value = parse_value(&text[start..end]).map_err(Reason::Number)?;
    let start = skip_spaces(text, end);
    match text.get(start) {
        Some(b'\n') => return Ok(Suffix { value, timestamp: None, end: start }),
        Some(b'0'..=b'9') => {}
        Some(_) => return Err(Reason::Timestamp.into()),
        None => return Err(Stop::More),
    }
    let end = skip_while(text, start, |byte| byte.is_ascii_digit());
    let timestamp = parse_timestamp(&text[start..end]);
    match text.get(skip_spaces(text, end)) {
        None => Err(Stop::More),
        Some(_) if timestamp.is_none() => Err(Reason::TimestampRange.into()),
        Some(b'\n') => Ok(Suffix { value, timestamp, end: skip_spaces(text, end) }),
        Some(_) => Err(Reason::End.into()),
    }
}

/// Where the series in a line ends, most likely: behind the last closing brace, else before the first space.
fn guess_end(line: &[u8]) -> Option<usize> {
    let mut value = line.len();
    while value > 0 && !is_space(line[value - 1]) {
        value -= 1;
    }
    let before = value.checked_sub(2).map(|at| line[at]);
    if before == Some(b'}') {
        return Some(value - 1);
    }
    match memrchr(b'}', line) {
        Some(brace) => Some(brace + 1),
        None => memchr2(b' ', b'\t', line),
    }
}
