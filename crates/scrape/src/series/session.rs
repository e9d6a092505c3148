//! One scrape of a target while its body comes in: what the parser finds is put into columns, and nothing of the target's state changes
//! before the body is complete and right.

use model::Batch;

use super::columns::Columns;
use super::commit;
use super::error::SeriesError;
use super::format::{Format, Parsers};
use super::state::TargetSeries;
use super::visit::Visit;

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

/// What a good scrape brought and is not handed on, beside samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Classic histograms that could not be converted.
    pub not_converted: usize,
    /// Exemplars whose labels are too long, occur twice or are not UTF-8.
    pub exemplars_refused: usize,
    /// Exemplars that are older than the last one of their series, where a series has no other.
    pub exemplars_out_of_order: usize,
}

/// What a scrape brought.
#[derive(Debug, Default)]
pub struct Scraped {
    /// In the order in which they are to be handed on: zero samples at start times; the samples; further samples of series that came
    /// more than once with different timestamps; staleness markers. Those that would be empty are not there.
    pub batches: Vec<Batch>,
    /// What was counted.
    pub counts: Counts,
    /// What is not handed on.
    pub dropped: Dropped,
}

/// Memory that a scrape needs only while it goes on. To be used again for any target.
#[derive(Default)]
pub struct Scratch {
    parsers: Parsers,
    pub(super) columns: Columns,
}

/// A scrape that goes on. Dropping it leaves the target as it was.
pub struct Session<'a> {
    parsers: &'a mut Parsers,
    visit: Visit<'a>,
}

impl<'a> Session<'a> {
    pub(super) fn new(target: &'a mut TargetSeries, timestamp: i64, format: Format, scratch: &'a mut Scratch) -> Self {
        scratch.parsers.reset(format, &target.rules);
        Self { parsers: &mut scratch.parsers, visit: Visit::new(target, &mut scratch.columns, timestamp) }
    }

    /// Bounds the memory of what the scrape brings beside values of series that are known, in bytes: short lines of new series take
    /// several times their length, and so do histograms. What goes beyond fails the scrape.
    #[must_use]
    pub fn with_max_memory(mut self, bytes: usize) -> Self {
        self.visit.max_memory = bytes;
        self
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// [`SeriesError`]: the scrape has failed.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), SeriesError> {
        self.parsers.feed(bytes, &mut self.visit)
    }

    /// Takes over what the body brought. An empty body is a good one: all series have vanished then.
    ///
    /// # Errors
    /// [`SeriesError`] with what was counted so far: the scrape has failed, and the target is as it was before it began. The caller
    /// then ends its series with [`TargetSeries::end`].
    pub fn finish(mut self) -> Result<Scraped, (SeriesError, Counts)> {
        let finished = self.parsers.finish(&mut self.visit);
        self.visit.end();
        let (counts, limit) = (self.visit.counts, self.visit.target.rules.sample_limit);
        if let Err(error) = finished.and_then(|()| self.visit.check_memory()) {
            return Err((error, counts));
        }
        if limit > 0 && counts.taken > limit {
            return Err((SeriesError::SampleLimit { samples: counts.taken, limit }, counts));
        }
        match self.visit.bucket_limit {
            Some(error) => Err((error, counts)),
            None => Ok(commit::commit(self.visit)),
        }
    }

    /// What the parser talks to, for tests that tell what no text can say.
    #[cfg(test)]
    pub(super) fn visit(&mut self) -> &mut Visit<'a> {
        &mut self.visit
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.visit.counts
    }
}
