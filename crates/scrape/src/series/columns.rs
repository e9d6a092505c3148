//! The columns of a scrape under way: what its body has brought so far, by rows. First come the rows of the target's layout, then new
//! series.

use exposition::LabelBuffer;
use hashbrown::HashMap;
use model::Histogram;

use super::comments::Run;
use super::details::DetailColumns;
use super::families::Families;
use super::format::Format;
use super::fresh::Fresh;

/// The bits of a value that is not there yet: a NaN that no parser gives, as all scraped NaNs have the same bits.
pub(super) const UNSEEN_BITS: u64 = 0x7ff8_dead_dead_dead;
pub(super) const UNSEEN: f64 = f64::from_bits(UNSEEN_BITS);

/// Column capacities beyond this are given back after a scrape, so that one large target doesn't leave its size in every scratch.
const MAX_KEPT_ROWS: usize = 1 << 16;

/// A further sample of a row, with a time of its own.
#[derive(Debug)]
pub(super) struct Extra {
    pub(super) row: u32,
    pub(super) stamp: i64,
    pub(super) value: f64,
    /// What the sample is instead of its value.
    pub(super) histogram: Option<Box<Histogram>>,
}

#[derive(Default)]
pub(super) struct Columns {
    pub(super) values: Vec<f64>,
    /// The timestamps that the target gave, [`super::state::NO_STAMP`] where it gave none; empty if it gave none at all.
    pub(super) stamps: Vec<i64>,
    pub(super) fresh: Fresh,
    pub(super) details: DetailColumns,
    pub(super) families: Families,
    /// Rows whose sample is not to be handed on.
    pub(super) omitted: Vec<u32>,
    pub(super) extras: Vec<Extra>,
    /// The last timestamp and value of rows with further samples.
    pub(super) last: HashMap<u32, (i64, u64)>,
    pub(super) runs: Vec<Run>,
    pub(super) exposed: LabelBuffer,
    pub(super) merged: LabelBuffer,
}

impl Columns {
    /// Makes the columns ready for a body of a format over a layout of so many rows, whose series keep what is told of their families or
    /// don't.
    pub(super) fn reset(&mut self, rows: usize, keep_families: bool, format: Format) {
        if self.values.capacity() > MAX_KEPT_ROWS {
            *self = Self::default();
        }
        self.values.clear();
        self.values.resize(rows, UNSEEN);
        self.stamps.clear();
        self.fresh.clear();
        self.details.clear();
        self.families.reset(keep_families, format);
        self.omitted.clear();
        self.extras.clear();
        self.last.clear();
        self.runs.clear();
    }

    pub(super) fn is_seen(&self, row: usize) -> bool {
        self.values[row].to_bits() != UNSEEN_BITS
    }

    /// Whether the sample that came last is a histogram of this row.
    pub(super) fn is_histogram(&self, row: u32) -> bool {
        let first = self.details.histograms.last().is_some_and(|(last, _)| *last == row);
        first || self.extras.last().is_some_and(|extra| extra.row == row && extra.histogram.is_some())
    }
}
