//! What the parser tells, and what it asks, while it goes through a body.

use std::borrow::Cow;

use model::{Exemplar, Histogram, MetricType};

use crate::series::Series;

/// What a target says about a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// `# HELP`; the text as it was written, see [`crate::Format::unescape_help`].
    Help {
        /// The family's name, without quotes.
        family: &'a str,
        /// The text, escapes and all.
        text: &'a str,
    },
    /// `# TYPE`.
    Type {
        /// The family's name, without quotes.
        family: &'a str,
        /// The type; `untyped` is [`MetricType::Unknown`].
        kind: MetricType,
    },
    /// `# UNIT`, which belongs to OpenMetrics: a comment to Prometheus' text parser, so it is never an error there.
    Unit {
        /// The family's name, without quotes.
        family: &'a str,
        /// The unit.
        unit: &'a str,
    },
}

/// Help text of the text format with `\\` and `\n` resolved.
#[must_use]
pub fn unescape_help(text: &str) -> Cow<'_, str> {
    let mut rest = text;
    let mut out = String::new();
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (resolved, used) = match rest.as_bytes().get(at + 1) {
            Some(b'n') => ("\n", 2),
            Some(b'\\') => ("\\", 2),
            _ => ("\\", 1),
        };
        out.push_str(&rest[..at]);
        out.push_str(resolved);
        rest = &rest[at + used..];
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A run of comments, HELP, TYPE and blank lines between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comments {
    /// Bytes, the last newline included.
    pub len: usize,
    /// Lines.
    pub lines: u64,
    /// What the last `# TYPE` among them says, if there is one.
    pub kind: Option<MetricType>,
}

/// Receives the lines of a body. Rows are the visitor's own numbers for series: the parser only passes them on.
///
/// For each sample the parser asks in this order: [`Visitor::expected`] with as many bytes as [`Visitor::expected_len`] says;
/// [`Visitor::find`] with the text of the series; [`Visitor::learn`]. The first answer goes to [`Visitor::sample`].
pub trait Visitor {
    /// Why the visitor refuses to go on.
    type Error;

    /// Whether [`Visitor::metadata`] is to be called; its names are not even looked for if not. The same answer for a whole body.
    #[inline]
    fn wants_metadata(&self) -> bool {
        true
    }

    /// How long the text of the next series will be if it is the one that is expected; 0 if none is, or if its text holds a newline
    /// (as each expected series is counted as one line).
    #[inline]
    fn expected_len(&self) -> usize {
        0
    }

    /// The row of the expected series if `text` is its text. Must not say so of a text that was never learnt.
    #[inline]
    fn expected(&mut self, _text: &[u8]) -> Option<u32> {
        None
    }

    /// The row of the series with this text if it was learnt before.
    fn find(&mut self, _text: &[u8]) -> Option<u32> {
        None
    }

    /// Takes in a series that it doesn't know yet and gives it a row.
    ///
    /// # Errors
    /// The visitor's own; parsing ends there.
    fn learn(&mut self, series: Series<'_>) -> Result<u32, Self::Error>;

    /// Takes a sample of a row. `timestamp` is in milliseconds since the epoch, if the line has one. NaN always has the bits
    /// [`model::stale::NORMAL_NAN_BITS`].
    ///
    /// # Errors
    /// The visitor's own; parsing ends there.
    fn sample(&mut self, row: u32, value: f64, timestamp: Option<i64>) -> Result<(), Self::Error>;

    /// Takes a native histogram of a row, in place of a sample. `timestamp` as for samples.
    ///
    /// # Errors
    /// The visitor's own; parsing ends there.
    fn histogram(&mut self, _row: u32, _histogram: Histogram, _timestamp: Option<i64>) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Takes an exemplar of the row whose sample or histogram was told last. It is one that Prometheus would store, see
    /// [`crate::exemplar_of`]; if it has no timestamp it has that of the sample.
    fn exemplar(&mut self, _row: u32, _exemplar: Exemplar) {}

    /// Takes the time at which the counting of a row began, in milliseconds since the epoch, never 0. The row's sample or histogram was
    /// told before, but not always just before: in OpenMetrics the time stands in a line of its own behind all samples of a metric, and
    /// is then told for each of them. Comes once for each sample that has it, so more than once for a row with more samples than one.
    fn created(&mut self, _row: u32, _created: i64) {}

    /// Takes a line about a family.
    fn metadata(&mut self, _entry: Entry<'_>) {}

    /// Whether `rest` begins with comments that were learnt before, and need no second look: what they say is not told again then.
    /// Asked at each `#` that begins a line.
    #[inline]
    fn expected_comments(&mut self, _rest: &[u8]) -> Option<Comments> {
        None
    }

    /// Takes in a run of comments up to the next sample, if it wants to recognise it the next time. Not all runs are told.
    #[inline]
    fn learn_comments(&mut self, _text: &[u8], _comments: Comments) {}
}

/// The row of a series that the visitor knows, asked in the order that is promised to it.
#[inline]
pub(crate) fn known<V: Visitor>(visitor: &mut V, text: &[u8]) -> Option<u32> {
    if visitor.expected_len() == text.len()
        && let Some(row) = visitor.expected(text)
    {
        return Some(row);
    }
    visitor.find(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_knows_two_escapes() {
        assert_eq!(unescape_help("plain \"quoted\""), "plain \"quoted\"");
        assert_eq!(unescape_help(r#"a\nb\\n\"c\"#), "a\nb\\n\\\"c\\");
        assert_eq!(unescape_help(r"\n"), "\n");
    }
}
