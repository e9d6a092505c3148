//! A visitor for tests that writes down what it is told, a line each, and knows series from one body to the next.

use std::collections::HashMap;
use std::fmt::Write as _;

use model::{Counts, Exemplar, Histogram, ResetHint, Span};

use crate::buffer::LabelBuffer;
use crate::series::Series;
use crate::visitor::{Comments, Entry, Visitor};

/// What was told.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// `name{label=value,…}` of each row.
    rows: Vec<String>,
    known: HashMap<Vec<u8>, u32>,
    /// By row, what is expected there.
    texts: Vec<Vec<u8>>,
    next: usize,
    /// How often a series was recognised at the place where it was expected.
    pub(crate) expected: usize,
    pub(crate) learnt: usize,
    pub(crate) lines: Vec<String>,
    /// Comments that were learnt, to be recognised if that is wanted.
    runs: Vec<(Vec<u8>, Comments)>,
    pub(crate) skips_comments: bool,
    /// Refuse the sample or histogram with this number, counted from 0.
    pub(crate) refuse_at: Option<usize>,
    samples: usize,
}

/// Why the recorder refuses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl Recorder {
    /// Makes it ready for the next body.
    pub(crate) fn again(&mut self) {
        (self.next, self.expected, self.learnt, self.samples) = (0, 0, 0, 0);
        self.lines.clear();
    }

    /// What was told about samples and histograms, without metadata.
    pub(crate) fn samples(&self) -> Vec<&str> {
        self.lines.iter().map(String::as_str).filter(|line| !line.starts_with('#')).collect()
    }

    fn count(&mut self) -> Result<(), Refused> {
        self.samples += 1;
        if self.refuse_at == Some(self.samples - 1) { Err(Refused) } else { Ok(()) }
    }
}

impl Visitor for Recorder {
    type Error = Refused;

    fn expected_len(&self) -> usize {
        self.texts.get(self.next).filter(|text| !text.contains(&b'\n')).map_or(0, Vec::len)
    }

    fn expected(&mut self, text: &[u8]) -> Option<u32> {
        let found = self.texts.get(self.next).is_some_and(|expected| expected == text);
        self.expected += usize::from(found);
        found.then_some(self.next as u32)
    }

    fn find(&mut self, text: &[u8]) -> Option<u32> {
        self.known.get(text).copied()
    }

    fn learn(&mut self, series: Series<'_>) -> Result<u32, Refused> {
        let mut labels = LabelBuffer::default();
        let mut row = match series.labels(&mut labels) {
            Ok(()) => labels.get("__name__").unwrap_or_default().to_owned(),
            Err(error) => error.to_string(),
        };
        let rest: Vec<String> =
            labels.iter().filter(|(name, _)| *name != "__name__").map(|(name, value)| format!("{name}={value}")).collect();
        if !rest.is_empty() {
            let _ = write!(row, "{{{}}}", rest.join(","));
        }
        self.rows.push(row);
        self.texts.push(series.text().to_vec());
        self.known.insert(series.text().to_vec(), self.rows.len() as u32 - 1);
        self.learnt += 1;
        Ok(self.rows.len() as u32 - 1)
    }

    fn sample(&mut self, row: u32, value: f64, timestamp: Option<i64>) -> Result<(), Refused> {
        self.count()?;
        self.next = row as usize + 1;
        self.lines.push(format!("{} {value}{}", self.rows[row as usize], at(timestamp)));
        Ok(())
    }

    fn histogram(&mut self, row: u32, histogram: Histogram, timestamp: Option<i64>) -> Result<(), Refused> {
        self.count()?;
        self.next = row as usize + 1;
        self.lines.push(format!("{} {}{}", self.rows[row as usize], shown(&histogram), at(timestamp)));
        Ok(())
    }

    fn exemplar(&mut self, row: u32, exemplar: Exemplar) {
        let (row, labels) = (&self.rows[row as usize], &exemplar.labels);
        self.lines.push(format!("{row} exemplar {labels} {}{}", exemplar.value, at(exemplar.timestamp)));
    }

    fn created(&mut self, row: u32, created: i64) {
        self.lines.push(format!("{} created {created}", self.rows[row as usize]));
    }

    fn expected_comments(&mut self, rest: &[u8]) -> Option<Comments> {
        self.runs.iter().find(|(text, _)| self.skips_comments && rest.starts_with(text)).map(|(_, comments)| *comments)
    }

    fn learn_comments(&mut self, text: &[u8], comments: Comments) {
        self.runs.push((text.to_vec(), comments));
    }

    fn metadata(&mut self, entry: Entry<'_>) {
        self.lines.push(match entry {
            Entry::Help { family, text } => format!("# HELP {family} {text}"),
            Entry::Type { family, kind } => format!("# TYPE {family} {kind:?}"),
            Entry::Unit { family, unit } => format!("# UNIT {family} {unit}"),
        });
    }
}

fn at(timestamp: Option<i64>) -> String {
    timestamp.map_or(String::new(), |timestamp| format!(" @{timestamp}"))
}

fn shown(histogram: &Histogram) -> String {
    let spans = |spans: &[Span]| spans.iter().map(|span| format!("{}:{}", span.offset, span.length)).collect::<Vec<_>>().join(" ");
    let (positive, negative) = (spans(&histogram.positive_spans), spans(&histogram.negative_spans));
    let mut out = format!("schema {} sum {}", histogram.schema, histogram.sum);
    let _ = match &histogram.counts {
        Counts::Integer { count, zero_count, positive: above, negative: below } => {
            write!(out, " count {count} zero {zero_count} [{positive}] {above:?} [{negative}] {below:?}")
        }
        Counts::Float { count, zero_count, positive: above, negative: below } => {
            write!(out, " count {count:?} zero {zero_count:?} [{positive}] {above:?} [{negative}] {below:?}")
        }
    };
    if histogram.zero_threshold != 0.0 {
        let _ = write!(out, " threshold {}", histogram.zero_threshold);
    }
    if !histogram.custom_values.is_empty() {
        let _ = write!(out, " bounds {:?}", histogram.custom_values);
    }
    if histogram.reset_hint != ResetHint::Unknown {
        let _ = write!(out, " hint {:?}", histogram.reset_hint);
    }
    out
}
