//! The details of a run of rows: which rows have native histograms, exemplars and start times, counted from the run's first.

use std::ops::Range;

use model::{Details, Exemplar, Histogram};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extras<'a> {
    /// The run's first row in the batch.
    first: usize,
    histograms: &'a [(u32, Histogram)],
    exemplars: &'a [(u32, Exemplar)],
    created: &'a [(u32, i64)],
}

impl<'a> Extras<'a> {
    /// The details of `rows` of a batch.
    pub fn of(details: Option<&'a Details>, rows: &Range<usize>) -> Self {
        let Some(details) = details else { return Self::default() };
        Self {
            first: rows.start,
            histograms: within(&details.histograms, rows),
            exemplars: within(&details.exemplars, rows),
            created: within(&details.created, rows),
        }
    }

    /// The details of some of the run's rows.
    pub fn within(self, rows: &Range<usize>) -> Self {
        let rows = self.first + rows.start..self.first + rows.end;
        Self {
            first: rows.start,
            histograms: within(self.histograms, &rows),
            exemplars: within(self.exemplars, &rows),
            created: within(self.created, &rows),
        }
    }

    /// The rows with a histogram, and the histograms.
    pub fn histograms(self) -> impl ExactSizeIterator<Item = (usize, &'a Histogram)> {
        self.histograms.iter().map(move |(row, histogram)| (*row as usize - self.first, histogram))
    }

    /// The histogram of a row.
    pub fn histogram(self, row: usize) -> Option<&'a Histogram> {
        let at = self.histograms.binary_search_by_key(&(self.first + row), |(row, _)| *row as usize).ok()?;
        Some(&self.histograms[at].1)
    }

    /// The exemplars of a row.
    pub fn exemplars_of(self, row: usize) -> &'a [(u32, Exemplar)] {
        within(self.exemplars, &(self.first + row..self.first + row + 1))
    }

    /// When the counting of a row began.
    pub fn created(self, row: usize) -> Option<i64> {
        let at = self.created.binary_search_by_key(&(self.first + row), |(row, _)| *row as usize).ok()?;
        Some(self.created[at].1)
    }

    /// The rows with a start time, and the times.
    pub fn all_created(self) -> impl ExactSizeIterator<Item = (usize, i64)> {
        self.created.iter().map(move |(row, at)| (*row as usize - self.first, *at))
    }

    /// Whether a row has a histogram or exemplars.
    pub fn has(self, row: usize) -> bool {
        self.histogram(row).is_some() || !self.exemplars_of(row).is_empty()
    }

    /// Whether a row without a histogram has exemplars.
    pub fn has_exemplars_beside_histograms(self) -> bool {
        self.exemplars.iter().any(|(row, _)| self.histogram(*row as usize - self.first).is_none())
    }

    /// Whether there is anything to be sent beside values.
    pub fn is_empty(self) -> bool {
        self.histograms.is_empty() && self.exemplars.is_empty()
    }
}

/// Those of `list`, which is in row order, that belong to `rows`.
fn within<'a, T>(list: &'a [(u32, T)], rows: &Range<usize>) -> &'a [(u32, T)] {
    if list.is_empty() {
        return list;
    }
    let start = list.partition_point(|(row, _)| (*row as usize) < rows.start);
    let len = list[start..].partition_point(|(row, _)| (*row as usize) < rows.end);
    &list[start..start + len]
}

#[cfg(test)]
mod tests {
    use model::Labels;

    use super::*;

    #[test]
    fn rows_count_from_the_run() {
        let exemplar = |value: f64| Exemplar { labels: Labels::empty(), value, timestamp: None };
        let details = Details {
            exemplars: Box::new([(3, exemplar(3.0)), (5, exemplar(5.0)), (5, exemplar(5.5)), (9, exemplar(9.0))]),
            created: Box::new([(4, 40), (5, 50)]),
            ..Details::default()
        };
        let extras = Extras::of(Some(&details), &(2..8)).within(&(2..6));
        assert_eq!([0, 1, 2, 3].map(|row| extras.has(row)), [false, true, false, false]);
        assert_eq!((extras.created(0), extras.created(1), extras.created(2)), (Some(40), Some(50), None));
        assert_eq!(extras.all_created().collect::<Vec<_>>(), [(0, 40), (1, 50)]);
        assert_eq!(extras.exemplars_of(1)[1].1.value, 5.5);
        assert!(extras.exemplars_of(0).is_empty() && extras.histogram(1).is_none());
        assert!(Extras::of(None, &(0..8)).is_empty() && !extras.is_empty());
    }
}
