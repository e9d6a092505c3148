//! Leading the visitor through the lines of Prometheus' own text format.

use memchr::{memchr, memchr2, memrchr};

use super::Parser;
use crate::comment::{self, Comment};
use crate::error::{Error, Reason};
use crate::number::{parse_timestamp, parse_value, read_value, scan_timestamp};
use crate::series::{Series, Stop, is_space, skip_spaces, skip_while};
use crate::visitor::{Comments, Visitor};

impl Parser {
    /// Parses all complete lines of `text` and returns how many bytes they took.
    pub(super) fn text_lines<V: Visitor>(&mut self, text: &[u8], visitor: &mut V) -> Result<usize, Error<V::Error>> {
        let mut at = 0;
        while at < text.len() && !self.ended {
            let rest = &text[at..];
            let comment = rest[0] == b'#';
            let used = if comment {
                self.comments(rest, visitor)?
            } else if let Some(used) = self.expected_line(rest, visitor)? {
                self.line += 1;
                used
            } else {
                self.any_line(rest, visitor)?.unwrap_or(0)
            };
            if used == 0 {
                return Ok(at);
            }
            self.in_comments = comment;
            at += used;
        }
        Ok(text.len())
    }

    /// A run of lines that begin with `#`, as far as they are complete: how many bytes they took.
    fn comments<V: Visitor>(&mut self, text: &[u8], visitor: &mut V) -> Result<usize, Error<V::Error>> {
        if let Some(known) = visitor.expected_comments(text) {
            self.kind = known.kind.unwrap_or(self.kind);
            self.line += known.lines;
            return Ok(known.len);
        }
        let first_line = self.line;
        self.typed = false;
        let mut len = 0;
        while text.get(len) == Some(&b'#') && !self.ended {
            let Some(used) = self.any_line(&text[len..], visitor)? else { return Ok(len) };
            len += used;
        }
        if len < text.len() && !self.ended && !self.in_comments {
            let kind = self.typed.then_some(self.kind);
            visitor.learn_comments(&text[..len], Comments { len, lines: self.line - first_line, kind });
        }
        Ok(len)
    }

    /// The fast way: the visitor's expected series, a plain number, perhaps a plain timestamp, and the newline.
    #[inline]
    fn expected_line<V: Visitor>(&self, rest: &[u8], visitor: &mut V) -> Result<Option<usize>, Error<V::Error>> {
        let len = visitor.expected_len();
        if len == 0 || rest.get(len) != Some(&b' ') {
            return Ok(None);
        }
        let Some(row) = visitor.expected(&rest[..len]) else { return Ok(None) };
        let Some((value, used)) = read_value(&rest[len + 1..]) else { return Ok(None) };
        let mut end = len + 1 + used;
        let mut timestamp = None;
        if rest.get(end) == Some(&b' ') {
            let Some((stamp, used)) = scan_timestamp(&rest[end + 1..]) else { return Ok(None) };
            timestamp = Some(stamp);
            end += 1 + used;
        }
        if rest.get(end) != Some(&b'\n') || end > self.max_line {
            return Ok(None);
        }
        visitor.sample(row, value, timestamp).map_err(Error::Refused)?;
        Ok(Some(end + 1))
    }

    /// Any line: how many bytes it took, or `None` if it isn't complete.
    fn any_line<V: Visitor>(&mut self, rest: &[u8], visitor: &mut V) -> Result<Option<usize>, Error<V::Error>> {
        let Some(newline) = memchr(b'\n', rest) else { return Ok(None) };
        if newline > self.max_line {
            return Err(self.error(rest, Reason::TooLong { max: self.max_line }));
        }
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
