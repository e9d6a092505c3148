//! The slow path: a series' text taken apart exactly as Prometheus' lexer does it, into spans first and labels when asked for.
//!
//! Peculiarities of that lexer which decide verdicts, and are kept: a quoted text may hold raw newlines (so a sample may span lines);
//! NUL is allowed inside label values and behind them, and nowhere else; spaces and tabs may stand between all parts, and before the name they become
//! part of it; one trailing comma is allowed, and the comma between labels may be missing.

use std::ops::Range;

use model::{MetricType, labels::METRIC_NAME};

use crate::buffer::{DuplicateLabel, LabelBuffer};
use crate::error::{Reason, SyntaxError};
use crate::float::open_metrics_float;
use crate::number::parse_value;

/// Why lexing stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The text ends before the token does.
    More,
    /// No text that follows can make it right.
    Bad(Reason),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Bad(reason)
    }
}

/// A place in a text.
pub(crate) type Span = Range<u32>;

/// Where the parts of a series are in its text; quotes are not part of the spans.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    pub(crate) metric: Option<Span>,
    pub(crate) labels: Vec<(Span, Span)>,
}

/// A series as it was written, with the places of its labels.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// What identifies it.
    text: &'a [u8],
    /// What the spans are places in.
    written: &'a [u8],
    spans: &'a Spans,
    kind: MetricType,
    /// Floats in label values have their final form.
    exact: bool,
}

impl<'a> Series<'a> {
    pub(crate) fn new(text: &'a [u8], spans: &'a Spans, kind: MetricType) -> Self {
        Self { text, written: text, spans, kind, exact: false }
    }

    /// A series of a format that is no text: `written` is what it would be as text, `text` is what it is recognised by.
    pub(crate) fn rendered(text: &'a [u8], written: &'a [u8], spans: &'a Spans, kind: MetricType) -> Self {
        Self { text, written, spans, kind, exact: true }
    }

    /// What identifies the series: what [`crate::Visitor::find`] and [`crate::Visitor::expected`] are asked with. In text formats that
    /// is the text from the beginning of the line up to the end of the name or the closing brace; elsewhere it can't be read.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The series as a person would write it, for messages.
    #[must_use]
    pub fn shown(&self) -> &'a [u8] {
        self.written
    }

    /// The type in the last `# TYPE` line before the series, whatever family it was for: that is the one that Prometheus goes by.
    #[must_use]
    pub fn kind(&self) -> MetricType {
        self.kind
    }

    /// Fills `into` with the labels in name order, `__name__` among them, escapes resolved, empty values included, and `le` of
    /// histograms and `quantile` of summaries in the form of OpenMetrics.
    ///
    /// # Errors
    /// [`DuplicateLabel`] if a name occurs twice.
    pub fn labels(&self, into: &mut LabelBuffer) -> Result<(), DuplicateLabel> {
        into.clear();
        if let Some(metric) = &self.spans.metric {
            into.push_escaped(METRIC_NAME, self.at(metric));
        }
        for (name, value) in &self.spans.labels {
            let (name, value) = (self.at(name), self.at(value));
            match self.float_label(name, value) {
                Some(float) => into.push(name, &float),
                None => into.push_escaped(name, value),
            }
        }
        into.sort()
    }

    fn float_label(&self, name: &str, value: &str) -> Option<String> {
        let floats = !self.exact && matches!((self.kind, name), (MetricType::Summary, "quantile") | (MetricType::Histogram, "le"));
        floats.then(|| parse_value(value.as_bytes()).ok()).flatten().map(open_metrics_float)
    }

    fn at(&self, span: &Span) -> &'a str {
        // The lexer checked the spans.
        std::str::from_utf8(&self.written[span.start as usize..span.end as usize]).unwrap_or_default()
    }
}

/// Parses the text of one series on its own, as [`Series::labels`] does within a body.
///
/// # Errors
/// [`SyntaxError`] if the text is no series or goes on after one; a duplicate label is left to the caller in `Ok(Err(_))`.
pub fn parse_series(text: &[u8], kind: MetricType, into: &mut LabelBuffer) -> Result<Result<(), DuplicateLabel>, SyntaxError> {
    let mut spans = Spans::default();
    let reason = match spans.lex(text) {
        Ok(end) if end == text.len() => return Ok(Series::new(text, &spans, kind).labels(into)),
        Ok(_) => Reason::Value,
        Err(Stop::More) => Reason::Unterminated,
        Err(Stop::Bad(reason)) => reason,
    };
    Err(SyntaxError::new(1, text, reason))
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Name(Span),
    Quoted(Span),
    Equal,
    Comma,
    Close,
}

impl Spans {
    /// Takes apart the series at the beginning of `text` and returns where it ends. `text` may go on after it; only if it ends inside
    /// the series, or right behind a bare name, more of it is needed for certain.
    pub(crate) fn lex(&mut self, text: &[u8]) -> Result<usize, Stop> {
        self.metric = None;
        self.labels.clear();
        let start = skip_spaces(text, 0);
        let mut at = start;
        if text.get(start).copied().is_some_and(starts_metric) {
            at = skip_while(text, start, continues_metric);
            // From the line's beginning, not from `start`: Prometheus takes leading spaces into the name.
            self.metric = Some(span(0, at));
            let brace = skip_spaces(text, at);
            if text.get(brace) != Some(&b'{') {
                return Ok(at);
            }
            at = brace;
        }
        match text.get(at) {
            Some(b'{') => self.braces(text, at + 1),
            Some(_) => Err(Reason::Start.into()),
            None => Err(Stop::More),
        }
    }

    fn braces(&mut self, text: &[u8], mut at: usize) -> Result<usize, Stop> {
        let mut token = next_token(text, &mut at)?;
        loop {
            let (name, quoted) = match token {
                Token::Close => break,
                Token::Name(name) => (name, false),
                Token::Quoted(name) => (name, true),
                Token::Equal | Token::Comma => return Err(Reason::LabelName.into()),
            };
            token = next_token(text, &mut at)?;
            if quoted && matches!(token, Token::Comma | Token::Close) {
                if self.metric.replace(name).is_some() {
                    return Err(Reason::SecondName.into());
                }
                if token == Token::Close {
                    break;
                }
                token = next_token(text, &mut at)?;
                continue;
            }
            if token != Token::Equal {
                return Err(Reason::Equal.into());
            }
            let value = label_value(text, &mut at)?;
            self.labels.push((name, value));
            token = next_token(text, &mut at)?;
            if token == Token::Comma {
                token = next_token(text, &mut at)?;
            }
        }
        if self.metric.is_none() {
            return Err(Reason::NoName.into());
        }
        Ok(at)
    }
}

fn next_token(text: &[u8], at: &mut usize) -> Result<Token, Stop> {
    *at = skip_spaces(text, *at);
    let start = *at;
    let Some(&first) = text.get(start) else { return Err(Stop::More) };
    *at += 1;
    match first {
        b'}' => Ok(Token::Close),
        b'=' => Ok(Token::Equal),
        b',' => Ok(Token::Comma),
        b'"' => {
            let end = quoted_end(text, start)?;
            *at = end;
            check_utf8(&text[start..end], Reason::NameUtf8)?;
            Ok(Token::Quoted(span(start + 1, end - 1)))
        }
        byte if starts_label(byte) => {
            *at = skip_while(text, start, continues_label);
            Ok(Token::Name(span(start, *at)))
        }
        0 => Err(Reason::Nul.into()),
        _ => Err(Reason::LabelName.into()),
    }
}

fn label_value(text: &[u8], at: &mut usize) -> Result<Span, Stop> {
    // Where they may stand in a value, Prometheus skips NULs behind spaces, too.
    let spaces = text.get(*at).is_some_and(|byte| is_space(*byte));
    let start = skip_while(text, *at, |byte| spaces && (is_space(byte) || byte == 0));
    match text.get(start) {
        Some(b'"') => {}
        Some(_) => return Err(Reason::LabelValue.into()),
        None => return Err(Stop::More),
    }
    let end = value_end::<true>(text, start)?;
    check_utf8(&text[start..end], Reason::ValueUtf8)?;
    *at = end;
    Ok(span(start + 1, end - 1))
}

/// Where the label value whose quote is at `start` ends: behind its closing quote and the NULs after that. Prometheus' lexers skip NULs
/// there, and take the last byte for the quote: so what is within the text goes on up to the last byte but one.
pub(crate) fn value_end<const MAY_SPAN_LINES: bool>(text: &[u8], start: usize) -> Result<usize, Stop> {
    let mut at = start + 1;
    loop {
        let found =
            if MAY_SPAN_LINES { memchr::memchr2(b'"', b'\\', &text[at..]) } else { memchr::memchr3(b'"', b'\\', b'\n', &text[at..]) };
        at += found.ok_or(Stop::More)?;
        match text[at] {
            b'"' => return Ok(skip_nul(text, at + 1)),
            b'\\' => {
                at = skip_nul(text, at + 1);
                // A backslash needs a character of the same line after it.
                if *text.get(at).ok_or(Stop::More)? == b'\n' {
                    return Err(Reason::Unterminated.into());
                }
                at += 1;
            }
            _ => return Err(Reason::Unterminated.into()),
        }
    }
}

/// Where the quoted name that begins at `start` ends, behind its closing quote. There is no NUL in it.
pub(crate) fn quoted_end(text: &[u8], start: usize) -> Result<usize, Stop> {
    let mut at = start + 1;
    loop {
        let Some(found) = memchr::memchr3(b'"', b'\\', 0, &text[at..]) else { return Err(Stop::More) };
        at += found;
        match (text[at], text.get(at + 1)) {
            (b'"', _) => return Ok(at + 1),
            (0, _) | (_, Some(0)) => return Err(Reason::Nul.into()),
            (_, None) => return Err(Stop::More),
            // A backslash needs a character of the same line after it.
            (_, Some(b'\n')) => return Err(Reason::Unterminated.into()),
            (_, Some(_)) => at += 2,
        }
    }
}

pub(crate) fn check_utf8(text: &[u8], reason: Reason) -> Result<(), Stop> {
    simdutf8::basic::from_utf8(text).map(drop).map_err(|_| reason.into())
}

pub(crate) fn skip_spaces(text: &[u8], at: usize) -> usize {
    skip_while(text, at, is_space)
}

pub(crate) fn skip_nul(text: &[u8], at: usize) -> usize {
    skip_while(text, at, |byte| byte == 0)
}

pub(crate) fn skip_while(text: &[u8], mut at: usize, keep: impl Fn(u8) -> bool) -> usize {
    while text.get(at).is_some_and(|&byte| keep(byte)) {
        at += 1;
    }
    at
}

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

pub(crate) fn starts_metric(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':')
}

pub(crate) fn continues_metric(byte: u8) -> bool {
    METRIC_BYTES[usize::from(byte)]
}

/// Looked up instead of compared: names make up much of a body's HELP and TYPE lines.
const METRIC_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || byte == b'_' as usize || byte == b':' as usize;
        byte += 1;
    }
    table
};

pub(crate) fn starts_label(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

pub(crate) fn continues_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(crate) fn span(start: usize, end: usize) -> Span {
    start as u32..end as u32 // lines are bounded far below 4 GiB
}

#[cfg(test)]
mod tests;
