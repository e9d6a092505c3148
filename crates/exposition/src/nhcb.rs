//! Classic histograms of the text formats become native ones with custom buckets on their way to the visitor, as Prometheus does it
//! (`model/textparse`: `NHCBParser`). The protobuf parser converts by itself ([`crate::HistogramForms`]), since Prometheus has other rules
//! there: whole metrics instead of lines, gauge histograms too, and an error for those that can't be converted.
//!
//! What counts as a line of a histogram: it follows a `# TYPE` with the type histogram, has that family's name with `_bucket` (and a
//! number in `le`), `_sum` or `_count`. Consecutive ones with the same labels but `le` are one histogram. It ends with a line of another
//! series, with a comment, or with the body. One that can't be converted is not told, and counted; its lines are, if they are kept.
//! An exemplar with a timestamp goes to the converted histogram; one without, which native histograms can't have, stays with its line.
//!
//! Two lapses of Prometheus are not copied: a histogram has the timestamp of its own lines instead of that of the line behind it, and one
//! that turns out not to be valid (its total is lower than a bucket) doesn't swallow the lines of the next one.

mod convert;
mod lines;

use model::labels::{METRIC_NAME, hash_pairs};
use model::{Exemplar, Histogram, MetricType};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use convert::ClassicHistogram;
pub use convert::ConvertError;
use lines::{Lines, Part};

use crate::buffer::LabelBuffer;
use crate::error::Error;
use crate::number::parse_value;
use crate::series::{Series, Spans, is_space, quoted_end, skip_spaces, skip_while};
use crate::visitor::{Comments, Entry, Visitor, known};

/// The label that holds a bucket's upper bound.
const BUCKET_LABEL: &str = "le";

/// The row of lines that the visitor is not told about.
const HIDDEN: u32 = 0;

/// What is remembered of a target's classic histograms from one scrape to the next, and of the one that is being collected. A line that
/// was there before is recognised like any other series, without a look at its labels. 32 bytes per line, and the text of each histogram.
///
/// A scrape is [`ClassicHistograms::begin`], then all feeding within [`ClassicHistograms::around`], then [`ClassicHistograms::finish`].
#[derive(Debug, Default)]
pub struct ClassicHistograms {
    lines: Lines,
    /// The family of the last TYPE line, without escapes; empty unless that said histogram.
    family: String,
    /// A hash of it.
    section: u64,
    /// The line that was recognised last.
    current: Option<usize>,
    /// The histogram that is being collected.
    collecting: Option<u32>,
    parts: ClassicHistogram,
    timestamp: Option<i64>,
    created: Option<i64>,
    exemplars: Vec<Exemplar>,
    failed: u64,
    labels: LabelBuffer,
}

impl ClassicHistograms {
    /// Makes it ready for a body. What a scrape that was not finished brought is forgotten.
    pub fn begin(&mut self) {
        self.lines.begin();
        self.family.clear();
        self.current = None;
        self.failed = 0;
        self.forget_parts();
    }

    /// Has `parse` tell everything to a visitor in front of `visitor`. `keep` says whether the classic series are told too.
    ///
    /// # Errors
    /// Those of `parse`, and what `visitor` refuses of the converted histograms.
    pub fn around<V: Visitor>(
        &mut self,
        keep: bool,
        visitor: &mut V,
        parse: impl FnOnce(&mut Converting<'_, V>) -> Result<(), Error<V::Error>>,
    ) -> Result<(), Error<V::Error>> {
        let mut converting = Converting { state: self, keep, inner: visitor, refused: None };
        let parsed = parse(&mut converting);
        match converting.refused {
            Some(refused) => Err(Error::Refused(refused)),
            None => parsed,
        }
    }

    /// Tells the last histogram of a body that was parsed to its end, and forgets lines that it didn't have. Returns how many histograms
    /// could not be converted.
    ///
    /// # Errors
    /// What the visitor refuses.
    pub fn finish<V: Visitor>(&mut self, visitor: &mut V) -> Result<u64, V::Error> {
        self.tell(visitor)?;
        self.lines.finish();
        Ok(self.failed)
    }

    /// Bytes of heap that are held.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.lines.heap_bytes()
    }

    /// Tells the histogram that was collected, if there is one.
    fn tell<V: Visitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let Some(group) = self.collecting.take() else { return Ok(()) };
        let Some(histogram) = self.parts.convert().ok().filter(|histogram| histogram.validate().is_ok()) else {
            self.failed += 1;
            self.forget_parts();
            return Ok(());
        };
        let text = self.lines.text(group);
        let row = match known(visitor, text) {
            Some(row) => row,
            None => learn(visitor, text)?,
        };
        visitor.histogram(row, histogram, self.timestamp)?;
        if let Some(created) = self.created {
            visitor.created(row, created);
        }
        self.exemplars.drain(..).for_each(|exemplar| visitor.exemplar(row, exemplar));
        self.forget_parts();
        Ok(())
    }

    fn forget_parts(&mut self) {
        self.parts.clear();
        (self.collecting, self.timestamp, self.created) = (None, None, None);
        self.exemplars.clear();
    }

    /// Begins the lines behind a TYPE line.
    fn set_section(&mut self, kind: MetricType, family: Option<&str>) {
        self.family.clear();
        if let Some(family) = family.filter(|_| kind == MetricType::Histogram) {
            self.labels.clear();
            self.labels.push_escaped(family, "");
            self.family.extend(self.labels.iter().map(|(name, _)| name));
            self.section = xxh3_64(self.family.as_bytes());
        }
    }

    fn in_section(&self) -> bool {
        !self.family.is_empty()
    }

    /// What the line of a series that is not known is to its histogram, and the hash of that histogram's labels; `None` if it has to do
    /// with none. Leaves the labels in `labels`.
    fn part_of(&mut self, series: &Series<'_>) -> Option<(Part, u64)> {
        series.labels(&mut self.labels).ok()?;
        let part = match self.labels.get(METRIC_NAME)?.strip_prefix(&*self.family)? {
            "_sum" => Part::Sum,
            "_count" => Part::Count,
            "_bucket" => self.bound().map_or(Part::Other, Part::Bucket),
            "" => Part::Other,
            _ => return None,
        };
        let name = std::iter::once((METRIC_NAME, &*self.family));
        Some((part, hash_pairs(name.chain(base_labels(&self.labels)))))
    }

    /// The upper bound that the labels tell, if there is one.
    fn bound(&self) -> Option<f64> {
        parse_value(self.labels.get(BUCKET_LABEL)?.as_bytes()).ok().filter(|le| !le.is_nan())
    }

    /// Takes the value of a line of a histogram.
    fn collect(&mut self, part: Part, value: f64, timestamp: Option<i64>) {
        match part {
            Part::Bucket(le) => self.parts.bucket(le, value),
            Part::Sum => self.parts.sum(value),
            Part::Count => self.parts.count(value),
            Part::Other => return,
        }
        self.timestamp = timestamp;
    }
}

/// The labels that all lines of a histogram share, but for its name.
fn base_labels(labels: &LabelBuffer) -> impl Iterator<Item = (&str, &str)> + Clone {
    labels.iter().filter(|(name, value)| *name != METRIC_NAME && *name != BUCKET_LABEL && !value.is_empty())
}

/// Has the visitor take in the series with the text that was rendered for it.
#[cold]
fn learn<V: Visitor>(visitor: &mut V, text: &[u8]) -> Result<u32, V::Error> {
    let mut spans = Spans::default();
    // Rendered texts are series.
    let _ = spans.lex(text);
    visitor.learn(Series::new(text, &spans, MetricType::Histogram))
}

/// Stands between a parser and a visitor: see [`ClassicHistograms::around`].
#[derive(Debug)]
pub struct Converting<'a, V: Visitor> {
    state: &'a mut ClassicHistograms,
    keep: bool,
    inner: &'a mut V,
    /// What the visitor refused where it could not be returned at once.
    refused: Option<V::Error>,
}

impl<V: Visitor> Converting<'_, V> {
    /// Ends the histogram that is being collected.
    fn close(&mut self) {
        if self.refused.is_none() {
            self.refused = self.state.tell(self.inner).err();
        }
    }

    /// Goes to a known line of a section, and asks the visitor for its row if it is to be told.
    fn enter(&mut self, at: usize, text: &[u8]) -> Option<u32> {
        let line = self.state.lines.get(at);
        if self.state.collecting.is_some_and(|group| group != line.group) {
            self.close();
        }
        self.state.current = Some(at);
        if self.is_hidden(line.part) { Some(HIDDEN) } else { known(self.inner, text) }
    }

    fn is_hidden(&self, part: Part) -> bool {
        !self.keep && part != Part::Other
    }

    /// The part of a histogram that the last line is.
    fn current(&self) -> Part {
        self.state.current.map_or(Part::Other, |at| self.state.lines.get(at).part)
    }
}

impl<V: Visitor> Visitor for Converting<'_, V> {
    type Error = V::Error;

    #[inline]
    fn expected_len(&self) -> usize {
        if self.state.in_section() { self.state.lines.expected_len() } else { self.inner.expected_len() }
    }

    #[inline]
    fn expected(&mut self, text: &[u8]) -> Option<u32> {
        self.state.current = None;
        if !self.state.in_section() {
            return self.inner.expected(text);
        }
        let at = self.state.lines.expected(text, self.state.section)?;
        self.enter(at, text)
    }

    fn find(&mut self, text: &[u8]) -> Option<u32> {
        self.state.current = None;
        if !self.state.in_section() {
            return self.inner.find(text);
        }
        let at = self.state.lines.find(text, self.state.section)?;
        self.enter(at, text)
    }

    fn learn(&mut self, series: Series<'_>) -> Result<u32, Self::Error> {
        self.state.current = None;
        if self.state.in_section() {
            let at = match self.state.lines.find(series.text(), self.state.section) {
                Some(at) => at,
                None => {
                    let (part, group) = self.state.part_of(&series).map_or((Part::Other, None), |(part, hash)| (part, Some(hash)));
                    let ClassicHistograms { lines, labels, family, section, .. } = &mut *self.state;
                    lines.push(series.text(), *section, part, group, |text| {
                        text.begin(family, "");
                        base_labels(labels).for_each(|(name, value)| text.label(name, value));
                        text.end();
                    })
                }
            };
            if let Some(row) = self.enter(at, series.text()) {
                return Ok(row);
            }
        }
        self.inner.learn(series)
    }

    #[inline]
    fn sample(&mut self, row: u32, value: f64, timestamp: Option<i64>) -> Result<(), Self::Error> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        let Some(at) = self.state.current else { return self.inner.sample(row, value, timestamp) };
        let line = self.state.lines.pass(at);
        if line.part != Part::Other {
            self.state.collecting = Some(line.group);
        }
        self.state.collect(line.part, value, timestamp);
        if self.is_hidden(line.part) { Ok(()) } else { self.inner.sample(row, value, timestamp) }
    }

    fn histogram(&mut self, row: u32, histogram: Histogram, timestamp: Option<i64>) -> Result<(), Self::Error> {
        self.inner.histogram(row, histogram, timestamp)
    }

    fn exemplar(&mut self, row: u32, exemplar: Exemplar) {
        let part = self.current();
        if part != Part::Other && exemplar.timestamp.is_some() {
            self.state.exemplars.push(exemplar);
        } else if !self.is_hidden(part) {
            self.inner.exemplar(row, exemplar);
        }
    }

    fn created(&mut self, row: u32, created: i64) {
        let part = self.current();
        if part != Part::Other {
            self.state.created.get_or_insert(created);
        }
        if !self.is_hidden(part) {
            self.inner.created(row, created);
        }
    }

    fn metadata(&mut self, entry: Entry<'_>) {
        self.close();
        if let Entry::Type { family, kind } = entry {
            self.state.set_section(kind, Some(family));
        }
        if self.inner.wants_metadata() {
            self.inner.metadata(entry);
        }
    }

    #[inline]
    fn expected_comments(&mut self, rest: &[u8]) -> Option<Comments> {
        self.close();
        let comments = self.inner.expected_comments(rest)?;
        if let Some(kind) = comments.kind {
            let family = if kind == MetricType::Histogram { last_family(&rest[..comments.len]) } else { None };
            self.state.set_section(kind, family);
        }
        Some(comments)
    }

    fn learn_comments(&mut self, text: &[u8], comments: Comments) {
        self.inner.learn_comments(text, comments);
    }
}

/// The family in the last TYPE line of comments that were read before, as it is written.
fn last_family(comments: &[u8]) -> Option<&str> {
    let family = |line: &'_ [u8]| -> Option<(usize, usize)> {
        let word = skip_spaces(line, 1);
        let keyword = line.get(word..word + 4)?;
        let name = skip_spaces(line, word + 4);
        if line.first() != Some(&b'#') || keyword != b"TYPE" || name == word + 4 {
            return None;
        }
        match line.get(name)? {
            b'"' => quoted_end(line, name).ok().map(|end| (name + 1, end - 1)),
            _ => Some((name, skip_while(line, name, |byte| !is_space(byte)))),
        }
    };
    let lines = comments.rsplit(|byte| *byte == b'\n');
    lines.into_iter().find_map(|line| family(line).and_then(|(start, end)| std::str::from_utf8(&line[start..end]).ok()))
}

#[cfg(test)]
mod tests;
