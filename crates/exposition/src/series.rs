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
mod tests {
    use super::*;

    fn labels_of(text: &str, kind: MetricType) -> Vec<(String, String)> {
        let mut buffer = LabelBuffer::default();
        parse_series(text.as_bytes(), kind, &mut buffer).unwrap_or_else(|error| panic!("{text}: {error}")).unwrap();
        buffer.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    fn reason_of(text: &[u8]) -> Reason {
        parse_series(text, MetricType::Unknown, &mut LabelBuffer::default()).expect_err(&String::from_utf8_lossy(text)).reason
    }

    #[test]
    fn labels_are_found_in_every_way_of_writing_them() {
        let plain = [("__name__", "m"), ("a", "b"), ("q", "1.0")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        for text in [
            r#"m{q="1.0",a="b"}"#,
            r#"m{q="1.0",a="b",}"#,
            r#"m{ q="1.0", a="b" }"#,
            r#"m { q = "1.0" , a = "b" , }"#,
            r#"m{q="1.0" a="b"}"#,
            "m\t{\tq=\t\"1.0\",\ta=\"b\"\t}",
            r#"{"m",q="1.0",a="b"}"#,
            r#"{q="1.0","m",a="b"}"#,
            r#"{q="1.0",a="b","m"}"#,
            r#"{ "m" , "q" = "1.0", "a"="b", }"#,
            r#"  {"m",q="1.0",a="b"}"#,
        ] {
            assert_eq!(labels_of(text, MetricType::Unknown), plain, "{text}");
        }
    }

    #[test]
    fn names_and_values_may_hold_what_the_format_allows() {
        let cases: [(&str, &[(&str, &str)]); 12] = [
            ("up", &[("__name__", "up")]),
            ("some:aggregate:rate5m", &[("__name__", "some:aggregate:rate5m")]),
            ("m{}", &[("__name__", "m")]),
            (r#"m{a=""}"#, &[("__name__", "m"), ("a", "")]),
            (r#"m{a="x\"y\\z\n"}"#, &[("__name__", "m"), ("a", "x\"y\\z\n")]),
            ("m{a=\"two\nlines }\"}", &[("__name__", "m"), ("a", "two\nlines }")]),
            ("m{a=\"n\0l\"}", &[("__name__", "m"), ("a", "n\0l")]),
            ("m{a= \0 \"b\"\0}", &[("__name__", "m"), ("a", "b\"")]),
            ("m{a=\"b\\\0\"c\"\0\0 }", &[("__name__", "m"), ("a", "b\\\0\"c\"\0")]),
            (r#"m{a="{}=,"}"#, &[("__name__", "m"), ("a", "{}=,")]),
            (r#"{"näme with \"quotes\"","läbel \\"="ü"}"#, &[("__name__", "näme with \"quotes\""), ("läbel \\", "ü")]),
            ("  m", &[("__name__", "  m")]),
        ];
        for (text, expected) in cases {
            let got = labels_of(text, MetricType::Unknown);
            assert!(got.iter().map(|(n, v)| (n.as_str(), v.as_str())).eq(expected.iter().copied()), "{text}: {got:?}");
        }
    }

    #[test]
    fn what_is_no_series_is_refused_with_its_reason() {
        let cases: [(&[u8], Reason); 28] = [
            (b"9m", Reason::Start),
            (b"-m", Reason::Start),
            (b"m{b='c'}", Reason::LabelValue),
            (b"m{b=\n", Reason::LabelValue),
            (b"m{b=c}", Reason::LabelValue),
            (b"m{\xff=\"x\"}", Reason::LabelName),
            (b"m{b=\"\xff\"}", Reason::ValueUtf8),
            (b"m{\"\xff\"=\"b\"}", Reason::NameUtf8),
            (b"{\"\xff\"}", Reason::NameUtf8),
            (b"{\"a\", \"b = \"c\"}", Reason::Equal),
            (b"{\"a\",b\\nc=\"d\"}", Reason::LabelName),
            (b"m{a=\"x", Reason::Unterminated),
            (b"m{a=\"x\\", Reason::Unterminated),
            (b"m{a=\"x\\\n\"}", Reason::Unterminated),
            (b"m{", Reason::Unterminated),
            (b"m{=\"\"}", Reason::LabelName),
            (b"m{,a=\"b\"}", Reason::LabelName),
            (b"m{a=\"b\",,}", Reason::LabelName),
            (b"m{9a=\"b\"}", Reason::LabelName),
            (b"m{a:b=\"c\"}", Reason::LabelName),
            (b"{A}", Reason::Equal),
            (b"{a=\"ok\"}", Reason::NoName),
            (b"{}", Reason::NoName),
            (b"m{\"n\"}", Reason::SecondName),
            (b"{\"m\",\"n\"}", Reason::SecondName),
            (b"m{b\0=\"hi\"}", Reason::Nul),
            (b"m{b=\0\"hi\"}", Reason::LabelValue),
            (b"m{b=\"x\\\0\n\"}", Reason::Unterminated),
        ];
        for (text, reason) in cases {
            let got = reason_of(text);
            // `a:b` and the like stop where the next token should be: both reasons name the same place.
            let near = matches!((reason, got), (Reason::LabelName, Reason::Equal) | (Reason::Equal, Reason::LabelName));
            assert!(got == reason || near, "{:?}: {got:?}", String::from_utf8_lossy(text));
        }
        assert_eq!(reason_of(b"{\"a\0\"}"), Reason::Nul);
        assert_eq!(reason_of(b"m{a=\"b\"} 1"), Reason::Value);
    }

    #[test]
    fn floats_in_le_and_quantile_take_the_form_of_open_metrics() {
        let value = |text: &str, kind| labels_of(text, kind).remove(1).1;
        assert_eq!(value(r#"m{le="1"}"#, MetricType::Histogram), "1.0");
        assert_eq!(value(r#"m{le="+Inf"}"#, MetricType::Histogram), "+Inf");
        assert_eq!(value(r#"m{le="1000000"}"#, MetricType::Histogram), "1e+06");
        assert_eq!(value(r#"m{le="x"}"#, MetricType::Histogram), "x");
        assert_eq!(value(r#"m{le="1"}"#, MetricType::Gauge), "1");
        assert_eq!(value(r#"m{quantile="0"}"#, MetricType::Summary), "0.0");
        assert_eq!(value(r#"m{quantile="0"}"#, MetricType::Histogram), "0");
    }

    #[test]
    fn a_label_twice_is_the_callers_to_judge() {
        let mut buffer = LabelBuffer::default();
        let twice = parse_series(br#"m{a="1",a="2"}"#, MetricType::Unknown, &mut buffer).unwrap();
        assert_eq!(twice.unwrap_err().name.as_ref(), "a");
        let name = parse_series(br#"m{__name__="n"}"#, MetricType::Unknown, &mut buffer).unwrap();
        assert_eq!(name.unwrap_err().name.as_ref(), "__name__");
    }
}
