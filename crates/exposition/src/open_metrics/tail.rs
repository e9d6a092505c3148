//! What follows a series in a line of OpenMetrics: its value, perhaps a timestamp, perhaps an exemplar. Prometheus allows exemplars behind
//! samples of any type.

use model::Exemplar;

use super::series::{LabelSpans, exemplar_labels};
use crate::error::Reason;
use crate::exemplar::{RefusedExemplar, exemplar_of};
use crate::number::parse_value;
use crate::series::{Stop, skip_while};

/// What stands before an exemplar's labels.
const EXEMPLAR: &[u8] = b" # {";

/// What follows a series, and where the newline is.
#[derive(Debug, PartialEq)]
pub(crate) struct Tail {
    pub(crate) value: f64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) exemplar: Option<ExemplarTail>,
    pub(crate) end: usize,
}

/// An exemplar without its labels, and where the newline behind it is.
#[derive(Debug, PartialEq)]
pub(crate) struct ExemplarTail {
    value: f64,
    timestamp: Option<i64>,
    pub(crate) end: usize,
}

/// Reads what follows the series that ends at `at`; the places of an exemplar's labels go to `labels`.
pub(crate) fn read(text: &[u8], at: usize, labels: &mut LabelSpans) -> Result<Tail, Stop> {
    let (value, mut end) = word(text, at, Reason::Value)?;
    let value = parse_value(value).map_err(Reason::Number)?;
    let mut timestamp = None;
    if byte(text, end)? == b' ' && !begins_exemplar(text, end)? {
        (timestamp, end) = seconds(text, end)?;
    }
    let exemplar = if begins_exemplar(text, end)? { Some(read_exemplar(text, end, labels)?) } else { None };
    let end = exemplar.as_ref().map_or(end, |exemplar| exemplar.end);
    match byte(text, end)? {
        b'\n' => Ok(Tail { value, timestamp, exemplar, end }),
        _ if timestamp.is_none() => Err(Reason::Seconds.into()),
        _ => Err(Reason::End.into()),
    }
}

/// Whether an exemplar begins at `at`.
pub(crate) fn begins_exemplar(text: &[u8], at: usize) -> Result<bool, Stop> {
    let rest = &text[at..];
    if rest.len() < EXEMPLAR.len() && EXEMPLAR.starts_with(rest) {
        return Err(Stop::More);
    }
    Ok(rest.starts_with(EXEMPLAR))
}

/// Reads the exemplar that begins at `at` up to the end of its line.
pub(crate) fn read_exemplar(text: &[u8], at: usize, labels: &mut LabelSpans) -> Result<ExemplarTail, Stop> {
    let end = exemplar_labels(text, at + EXEMPLAR.len(), labels)?;
    let (value, mut end) = word(text, end, Reason::ExemplarValue)?;
    let value = parse_value(value).map_err(Reason::Number)?;
    let mut timestamp = None;
    if byte(text, end)? == b' ' {
        (timestamp, end) = seconds(text, end)?;
    }
    if byte(text, end)? == b'\n' { Ok(ExemplarTail { value, timestamp, end }) } else { Err(Reason::End.into()) }
}

impl ExemplarTail {
    /// The exemplar whose labels have these places in `text`. As in Prometheus their escapes are not resolved.
    pub(crate) fn build(&self, text: &[u8], labels: &LabelSpans) -> Result<Exemplar, RefusedExemplar> {
        let at = |span: &std::ops::Range<u32>| std::str::from_utf8(&text[span.start as usize..span.end as usize]);
        let pairs: Result<Vec<_>, _> = labels.iter().map(|(name, value)| Ok((at(name)?, at(value)?))).collect();
        exemplar_of(pairs.map_err(|_: std::str::Utf8Error| RefusedExemplar::NotUtf8)?, self.value, self.timestamp)
    }
}

/// The word behind the space at `at`, and where it ends.
fn word(text: &[u8], at: usize, missing: Reason) -> Result<(&[u8], usize), Stop> {
    if byte(text, at)? != b' ' {
        return Err(missing.into());
    }
    let end = skip_while(text, at + 1, |byte| !matches!(byte, b' ' | b'\n' | 0));
    byte(text, end)?;
    if end == at + 1 { Err(missing.into()) } else { Ok((&text[at + 1..end], end)) }
}

fn seconds(text: &[u8], at: usize) -> Result<(Option<i64>, usize), Stop> {
    let (word, end) = word(text, at, Reason::Seconds)?;
    let seconds = parse_value(word).map_err(|_| Reason::Seconds)?;
    Ok((Some(milliseconds(seconds).ok_or(Reason::Seconds)?), end))
}

/// A timestamp in whole milliseconds, cut off as in Prometheus; `None` if it is not finite. Beyond 64 bits it is the nearest that fits:
/// Go leaves that to the processor.
#[inline]
pub(crate) fn milliseconds(seconds: f64) -> Option<i64> {
    seconds.is_finite().then_some((seconds * 1000.0) as i64)
}

fn byte(text: &[u8], at: usize) -> Result<u8, Stop> {
    text.get(at).copied().ok_or(Stop::More)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::NumberError;

    fn read_all(text: &str) -> (Tail, LabelSpans) {
        let mut labels = LabelSpans::new();
        let tail = read(text.as_bytes(), 0, &mut labels).unwrap_or_else(|stop| panic!("{text:?}: {stop:?}"));
        assert_eq!(tail.end, text.len() - 1, "{text:?}");
        (tail, labels)
    }

    #[test]
    fn values_and_timestamps_are_read() {
        let cases = [
            (" 1\n", 1.0, None),
            (" +Inf\n", f64::INFINITY, None),
            (" 1 0\n", 1.0, Some(0)),
            (" 1 1520879607.789\n", 1.0, Some(1_520_879_607_789)),
            (" 1 -1.0019\n", 1.0, Some(-1001)),
            (" 1 1e9\n", 1.0, Some(1_000_000_000_000)),
            (" 1 0.0009\n", 1.0, Some(0)),
            (" 1 1.001\n", 1.0, Some(1000)), // 1.001 * 1000.0 is below 1001
            (" 1 1e300\n", 1.0, Some(i64::MAX)),
        ];
        for (text, value, timestamp) in cases {
            let (tail, _) = read_all(text);
            assert_eq!((tail.value, tail.timestamp, tail.exemplar), (value, timestamp, None), "{text:?}");
        }
    }

    #[test]
    fn exemplars_are_read() {
        for (text, timestamp, labels, value, at) in [
            (" 1 # {a=\"b\"} 0.5\n", None, "{a=\"b\"}", 0.5, None),
            (" 1 # {} NaN\n", None, "{}", f64::NAN, None),
            (" 1 2.5 # {c=\"d\",a=\"\\\"\"} 3 4.0005\n", Some(2500), "{a=\"\\\\\\\"\", c=\"d\"}", 3.0, Some(4000)),
        ] {
            let (tail, spans) = read_all(text);
            assert_eq!(tail.timestamp, timestamp, "{text:?}");
            let exemplar = tail.exemplar.unwrap().build(text.as_bytes(), &spans).unwrap();
            assert_eq!(exemplar.labels.to_string(), labels, "{text:?}");
            assert_eq!((exemplar.value.to_bits() == value.to_bits() || value.is_nan(), exemplar.timestamp), (true, at), "{text:?}");
        }
    }

    #[test]
    fn every_beginning_of_a_line_needs_more() {
        let whole = b" 1.5 17 # {a=\"b\"} 3 4\n";
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end], 0, &mut LabelSpans::new()), Err(Stop::More), "{end}");
        }
    }

    #[test]
    fn wrong_ends_of_lines_are_refused_with_their_reason() {
        let number = |error| Reason::Number(error);
        let cases = [
            ("\n", Reason::Value),
            (" \n", Reason::Value),
            ("  1\n", Reason::Value),
            ("\t1\n", Reason::Value),
            ("{} 1\n", Reason::Value),
            (" 1\r\n", number(NumberError::Syntax)),
            (" 1_0\n", number(NumberError::Unsupported)),
            (" 0x1p1\n", number(NumberError::Unsupported)),
            (" 1e999\n", number(NumberError::Range)),
            (" 1 \n", Reason::Seconds),
            (" 1  2\n", Reason::Seconds),
            (" 1\x002\n", Reason::Seconds),
            (" 1 x\n", Reason::Seconds),
            (" 1 NaN\n", Reason::Seconds),
            (" 1 Inf\n", Reason::Seconds),
            (" 1 2 \n", Reason::End),
            (" 1 2 3\n", Reason::End),
            (" 1 2\0\n", Reason::End),
            (" 1 #{} 1\n", Reason::Seconds),
            (" 1 # \n", Reason::Seconds),
            (" 1 # x\n", Reason::Seconds),
            (" 1  # {} 1\n", Reason::Seconds),
            (" 1 # {}\n", Reason::ExemplarValue),
            (" 1 # {}1\n", Reason::ExemplarValue),
            (" 1 # {} \n", Reason::ExemplarValue),
            (" 1 # {} x\n", number(NumberError::Syntax)),
            (" 1 # {} 1 NaN\n", Reason::Seconds),
            (" 1 # {} 1 \n", Reason::Seconds),
            (" 1 # {} 1 2 3\n", Reason::End),
            (" 1 # {} 1 # {} 1\n", Reason::Seconds),
            (" 1 # {a} 1\n", Reason::Equal),
        ];
        for (text, reason) in cases {
            assert_eq!(read(text.as_bytes(), 0, &mut LabelSpans::new()), Err(Stop::Bad(reason)), "{text:?}");
        }
    }
}
