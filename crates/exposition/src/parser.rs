//! The push parser: splits what it is fed into lines, keeps the incomplete end, and leads a visitor through them; how lines are read
//! belongs to a module for each format.

mod lines;
mod open_metrics;
#[cfg(test)]
mod tests;
mod text;

use memchr::memchr;
use model::MetricType;

use crate::error::{Error, Reason, SyntaxError};
use crate::format::Format;
use crate::open_metrics::series::LabelSpans;
use crate::open_metrics::starts::Starts;
use crate::series::{Spans, Stop};
use crate::visitor::Visitor;

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
    /// The body said that it is over; what follows is ignored, or an error in OpenMetrics.
    ended: bool,
    format: Format,
    /// Of OpenMetrics only, as all that follows: the number of lines up to a HELP line, behind which NULs are skipped.
    help_line: Option<u64>,
    skip_created: bool,
    starts: Starts,
    exemplar_labels: LabelSpans,
    refused_exemplars: u64,
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
            format: Format::PrometheusText,
            help_line: None,
            skip_created: false,
            starts: Starts::default(),
            exemplar_labels: LabelSpans::new(),
            refused_exemplars: 0,
        }
    }

    /// Makes the parser ready for another body in [`Format::PrometheusText`].
    pub fn reset(&mut self) {
        self.reset_for(Format::PrometheusText);
    }

    /// Makes the parser ready for another body, in `format`. Keeps its memory, unless that was for an unusually long line.
    pub fn reset_for(&mut self, format: Format) {
        self.carry.clear();
        if self.carry.capacity() > MAX_KEPT_CARRY {
            self.carry = Vec::new();
        }
        self.retry_at = 0;
        self.line = 0;
        self.kind = MetricType::Unknown;
        self.in_comments = false;
        self.ended = false;
        self.format = format;
        self.help_line = None;
        self.skip_created = format == Format::OpenMetrics { skip_created: true };
        self.starts.reset();
        self.refused_exemplars = 0;
    }

    /// How many exemplars of the body were not told because Prometheus would not store them, see [`crate::RefusedExemplar`].
    #[must_use]
    pub fn refused_exemplars(&self) -> u64 {
        self.refused_exemplars
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
            return self.after_end(bytes);
        }
        let used = self.lines(bytes, visitor)?;
        if !self.ended {
            self.keep(&bytes[used..], visitor)?;
            self.expect_more();
        }
        Ok(())
    }

    /// Parses what is left, as if a newline followed it. OpenMetrics has to have told its end, unless the body is empty: as in Prometheus
    /// an empty body is a good one.
    ///
    /// # Errors
    /// As [`Parser::feed`].
    pub fn finish<V: Visitor>(&mut self, visitor: &mut V) -> Result<(), Error<V::Error>> {
        if self.ended || (self.carry.is_empty() && self.line == 0) {
            return Ok(());
        }
        // It ends with a newline if that was taken for a part of a quoted text.
        if self.carry.last().is_some_and(|last| *last != b'\n') {
            self.carry.push(b'\n');
        }
        self.retry(visitor)?;
        if !self.carry.is_empty() {
            return Err(self.error(&self.carry, Reason::Unterminated));
        }
        if self.ended || self.format == Format::PrometheusText { Ok(()) } else { Err(self.error(&[], Reason::NoEof)) }
    }

    /// What comes behind the end that the body told.
    fn after_end<E>(&self, bytes: &[u8]) -> Result<(), Error<E>> {
        if self.format == Format::PrometheusText {
            return Ok(());
        }
        // Prometheus skips NULs behind `# EOF`. How much of what follows is here depends on how the body arrives: one byte is shown.
        let Some(at) = bytes.iter().position(|byte| *byte != 0) else { return Ok(()) };
        Err(self.error(&bytes[at..=at], Reason::AfterEof))
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

    /// As [`Parser::complete`], for a line that most likely ends at the first newline.
    fn complete_at<E>(&mut self, rest: &[u8], newline: usize, end: usize) -> Result<Option<usize>, Error<E>> {
        if end != newline {
            return self.complete(rest, Ok(end));
        }
        self.line += 1;
        Ok(Some(newline + 1))
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

    /// No more than a line can need, so that a long text costs no more than the bound.
    fn view<'a>(&self, rest: &'a [u8]) -> &'a [u8] {
        &rest[..rest.len().min(self.max_line + 1)]
    }

    fn error<E>(&self, text: &[u8], reason: Reason) -> Error<E> {
        Error::Syntax(SyntaxError::new(self.line + 1, text, reason))
    }
}
