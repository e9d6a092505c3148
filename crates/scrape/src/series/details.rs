//! What few samples of a scrape have beside a value, by rows: on its way from the body into the batch's details.

use std::sync::Arc;

use model::{Batch, Counts, Details, Exemplar, Histogram, Layout, LayoutBuilder, ResetHint};

use super::layouts::{self, Finder};

/// What a label takes beside its texts.
const LABEL_BYTES: usize = 16;

/// In the order of the body, so rows may come in any order, and more than once.
#[derive(Debug, Default)]
pub(super) struct DetailColumns {
    pub(super) histograms: Vec<(u32, Histogram)>,
    pub(super) exemplars: Vec<(u32, Exemplar)>,
    pub(super) created: Vec<(u32, i64)>,
    /// Bytes that everything together takes, roughly.
    pub(super) bytes: usize,
}

impl DetailColumns {
    /// Adds a histogram.
    pub(super) fn push_histogram(&mut self, row: u32, histogram: Histogram) {
        self.bytes += size_of::<(u32, Histogram)>() + histogram.heap_bytes();
        self.histograms.push((row, histogram));
    }

    /// Adds an exemplar.
    pub(super) fn push_exemplar(&mut self, row: u32, exemplar: Exemplar) {
        let labels: usize = exemplar.labels.iter().map(|(name, value)| LABEL_BYTES + name.len() + value.len()).sum();
        self.bytes += size_of::<(u32, Exemplar)>() + labels;
        self.exemplars.push((row, exemplar));
    }

    /// Adds a start time.
    pub(super) fn push_created(&mut self, row: u32, created: i64) {
        self.bytes += size_of::<(u32, i64)>();
        self.created.push((row, created));
    }

    pub(super) fn clear(&mut self) {
        // Not kept for the next target: most have none.
        *self = Self::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.histograms.is_empty() && self.exemplars.is_empty() && self.created.is_empty()
    }

    /// Gives rows other numbers; those that get none are dropped.
    pub(super) fn renumber(&mut self, new_row: impl Fn(u32) -> Option<u32>) {
        renumber(&mut self.histograms, &new_row);
        renumber(&mut self.exemplars, &new_row);
        renumber(&mut self.created, &new_row);
    }

    /// Puts everything into row order. Of several histograms or start times of a row the first one stays.
    pub(super) fn sort(&mut self) {
        self.histograms.sort_by_key(|(row, _)| *row);
        self.histograms.dedup_by_key(|(row, _)| *row);
        self.created.sort_by_key(|(row, _)| *row);
        self.created.dedup_by_key(|(row, _)| *row);
        self.exemplars.sort_by_key(|(row, _)| *row);
    }

    /// The details of a batch; only after [`DetailColumns::sort`].
    pub(super) fn take(&mut self) -> Details {
        let Self { histograms, exemplars, created, bytes: _ } = std::mem::take(self);
        Details { histograms: histograms.into(), exemplars: exemplars.into(), created: created.into() }
    }
}

fn renumber<T>(rows: &mut Vec<(u32, T)>, new_row: impl Fn(u32) -> Option<u32>) {
    rows.retain_mut(|(row, _)| new_row(*row).map(|new| *row = new).is_some());
}

/// Zero samples at the start times of rows: (row, start time). A histogram's is an empty one of its form that counts as a reset.
pub(super) fn zeros(source: u64, layout: &Layout, starts: &[(u32, i64)], details: &DetailColumns, timestamp: i64) -> Option<Batch> {
    if starts.is_empty() {
        return None;
    }
    let (mut builder, finder) = (LayoutBuilder::default(), Finder::new(layout));
    starts.iter().for_each(|(row, _)| layouts::push(&mut builder, finder.series(*row as usize)));
    let values: Arc<[f64]> = std::iter::repeat_n(0.0, starts.len()).collect();
    let mut batch = Batch::new(source, Arc::new(builder.finish()), timestamp, values);
    batch.timestamps = Some(starts.iter().map(|(_, start)| *start).collect());
    let histogram = |row: u32| details.histograms.binary_search_by_key(&row, |(row, _)| *row).ok().map(|at| &details.histograms[at].1);
    let empty = starts.iter().enumerate().filter_map(|(at, (row, _))| Some((at as u32, emptied(histogram(*row)?))));
    Some(batch.with_details(Details { histograms: empty.collect(), ..Details::default() }))
}

/// An empty histogram of the same form, which counts as a reset.
pub(super) fn emptied(histogram: &Histogram) -> Histogram {
    let counts = match histogram.counts {
        Counts::Integer { .. } => Counts::Integer { count: 0, zero_count: 0, positive: Box::default(), negative: Box::default() },
        Counts::Float { .. } => Counts::Float { count: 0.0, zero_count: 0.0, positive: Box::default(), negative: Box::default() },
    };
    Histogram {
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        sum: 0.0,
        counts,
        positive_spans: Box::default(),
        negative_spans: Box::default(),
        custom_values: histogram.custom_values.clone(),
        reset_hint: ResetHint::Yes,
    }
}
