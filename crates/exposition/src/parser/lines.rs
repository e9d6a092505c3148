//! Leading the visitor through the lines of a part of the body, whatever its format: lines that it expects go a fast way, the others the
//! way of their format. The loop is compiled once per format: asking for it in each line costs a twentieth of an unchanged body.

use memchr::memchr;

use super::Parser;
use super::open_metrics::last_family_len;
use crate::error::{Error, Reason};
use crate::format::Format;
use crate::number::{read_value, scan_seconds, scan_timestamp};
use crate::visitor::{Comments, Visitor};

/// What is parsed just now, from some line on.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Line<'a> {
    pub(super) fn rest(self) -> &'a [u8] {
        &self.text[self.at..]
    }
}

/// The series at the beginning of a line: its row, and the length of its text.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) row: u32,
    pub(super) len: usize,
}

impl Parser {
    /// Parses all complete lines of `text` and returns how many bytes they took.
    pub(super) fn lines<V: Visitor>(&mut self, text: &[u8], visitor: &mut V) -> Result<usize, Error<V::Error>> {
        if self.is_open_metrics() { self.lines_of::<V, true>(text, visitor) } else { self.lines_of::<V, false>(text, visitor) }
    }

    fn lines_of<V: Visitor, const OPEN_METRICS: bool>(&mut self, text: &[u8], visitor: &mut V) -> Result<usize, Error<V::Error>> {
        let mut at = 0;
        while at < text.len() && !self.ended {
            let line = Line { text, at };
            let comment = text[at] == b'#';
            let used = if comment {
                self.comments(line.rest(), visitor)?
            } else if let Some(used) = self.expected_line::<V, OPEN_METRICS>(line, visitor)? {
                self.line += 1;
                used
            } else {
                self.any_line(line, visitor)?.unwrap_or(0)
            };
            if used == 0 {
                break;
            }
            self.in_comments = comment;
            at += used;
        }
        self.starts.keep(text);
        if self.ended {
            self.after_end(&text[at..])?;
            at = text.len();
        }
        Ok(at)
    }

    /// A run of lines that begin with `#`, as far as they are complete: how many bytes they took.
    fn comments<V: Visitor>(&mut self, text: &[u8], visitor: &mut V) -> Result<usize, Error<V::Error>> {
        let known = visitor.expected_comments(text).filter(|known| self.may_skip(text, known.len));
        if let Some(known) = known {
            self.kind = known.kind.unwrap_or(self.kind);
            self.line += known.lines;
            if self.skip_created {
                self.starts.family(last_family_len(&text[..known.len]));
            }
            return Ok(known.len);
        }
        let first_line = self.line;
        self.typed = false;
        let mut len = 0;
        while text.get(len) == Some(&b'#') && !self.ended {
            let rest = &text[len..];
            let used = if self.is_open_metrics() { self.family(rest, visitor)? } else { self.text_line(rest, visitor)? };
            let Some(used) = used else { return Ok(len) };
            len += used;
        }
        if len < text.len() && !self.ended && !self.in_comments {
            let kind = self.typed.then_some(self.kind);
            visitor.learn_comments(&text[..len], Comments { len, lines: self.line - first_line, kind });
        }
        Ok(len)
    }

    /// Whether known comments of this length are all that there is. In OpenMetrics a NUL behind them is a part of the last one, so what
    /// follows has to be there.
    fn may_skip(&self, text: &[u8], len: usize) -> bool {
        !self.is_open_metrics() || text.get(len).is_some_and(|next| *next != 0)
    }

    /// The fast way: the visitor's expected series, a plain number, perhaps a plain timestamp, and the newline.
    #[inline(always)] // into each of the two loops
    fn expected_line<V: Visitor, const OPEN_METRICS: bool>(
        &mut self,
        line: Line<'_>,
        visitor: &mut V,
    ) -> Result<Option<usize>, Error<V::Error>> {
        let (len, rest) = (visitor.expected_len(), line.rest());
        if len == 0 || rest.get(len) != Some(&b' ') {
            return Ok(None);
        }
        let Some(row) = visitor.expected(&rest[..len]) else { return Ok(None) };
        let Some((value, used)) = read_value(&rest[len + 1..]) else { return Ok(None) };
        let mut end = len + 1 + used;
        let mut timestamp = None;
        if OPEN_METRICS {
            if let Some((stamp, used)) = rest.get(end + 1..).filter(|_| rest[end] == b' ').and_then(scan_seconds) {
                timestamp = Some(stamp);
                end += 1 + used;
            }
            if rest[end] != b'\n' || self.skip_created {
                return self.expected_tail(line, Known { row, len }, value, timestamp, end, visitor);
            }
        } else if rest.get(end) == Some(&b' ') {
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

    fn any_line<V: Visitor>(&mut self, line: Line<'_>, visitor: &mut V) -> Result<Option<usize>, Error<V::Error>> {
        if self.is_open_metrics() { self.any_sample(line, visitor) } else { self.text_line(line.rest(), visitor) }
    }

    /// Where the first newline is, if it is there and within the bound.
    pub(super) fn newline<E>(&self, rest: &[u8]) -> Result<Option<usize>, Error<E>> {
        match memchr(b'\n', rest) {
            Some(newline) if newline > self.max_line => Err(self.error(rest, Reason::TooLong { max: self.max_line })),
            newline => Ok(newline),
        }
    }

    fn is_open_metrics(&self) -> bool {
        self.format != Format::PrometheusText
    }
}
