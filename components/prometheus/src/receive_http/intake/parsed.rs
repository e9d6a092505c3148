//! What a request says, before it is anybody's series: rows with a value and a time, each of a series whose labels are still bytes of the
//! request. Filled by `v1` and `v2`, read by `assemble`; its memory is used again for the next request.
//!
//! Everything here has a bound, as a request of 32 MiB could otherwise ask for many times as much: a sample takes two bytes on the wire
//! and thirty in memory.

use model::Histogram;

use super::wire::Malformed;

/// Most samples and histograms of a request. A push has a few thousand; Prometheus' largest would have about as many as this.
pub(super) const MAX_ROWS: usize = 1 << 20;
/// Most time series of a request, counting each as often as it comes.
pub(super) const MAX_SERIES: usize = 1 << 20;
/// Most bytes that histograms and exemplars may take in memory.
pub(super) const MAX_DETAIL_BYTES: usize = 64 << 20;
/// Vectors of more than this are given back after a request, rather than kept for the next.
const MAX_KEPT: usize = 64 << 10;

/// A series as far as it is known without looking at its labels' texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    /// The same for the same labels in the same encoding, and hardly for any others.
    pub key: u128,
    /// Where its message is in the request.
    pub from: u32,
    pub to: u32,
    pub said: Said,
    /// The last row of the series in this message.
    pub last_row: Option<u32>,
    /// Routing key, see [`super::route`].
    pub source: u8,
}

/// What a message of remote write 2.0 says about its series; references into the symbols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The number in `Metadata.MetricType`.
    pub kind: u8,
    pub help: u32,
    pub unit: u32,
}

/// A sample or histogram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub value: f64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The number of its series.
    pub series: u32,
}

/// A string of remote write 2.0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    pub from: u32,
    pub to: u32,
    pub hash: u128,
}

/// See the module.
#[derive(Default)]
pub(super) struct Parsed {
    pub series: Vec<Series>,
    pub rows: Vec<Row>,
    /// Of rows, in row order.
    pub histograms: Vec<(u32, Histogram)>,
    /// Start times of rows, in row order.
    pub created: Vec<(u32, i64)>,
    /// Exemplars by the number of their series, and where their messages are.
    pub exemplars: Vec<(u32, u32, u32)>,
    pub symbols: Vec<Symbol>,
    detail_bytes: usize,
}

impl Parsed {
    /// Makes ready for another request.
    pub fn clear(&mut self) {
        reset(&mut self.series);
        reset(&mut self.rows);
        reset(&mut self.histograms);
        reset(&mut self.created);
        reset(&mut self.exemplars);
        reset(&mut self.symbols);
        self.detail_bytes = 0;
    }

    /// Adds a sample of the series that is being read; its row.
    #[inline]
    pub fn push_row(&mut self, value: f64, timestamp: i64) -> Result<u32, Malformed> {
        if self.rows.len() >= MAX_ROWS {
            return Err(Malformed("there are more than 1048576 samples in the request; send several requests"));
        }
        let row = self.rows.len() as u32;
        self.rows.push(Row { value, timestamp, series: self.series.len() as u32 });
        Ok(row)
    }

    /// Adds the series that was read.
    #[inline]
    pub fn push_series(&mut self, series: Series) -> Result<(), Malformed> {
        if self.series.len() >= MAX_SERIES {
            return Err(Malformed("there are more than 1048576 series in the request; send several requests"));
        }
        self.series.push(series);
        Ok(())
    }

    /// Adds an exemplar of the series that is being read.
    pub fn push_exemplar(&mut self, from: usize, to: usize) -> Result<(), Malformed> {
        // The shortest label takes eight bytes on the wire and eight times as many in memory.
        self.details(size_of::<model::Exemplar>() + 8 * (to - from))?;
        self.exemplars.push((self.series.len() as u32, from as u32, to as u32));
        Ok(())
    }

    /// Adds a histogram in place of a row's value.
    pub fn push_histogram(&mut self, row: u32, histogram: Histogram) {
        self.histograms.push((row, histogram));
    }

    /// Counts memory for histograms and exemplars before it is allocated.
    pub fn details(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.detail_bytes += bytes;
        if self.detail_bytes > MAX_DETAIL_BYTES {
            return Err(Malformed("the histograms and exemplars of the request take more than 64 MiB; send several requests"));
        }
        Ok(())
    }

    /// Takes back the rows that were added from `row` on, with what they have: their series is left out.
    pub fn take_back(&mut self, row: usize) {
        self.rows.truncate(row);
        let row = row as u32;
        let series = self.series.len() as u32;
        truncate_from(&mut self.histograms, |(of, _)| *of >= row);
        truncate_from(&mut self.created, |(of, _)| *of >= row);
        truncate_from(&mut self.exemplars, |(of, ..)| *of >= series);
    }
}

fn truncate_from<T>(all: &mut Vec<T>, is_beyond: impl Fn(&T) -> bool) {
    while all.last().is_some_and(&is_beyond) {
        all.pop();
    }
}

/// Empties a vector; gives its memory back if that was for an unusual request.
pub(super) fn reset<T>(all: &mut Vec<T>) {
    all.clear();
    if all.capacity() > MAX_KEPT {
        *all = Vec::new();
    }
}
