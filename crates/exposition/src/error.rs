//! What can be wrong with a line, where it is, and how it begins.

use std::fmt::Write as _;

use crate::number::NumberError;
use crate::protobuf::ProtobufError;

/// At most this many bytes of the offending line are shown.
const MAX_EXCERPT: usize = 64;

/// Why parsing stopped. Nothing after it has been looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// The text is not in the format.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A message is not in the protobuf format.
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
    /// The visitor refused a line.
    #[error("{0}")]
    Refused(E),
}

/// A line that is not in the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason} in {excerpt}")]
pub struct SyntaxError {
    /// Number of the line in the body, from 1.
    pub line: u64,
    /// The line's first 64 bytes, quoted, with escapes for what can't be shown.
    pub excerpt: Box<str>,
    /// What is wrong.
    pub reason: Reason,
}

impl SyntaxError {
    pub(crate) fn new(line: u64, text: &[u8], reason: Reason) -> Self {
        Self { line, excerpt: excerpt(text), reason }
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Neither a comment nor a sample begins like this.
    #[error("expected a metric name, `{{` or `#`")]
    Start,
    /// `# HELP` or `# TYPE` without a metric's name.
    #[error("expected a metric name after HELP or TYPE")]
    FamilyName,
    /// `# TYPE` with something that is no type of this format.
    #[error("expected one of the types counter, gauge, histogram, summary, untyped")]
    Type,
    /// `# TYPE` with something that is no type of OpenMetrics.
    #[error("expected one of the types counter, gauge, histogram, gaugehistogram, summary, info, stateset, unknown")]
    OpenMetricsType,
    /// `# UNIT` with a unit that the family's name doesn't end with.
    #[error("expected a metric name that ends with `_` and the unit")]
    Unit,
    /// A comment that OpenMetrics doesn't know.
    #[error("expected HELP, TYPE, UNIT or EOF after `# `")]
    Comment,
    /// HELP, TYPE or UNIT of OpenMetrics whose family's name is not followed by a space.
    #[error("expected a space and a text after the metric name")]
    FamilyText,
    /// An OpenMetrics body that is over without `# EOF`.
    #[error("expected `# EOF` at the end of the body")]
    NoEof,
    /// Something after `# EOF`.
    #[error("unexpected data after `# EOF`")]
    AfterEof,
    /// Help text that is not UTF-8.
    #[error("help text is not UTF-8")]
    HelpUtf8,
    /// A NUL where the format has no place for it.
    #[error("unexpected NUL")]
    Nul,
    /// Something else where a label's name belongs.
    #[error("expected a label name")]
    LabelName,
    /// No `=` after a label's name.
    #[error("expected `=` after a label name")]
    Equal,
    /// Neither a comma nor the closing brace after a label, in OpenMetrics.
    #[error("expected `,` or `}}` after a label value")]
    Comma,
    /// No quoted text after `=`.
    #[error("expected a quoted label value")]
    LabelValue,
    /// A label's value that is not UTF-8.
    #[error("label value is not UTF-8")]
    ValueUtf8,
    /// A metric's or label's quoted name that is not UTF-8.
    #[error("quoted name is not UTF-8")]
    NameUtf8,
    /// A quoted text without its end.
    #[error("quoted text without an end")]
    Unterminated,
    /// Two names for one metric.
    #[error("a second metric name")]
    SecondName,
    /// Braces without a quoted name, and none before them.
    #[error("no metric name")]
    NoName,
    /// No value after the series.
    #[error("expected a value after the metric")]
    Value,
    /// A value that is not a number as Prometheus reads them.
    #[error("{0}")]
    Number(NumberError),
    /// Something other than a timestamp in whole milliseconds after the value.
    #[error("expected a timestamp or the end of the line after the value")]
    Timestamp,
    /// A timestamp of more than 64 bits.
    #[error("timestamp out of range")]
    TimestampRange,
    /// A timestamp of OpenMetrics that is no finite number.
    #[error("expected a timestamp in seconds, an exemplar or the end of the line after the value")]
    Seconds,
    /// No value after an exemplar's labels.
    #[error("expected a value after the exemplar's labels")]
    ExemplarValue,
    /// Something after the timestamp.
    #[error("expected the end of the line after the timestamp")]
    End,
    /// The line is longer than the parser's bound.
    #[error("line is longer than {max} bytes")]
    TooLong {
        /// The bound in bytes.
        max: usize,
    },
}

fn excerpt(text: &[u8]) -> Box<str> {
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let shown = &line[..line.len().min(MAX_EXCERPT)];
    let mut out = String::with_capacity(shown.len() + 5);
    out.push('"');
    for chunk in shown.utf8_chunks() {
        let _ = write!(out, "{}", chunk.valid().escape_debug());
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    if shown.len() < line.len() {
        out.push('…');
    }
    out.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_line_reason_and_the_beginning_of_the_text() {
        let error = SyntaxError::new(7, b"a{b='c'} 1\nnext 2\n", Reason::LabelValue);
        assert_eq!(error.to_string(), r#"line 7: expected a quoted label value in "a{b=\'c\'} 1""#);
    }

    #[test]
    fn an_excerpt_is_bounded_and_shows_bytes_that_are_no_text() {
        let mut long = vec![b'x'; 100];
        long[1] = 0xff;
        long[63] = 0xe2; // the first byte of a longer character: cut in the middle
        let shown = excerpt(&long);
        assert!(shown.starts_with("\"x\\xffx"), "{shown}");
        assert!(shown.ends_with("\\xe2\"…"), "{shown}");
    }
}
