//! The push parser: splits what it is fed into lines, keeps the incomplete end, and leads a visitor through them.

use memchr::{memchr, memchr2, memrchr};
use model::MetricType;

use crate::comment::{self, Comment};
use crate::error::{Error, Reason, SyntaxError};
use crate::number::{parse_timestamp, parse_value, read_value, scan_timestamp};
use crate::series::{Series, Spans, Stop, is_space, skip_spaces, skip_while};
use crate::visitor::{Comments, Visitor};

/// The default bound of a line: two thousand times the usual one, and still little next to a body.
pub const DEFAULT_MAX_LINE: usize = 1 << 20;

/// Lines of usual bodies are far shorter, so more memory than this is not kept for the next body.
const MAX_KEPT_CARRY: usize = 16 << 10;

/// A push parser for one body at a time.
///
/// ```
/// # use exposition::{Parser, Series, Visitor};
/// struct Sum(f64);
/// impl Visitor for Sum {
///     type Error = std::convert::Infallible;
///     fn learn(&mut self, _: Series<'_>) -> Result<u32, Self::Error> {
///         Ok(0)
///     }
///     fn sample(&mut self, _: u32, value: f64, _: Option<i64>) -> Result<(), Self::Error> {
///         self.0 += value;
///         Ok(())
///     }
/// }
/// let (mut parser, mut sum) = (Parser::default(), Sum(0.0));
/// parser.feed(b"a 1\nb{c=\"d", &mut sum).unwrap();
/// parser.feed(b"\"} 2", &mut sum).unwrap();
/// parser.finish(&mut sum).unwrap();
/// assert_eq!(sum.0, 3.0);
/// ```
#[derive(Debug)]
pub struct Parser {
    /// The incomplete end of what was fed.
    carry: Vec<u8>,
    /// The length of `carry` from which on it is looked at again. Beyond 0 only while a quoted text reaches over a newline: lexing it
    /// anew with every line would cost the square of its length.
    retry_at: usize,
    /// Lines behind the parser.
    line: u64,
    /// What the last TYPE line said.
    kind: MetricType,
    /// A TYPE line has been seen since this was reset.
    typed: bool,
    /// The last line was a comment: what follows is not the beginning of a run of them.
    in_comments: bool,
    spans: Spans,
    max_line: usize,
    /// The body said that it is over; what follows is ignored.
    ended: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_LINE)
    }
}

impl Parser {
    /// A parser that refuses lines of more than `max_line` bytes.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        Self {
            carry: Vec::new(),
            retry_at: 0,
            line: 0,
            kind: MetricType::Unknown,
            typed: false,
            in_comments: false,
            spans: Spans::default(),
            max_line: max_line.min(u32::MAX as usize / 2),
            ended: false,
        }
    }

    /// Makes the parser ready for another body. Keeps its memory, unless that was for an unusually long line.
    pub fn reset(&mut self) {
        self.carry.clear();
        if self.carry.capacity() > MAX_KEPT_CARRY {
            self.carry = Vec::new();
        }
        self.retry_at = 0;
        self.line = 0;
        self.kind = MetricType::Unknown;
        self.in_comments = false;
        self.ended = false;
    }

    /// Parses the lines that `bytes` complete.
    ///
    /// # Errors
    /// [`Error`] at the first line that is wrong or refused. The parser is of no use then until [`Parser::reset`].
    pub fn feed<V: Visitor>(&mut self, mut bytes: &[u8], visitor: &mut V) -> Result<(), Error<V::Error>> {
        while !self.carry.is_empty() && !self.ended {
            let Some(newline) = memchr(b'\n', bytes) else { return self.keep(bytes, visitor) };
            self.keep(&bytes[..=newline], visitor)?;
            bytes = &bytes[newline + 1..];
            if self.carry.len() >= self.retry_at {
                self.retry(visitor)?;
            }
        }
        if self.ended {
            return Ok(());
        }
        let used = self.lines(bytes, visitor)?;
        if !self.ended {
            self.keep(&bytes[used..], visitor)?;
            self.expect_more();
        }
        Ok(())
    }

    /// Parses what is left, as if a newline followed it.
    ///
    /// # Errors
    /// As [`Parser::feed`].
    pub fn finish<V: Visitor>(&mut self, visitor: &mut V) -> Result<(), Error<V::Error>> {
        if self.ended || self.carry.is_empty() {
            return Ok(());
        }
        self.carry.push(b'\n');
        self.retry(visitor)?;
        if self.carry.is_empty() {
            return Ok(());
        }
        Err(self.error(&self.carry, Reason::Unterminated))
    }

    /// Appends to the incomplete line.
    fn keep<V: Visitor>(&mut self, bytes: &[u8], visitor: &mut V) -> Result<(), Error<V::Error>> {
        // A newline at its end is not part of a line's length.
        let len = |carry: &Vec<u8>| carry.len() - usize::from(carry.last() == Some(&b'\n'));
        // Bounded before it is copied: what is over the bound says as much as its first byte.
        let room = (self.max_line + 2).saturating_sub(self.carry.len());
        self.carry.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if len(&self.carry) > self.max_line && self.retry_at > 0 && memchr(b'\n', &self.carry).is_some() {
            self.retry(visitor)?;
            if room < bytes.len() && !self.ended {
                return self.keep(&bytes[room..], visitor);
            }
        }
        if len(&self.carry) > self.max_line {
            return Err(self.error(&self.carry, Reason::TooLong { max: self.max_line }));
        }
        Ok(())
    }

    /// Parses the lines of the carry.
    fn retry<V: Visitor>(&mut self, visitor: &mut V) -> Result<(), Error<V::Error>> {
        let carry = std::mem::take(&mut self.carry);
        let used = self.lines(&carry, visitor);
        self.carry = carry;
        self.carry.drain(..used?);
        self.expect_more();
        Ok(())
    }

    /// Sets when the incomplete line is worth another look.
    fn expect_more(&mut self) {
        let spans_lines = memchr(b'\n', &self.carry).is_some();
        self.retry_at = if spans_lines { self.carry.len() + self.carry.len() / 2 } else { 0 };
    }

    /// Parses all complete lines of `text` and returns how many bytes they took.
    fn lines<V: Visitor>(&mut self, text: &[u8], visitor: &mut V) -> Result<usize, Error<V::Error>> {
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

    /// Turns where a line ended into how much it took, and counts it.
    fn complete<E>(&mut self, rest: &[u8], end: Result<usize, Stop>) -> Result<Option<usize>, Error<E>> {
        match end {
            Ok(end) if end > self.max_line => Err(self.error(rest, Reason::TooLong { max: self.max_line })),
            Ok(end) => {
                self.line += memchr::memchr_iter(b'\n', &rest[..=end]).count() as u64;
                Ok(Some(end + 1))
            }
            Err(Stop::More) if rest.len() > self.max_line + 1 => Err(self.error(rest, Reason::TooLong { max: self.max_line })),
            Err(Stop::More) => Ok(None),
            Err(Stop::Bad(reason)) => Err(self.error(rest, reason)),
        }
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

    /// No more than a line can need, so that a long text costs no more than the bound.
    fn view<'a>(&self, rest: &'a [u8]) -> &'a [u8] {
        &rest[..rest.len().min(self.max_line + 1)]
    }

    fn error<E>(&self, text: &[u8], reason: Reason) -> Error<E> {
        Error::Syntax(SyntaxError::new(self.line + 1, text, reason))
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

#[cfg(test)]
mod tests;
