//! What the parser finds, line by line, on its way into the columns. The cost of a sample is what stands here.

use exposition::{Comments, Entry, Series, Visitor};
use model::labels::METRIC_NAME;
use model::stale::NORMAL_NAN_BITS;
use model::{BucketLimit, Exemplar, Histogram};
use xxhash_rust::xxh3::xxh3_64;

use super::columns::{Columns, Extra, UNSEEN, UNSEEN_BITS};
use super::comments::Run;
use super::error::{SeriesError, beginning};
use super::exemplars;
use super::format::Format;
use super::labels::{self, Schema};
use super::layouts::Finder;
use super::session::{Counts, Dropped};
use super::state::{NO_STAMP, TargetSeries};

/// The row of all series beyond the sample limit: they are only counted.
const OVER: u32 = u32::MAX;

/// This many rows after the expected one are looked at before all rows are: so a few vanished series cost nothing.
const LOOK_AHEAD: usize = 8;

/// Timestamps that are further in the future than this are refused, in milliseconds (Prometheus: `maxAheadTime`).
const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;

/// What the parser talks to.
pub(super) struct Visit<'a> {
    pub(super) target: &'a mut TargetSeries,
    pub(super) columns: &'a mut Columns,
    pub(super) timestamp: i64,
    /// Rows of the target's layout; higher numbers are new series.
    pub(super) rows: usize,
    /// The row that is expected next.
    next: usize,
    next_run: usize,
    /// What is told about families matters.
    families: bool,
    /// How many samples there were when something was told last.
    told_at: usize,
    /// Rows of the layout that have a value.
    pub(super) seen: usize,
    pub(super) counts: Counts,
    pub(super) dropped: Dropped,
    /// Bytes that new series, histograms and exemplars may take.
    pub(super) max_memory: usize,
    /// The first breach of the bucket limit.
    pub(super) bucket_limit: Option<SeriesError>,
}

impl<'a> Visit<'a> {
    pub(super) fn new(target: &'a mut TargetSeries, columns: &'a mut Columns, timestamp: i64) -> Self {
        let (rows, families) = (target.rows.texts.len(), target.rules.wants_families());
        columns.reset(rows, target.rules.honor_metadata, target.format);
        Self {
            target,
            columns,
            timestamp,
            rows,
            next: 0,
            next_run: 0,
            families,
            told_at: usize::MAX,
            seen: 0,
            counts: Counts::default(),
            dropped: Dropped::default(),
            max_memory: usize::MAX,
            bucket_limit: None,
        }
    }

    /// Notes the end of the body.
    pub(super) fn end(&mut self) {
        self.columns.families.compare(&self.target.layout, self.next);
    }
}

impl Visitor for Visit<'_> {
    type Error = SeriesError;

    #[inline]
    fn wants_metadata(&self) -> bool {
        self.families
    }

    // Always: there are several parsers, so that the compiler would call these two, which costs a tenth of an unchanged body.
    #[inline(always)]
    fn expected_len(&self) -> usize {
        self.target.rows.lens.get(self.next).map_or(0, |len| usize::from(*len))
    }

    #[inline(always)]
    fn expected(&mut self, text: &[u8]) -> Option<u32> {
        (self.target.rows.texts.get(self.next) == Some(&xxh3_64(text))).then_some(self.next as u32)
    }

    fn find(&mut self, text: &[u8]) -> Option<u32> {
        let hash = xxh3_64(text);
        let texts = &self.target.rows.texts;
        let ahead = &texts[self.next.min(self.rows)..self.rows.min(self.next + LOOK_AHEAD)];
        if let Some(at) = ahead.iter().position(|text| *text == hash) {
            return Some(self.jump((self.next + at) as u32));
        }
        if let Some(row) = self.target.aliases.as_ref().and_then(|aliases| aliases.get(&hash)) {
            return Some(self.jump(*row));
        }
        if self.rows > 0
            && let Some(row) = self.target.elsewhere.find(hash, texts)
        {
            return Some(self.jump(row));
        }
        self.columns.fresh.find(hash).map(|number| self.rows as u32 + number)
    }

    fn learn(&mut self, series: Series<'_>) -> Result<u32, SeriesError> {
        let limit = self.target.rules.sample_limit;
        if limit > 0 && self.counts.taken >= limit {
            return Ok(OVER);
        }
        self.take_in(series).inspect_err(|_| self.counts.scraped += 1)
    }

    #[inline]
    fn sample(&mut self, row: u32, value: f64, timestamp: Option<i64>) -> Result<(), SeriesError> {
        self.counts.scraped += 1;
        let timestamp = timestamp.filter(|_| self.target.rules.honor_timestamps);
        let at = row as usize;
        let Some(place) = self.columns.values.get_mut(at) else {
            self.counts.taken += 1; // OVER
            return Ok(());
        };
        if place.to_bits() != UNSEEN_BITS {
            self.again(row, value, timestamp);
            return Ok(());
        }
        *place = value;
        self.counts.taken += 1;
        if at < self.rows {
            self.seen += 1;
            self.next = at + 1;
        }
        if let Some(timestamp) = timestamp {
            self.stamp(row, timestamp);
        }
        Ok(())
    }

    fn histogram(&mut self, row: u32, mut histogram: Histogram, timestamp: Option<i64>) -> Result<(), SeriesError> {
        if histogram.sum.is_nan() {
            // Neither a staleness marker nor the mark of a place that is empty.
            histogram.sum = f64::from_bits(NORMAL_NAN_BITS);
        }
        if !self.judge(row, &mut histogram)? {
            return Ok(());
        }
        let place = self.columns.values.get(row as usize).map(|value| value.to_bits());
        let extras = self.columns.extras.len();
        self.sample(row, histogram.sum, timestamp)?;
        if place == Some(UNSEEN_BITS) {
            self.columns.details.push_histogram(row, histogram);
        } else if let Some(extra) = self.columns.extras.get_mut(extras) {
            self.columns.details.bytes += size_of::<Histogram>() + histogram.heap_bytes();
            extra.histogram = Some(Box::new(histogram));
        }
        self.check_memory()
    }

    fn exemplar(&mut self, row: u32, exemplar: Exemplar) {
        if !self.has_place(row) {
            return;
        }
        if !exemplars::is_valid(&exemplar) {
            self.dropped.exemplars_refused += 1;
        } else if exemplar.timestamp.is_some() || !self.columns.is_histogram(row) {
            // As in Prometheus: exemplars of native histograms need a time.
            self.columns.details.push_exemplar(row, exemplar);
        }
    }

    fn created(&mut self, row: u32, created: i64) {
        if self.has_place(row) {
            self.columns.details.push_created(row, created);
        }
    }

    fn metadata(&mut self, entry: Entry<'_>) {
        self.told_at = self.counts.scraped;
        self.columns.families.tell(entry, &self.target.layout, self.next);
    }

    #[inline]
    fn expected_comments(&mut self, rest: &[u8]) -> Option<Comments> {
        if !self.families {
            return self.target.runs.expect(self.next as u32, rest, &mut self.next_run);
        }
        // The end of a run of which the beginning was read is part of what was told.
        let whole = self.told_at != self.counts.scraped;
        let known = whole.then(|| self.target.runs.expect(self.next as u32, rest, &mut self.next_run)).flatten()?;
        self.columns.families.recognised(&self.target.layout, self.next);
        Some(known)
    }

    fn learn_comments(&mut self, text: &[u8], comments: Comments) {
        // Where lines change their order, comments come anywhere too.
        if self.rows == 0 || self.target.elsewhere.is_indexed() {
            return;
        }
        let all_is_known =
            !self.families || (!self.target.rules.type_and_unit_labels && self.columns.families.hold_of(&self.target.layout, self.next));
        if all_is_known {
            self.columns.runs.extend(Run::new(self.next as u32, text, comments));
        }
    }
}

impl Visit<'_> {
    /// A series of the layout that perhaps was not the expected one.
    fn jump(&mut self, row: u32) -> u32 {
        if self.families && row as usize != self.next {
            self.columns.families.jump(&self.target.layout, self.next, row as usize);
        }
        row
    }

    /// Makes a histogram as coarse as the rules want it; whether it keeps to the bucket limit then. If not, the body is still read to its
    /// end, as in Prometheus, so that all of its samples are counted.
    fn judge(&mut self, row: u32, histogram: &mut Histogram) -> Result<bool, SeriesError> {
        let rules = &self.target.rules;
        let mut judged = histogram.limit_schema(rules.max_schema).map_err(BucketLimit::Invalid);
        if rules.bucket_limit > 0 {
            judged = judged.and_then(|()| histogram.limit_buckets(rules.bucket_limit));
        }
        match judged.and_then(|()| Ok(histogram.validate()?)) {
            Ok(()) => Ok(true),
            Err(BucketLimit::Invalid(reason)) => {
                self.counts.scraped += 1;
                Err(SeriesError::Histogram { series: self.shown(row), reason })
            }
            Err(BucketLimit::Exceeded { buckets, limit }) => {
                self.counts.scraped += 1;
                if self.bucket_limit.is_none() {
                    self.bucket_limit = Some(SeriesError::BucketLimit { series: self.shown(row), buckets, limit });
                }
                Ok(false)
            }
        }
    }

    /// How the series of a row begins, for errors: a known one, or the one that was learnt last.
    fn shown(&self, row: u32) -> Box<str> {
        if (row as usize) < self.rows {
            let series = Finder::new(&self.target.layout).series(row as usize);
            return labels::shown(series.iter());
        }
        labels::shown(self.columns.merged.iter())
    }

    /// Whether something may be added to a row: it is not beyond the sample limit, and there is memory for it. Who goes beyond that is
    /// told at the end of the body, if not before.
    fn has_place(&self, row: u32) -> bool {
        (row as usize) < self.columns.values.len() && self.check_memory().is_ok()
    }

    /// Whether what the scrape has brought so far keeps to the bound of memory.
    pub(super) fn check_memory(&self) -> Result<(), SeriesError> {
        let bytes = self.columns.fresh.bytes() + self.columns.details.bytes;
        if bytes > self.max_memory { Err(SeriesError::Memory { limit: self.max_memory }) } else { Ok(()) }
    }

    fn take_in(&mut self, series: Series<'_>) -> Result<u32, SeriesError> {
        self.check_memory()?;
        let Columns { exposed, merged, fresh, values, families, .. } = &mut *self.columns;
        let row = u32::try_from(values.len()).ok().filter(|row| *row < OVER).ok_or(SeriesError::TooManySeries)?;
        let rules = &self.target.rules;
        let exposed_labels = series.labels(exposed);
        let schema = if rules.type_and_unit_labels { Schema::new(series.kind(), families.unit()) } else { Schema::default() };
        labels::merge(exposed, schema, &self.target.labels, rules.honor_labels, merged);
        exposed_labels.map_err(|error| SeriesError::DuplicateLabel {
            series: beginning(&String::from_utf8_lossy(series.shown())),
            name: error.name,
        })?;
        labels::check(merged, rules)?;
        let wanted = rules.honor_metadata.then(|| merged.get(METRIC_NAME)).flatten();
        let metadata = wanted.and_then(|name| families.of(name, &self.target.layout));
        let text = series.text();
        // Parsers of lines want no expectation of texts over several of them.
        let expectable = self.target.format == Format::Protobuf || !text.contains(&b'\n');
        let len = u16::try_from(text.len()).ok().filter(|_| expectable).unwrap_or(0);
        fresh.push((text, len), merged, self.next as u32, metadata.as_ref())?;
        values.push(UNSEEN);
        Ok(row)
    }

    /// A sample with a timestamp of its own, the first of its series in this scrape.
    #[cold]
    fn stamp(&mut self, row: u32, timestamp: i64) {
        let at = row as usize;
        let last = self.target.stamps.as_ref().and_then(|stamps| stamps.get(at)).copied().unwrap_or(NO_STAMP);
        let columns = &mut *self.columns;
        columns.stamps.resize(columns.values.len(), NO_STAMP);
        if timestamp > self.timestamp.saturating_add(MAX_AHEAD_MS) {
            self.counts.out_of_bounds += 1;
        } else if timestamp < last {
            self.counts.out_of_order += 1;
        } else {
            columns.stamps[at] = timestamp;
            return;
        }
        // Known to have a timestamp, though not this one.
        columns.stamps[at] = last.max(NO_STAMP + 1);
        columns.omitted.push(row);
    }

    /// A further sample of a series. As in Prometheus the first one counts, unless the target gives a later time.
    #[cold]
    fn again(&mut self, row: u32, value: f64, timestamp: Option<i64>) {
        self.columns.families.stay(self.next);
        let Some(timestamp) = timestamp else {
            self.counts.duplicates += 1;
            return;
        };
        self.counts.taken += 1;
        let at = row as usize;
        let columns = &mut *self.columns;
        let first_stamp = columns.stamps.get(at).copied().filter(|stamp| *stamp != NO_STAMP).unwrap_or(self.timestamp);
        let (last, bits) = columns.last.get(&row).copied().unwrap_or((first_stamp, columns.values[at].to_bits()));
        if timestamp > self.timestamp.saturating_add(MAX_AHEAD_MS) {
            self.counts.out_of_bounds += 1;
        } else if timestamp < last {
            self.counts.out_of_order += 1;
        } else if timestamp > last {
            columns.extras.push(Extra { row, stamp: timestamp, value, histogram: None });
            columns.last.insert(row, (timestamp, value.to_bits()));
        } else if value.to_bits() != bits {
            self.counts.duplicates += 1;
        }
    }
}
