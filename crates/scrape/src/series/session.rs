//! One scrape of a target while its body comes in: what the parser finds is put into columns, and nothing of the target's state changes
//! before the body is complete and right.

use exposition::{Comments, Error, LabelBuffer, Parser, Series, Visitor};
use hashbrown::HashMap;
use model::Batch;
use xxhash_rust::xxh3::xxh3_64;

use super::comments::Run;
use super::commit;
use super::error::{SeriesError, beginning};
use super::fresh::Fresh;
use super::index::Index;
use super::labels;
use super::state::{NO_STAMP, TargetSeries};

/// The bits of a value that is not there yet: a NaN that no parser gives, as all scraped NaNs have the same bits.
const UNSEEN_BITS: u64 = 0x7ff8_dead_dead_dead;
pub(super) const UNSEEN: f64 = f64::from_bits(UNSEEN_BITS);

/// The row of all series beyond the sample limit: they are only counted.
const OVER: u32 = u32::MAX;

/// This many rows after the expected one are looked at before the index is: so a few vanished series don't need one.
const LOOK_AHEAD: usize = 8;

/// Timestamps that are further in the future than this are refused, in milliseconds (Prometheus: `maxAheadTime`).
const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;

/// Column capacities beyond this are given back after a scrape, so that one large target doesn't leave its size in every scratch.
const MAX_KEPT_ROWS: usize = 1 << 16;

/// What a scrape counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sample lines of the body, `scrape_samples_scraped`.
    pub scraped: usize,
    /// Series that the scrape before didn't have, `scrape_series_added`. 0 if the scrape failed.
    pub added: usize,
    /// Samples that came after another one of the same series, without a later timestamp.
    pub duplicates: usize,
    /// Samples whose own timestamp is before the last one of their series.
    pub out_of_order: usize,
    /// Samples whose own timestamp is more than ten minutes in the future.
    pub out_of_bounds: usize,
    /// Samples that count against the sample limit.
    pub taken: usize,
}

/// What a scrape brought.
#[derive(Debug, Default)]
pub struct Scraped {
    /// In the order in which they are to be handed on: the samples; further samples of series that came more than once with different
    /// timestamps; staleness markers. Those that would be empty are not there.
    pub batches: Vec<Batch>,
    /// What was counted.
    pub counts: Counts,
}

/// Memory that a scrape needs only while it goes on. To be used again for any target.
#[derive(Default)]
pub struct Scratch {
    parser: Parser,
    pub(super) columns: Columns,
}

impl Scratch {
    /// A scratch whose parser refuses lines of more than `max_line` bytes.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        Self { parser: Parser::new(max_line), columns: Columns::default() }
    }
}

/// The columns of a scrape: first the rows of the layout, then new series.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) values: Vec<f64>,
    /// The timestamps that the target gave, [`NO_STAMP`] where it gave none; empty if it gave none at all.
    pub(super) stamps: Vec<i64>,
    pub(super) fresh: Fresh,
    /// Rows whose sample is not to be handed on.
    pub(super) omitted: Vec<u32>,
    /// Further samples of rows: row, timestamp, value.
    pub(super) extras: Vec<(u32, i64, f64)>,
    /// The last timestamp and value of rows with further samples.
    last: HashMap<u32, (i64, u64)>,
    pub(super) runs: Vec<Run>,
    exposed: LabelBuffer,
    merged: LabelBuffer,
}

impl Columns {
    fn reset(&mut self, rows: usize) {
        if self.values.capacity() > MAX_KEPT_ROWS {
            *self = Self::default();
        }
        self.values.clear();
        self.values.resize(rows, UNSEEN);
        self.stamps.clear();
        self.fresh.clear();
        self.omitted.clear();
        self.extras.clear();
        self.last.clear();
        self.runs.clear();
    }

    pub(super) fn is_seen(&self, row: usize) -> bool {
        self.values[row].to_bits() != UNSEEN_BITS
    }
}

/// A scrape that goes on. Dropping it leaves the target as it was.
pub struct Session<'a> {
    parser: &'a mut Parser,
    visit: Visit<'a>,
}

impl<'a> Session<'a> {
    pub(super) fn new(target: &'a mut TargetSeries, timestamp: i64, scratch: &'a mut Scratch) -> Self {
        let rows = target.rows.texts.len();
        scratch.parser.reset();
        scratch.columns.reset(rows);
        let columns = &mut scratch.columns;
        let visit = Visit { target, columns, timestamp, rows, next: 0, next_run: 0, seen: 0, counts: Counts::default() };
        Self { parser: &mut scratch.parser, visit }
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// [`SeriesError`]: the scrape has failed.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), SeriesError> {
        self.parser.feed(bytes, &mut self.visit).map_err(flat)
    }

    /// Takes over what the body brought. An empty body is a good one: all series have vanished then.
    ///
    /// # Errors
    /// [`SeriesError`] with what was counted so far: the scrape has failed, and the target is as it was before it began. The caller
    /// then ends its series with [`TargetSeries::end`].
    pub fn finish(mut self) -> Result<Scraped, (SeriesError, Counts)> {
        let finished = self.parser.finish(&mut self.visit).map_err(flat);
        let (counts, limit) = (self.visit.counts, self.visit.target.rules.sample_limit);
        match finished {
            Err(error) => Err((error, counts)),
            Ok(()) if limit > 0 && counts.taken > limit => Err((SeriesError::SampleLimit { samples: counts.taken, limit }, counts)),
            Ok(()) => Ok(commit::commit(self.visit)),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.visit.counts
    }
}

fn flat(error: Error<SeriesError>) -> SeriesError {
    match error {
        Error::Syntax(error) => error.into(),
        Error::Protobuf(error) => error.into(),
        Error::Refused(error) => error,
    }
}

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
    /// Rows of the layout that have a value.
    pub(super) seen: usize,
    pub(super) counts: Counts,
}

impl Visitor for Visit<'_> {
    type Error = SeriesError;

    const WANTS_METADATA: bool = false;

    #[inline]
    fn expected_len(&self) -> usize {
        self.target.rows.lens.get(self.next).map_or(0, |len| usize::from(*len))
    }

    #[inline]
    fn expected(&mut self, text: &[u8]) -> Option<u32> {
        (self.target.rows.texts.get(self.next) == Some(&xxh3_64(text))).then_some(self.next as u32)
    }

    fn find(&mut self, text: &[u8]) -> Option<u32> {
        let hash = xxh3_64(text);
        let texts = &self.target.rows.texts;
        let ahead = &texts[self.next.min(self.rows)..self.rows.min(self.next + LOOK_AHEAD)];
        if let Some(at) = ahead.iter().position(|text| *text == hash) {
            return Some((self.next + at) as u32);
        }
        if let Some(row) = self.target.aliases.as_ref().and_then(|aliases| aliases.get(&hash)) {
            return Some(*row);
        }
        if self.rows > 0
            && let Some(row) = self.target.index.get_or_insert_with(|| Index::new(texts)).find(hash, texts)
        {
            return Some(row);
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

    #[inline]
    fn expected_comments(&mut self, rest: &[u8]) -> Option<Comments> {
        self.target.runs.expect(self.next as u32, rest, &mut self.next_run)
    }

    fn learn_comments(&mut self, text: &[u8], comments: Comments) {
        // Where lines change their order, comments come anywhere too.
        if self.rows > 0 && self.target.index.is_none() {
            self.columns.runs.extend(Run::new(self.next as u32, text, comments));
        }
    }
}

impl Visit<'_> {
    fn take_in(&mut self, series: Series<'_>) -> Result<u32, SeriesError> {
        let Columns { exposed, merged, fresh, values, .. } = &mut *self.columns;
        let row = u32::try_from(values.len()).ok().filter(|row| *row < OVER).ok_or(SeriesError::TooManySeries)?;
        let exposed_labels = series.labels(exposed);
        labels::merge(exposed, &self.target.labels, self.target.rules.honor_labels, merged);
        exposed_labels.map_err(|error| SeriesError::DuplicateLabel {
            series: beginning(&String::from_utf8_lossy(series.shown())),
            name: error.name,
        })?;
        labels::check(merged, &self.target.rules)?;
        fresh.push(series.text(), merged, self.next as u32)?;
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
            columns.extras.push((row, timestamp, value));
            columns.last.insert(row, (timestamp, value.to_bits()));
        } else if value.to_bits() != bits {
            self.counts.duplicates += 1;
        }
    }
}
