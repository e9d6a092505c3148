//! What few samples have beside a value: native histograms, exemplars, and the time at which their counting began. Kept apart from the
//! column of values, so that batches without any of it pay nothing.

use crate::histogram::Histogram;
use crate::labels::Labels;

/// An example of what a sample counted: usually a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// In name order, names unique; may be none.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// Milliseconds since the epoch; none if the target gave none.
    pub timestamp: Option<i64>,
}

/// What some rows of a batch have beside their values. Each list is in row order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Native histograms, at most one per row. Such a row has no float sample: its place in the column of values holds the histogram's
    /// sum and is not sent. (The staleness marker of a histogram is a float sample like all others.)
    pub histograms: Box<[(u32, Histogram)]>,
    /// Exemplars; a row may have several, in the order of the body.
    pub exemplars: Box<[(u32, Exemplar)]>,
    /// When the counting of a row began, in milliseconds since the epoch; at most one per row.
    pub created: Box<[(u32, i64)]>,
}

impl Details {
    /// Whether no row has anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.histograms.is_empty() && self.exemplars.is_empty() && self.created.is_empty()
    }

    /// The details of the rows that are left when rows are taken out or sorted anew: `new_row` says which row a row becomes, `None` if it
    /// is taken out.
    #[must_use]
    pub fn moved(&self, mut new_row: impl FnMut(u32) -> Option<u32>) -> Self {
        Self {
            histograms: moved(&self.histograms, &mut new_row),
            exemplars: moved(&self.exemplars, &mut new_row),
            created: moved(&self.created, &mut new_row),
        }
    }

    /// The histogram of a row.
    #[must_use]
    pub fn histogram(&self, row: u32) -> Option<&Histogram> {
        self.histograms.binary_search_by_key(&row, |(row, _)| *row).ok().map(|at| &self.histograms[at].1)
    }

    /// When the counting of a row began, in milliseconds since the epoch.
    #[must_use]
    pub fn created(&self, row: u32) -> Option<i64> {
        self.created.binary_search_by_key(&row, |(row, _)| *row).ok().map(|at| self.created[at].1)
    }

    /// The exemplars of a row.
    #[must_use]
    pub fn exemplars(&self, row: u32) -> &[(u32, Exemplar)] {
        let start = self.exemplars.partition_point(|(other, _)| *other < row);
        let count = self.exemplars[start..].partition_point(|(other, _)| *other == row);
        &self.exemplars[start..start + count]
    }

    /// Bytes of heap that the details hold.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let histograms: usize = self.histograms.iter().map(|(_, histogram)| histogram.heap_bytes()).sum();
        let exemplars: usize = self.exemplars.iter().map(|(_, exemplar)| label_bytes(&exemplar.labels)).sum();
        let lists = size_of_val(&*self.histograms) + size_of_val(&*self.exemplars) + size_of_val(&*self.created);
        lists + histograms + exemplars
    }
}

fn moved<T: Clone>(rows: &[(u32, T)], new_row: &mut impl FnMut(u32) -> Option<u32>) -> Box<[(u32, T)]> {
    let mut moved: Vec<(u32, T)> = rows.iter().filter_map(|(row, what)| Some((new_row(*row)?, what.clone()))).collect();
    moved.sort_by_key(|(row, _)| *row);
    moved.into_boxed_slice()
}

fn label_bytes(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(value: f64) -> Exemplar {
        Exemplar { labels: Labels::empty(), value, timestamp: None }
    }

    #[test]
    fn details_follow_their_rows() {
        let details = Details {
            exemplars: Box::new([(1, exemplar(1.0)), (1, exemplar(1.5)), (3, exemplar(3.0))]),
            created: Box::new([(0, 10), (3, 30)]),
            ..Details::default()
        };
        let moved = details.moved(|row| [None, Some(7), None, Some(2)][row as usize]);
        assert_eq!(moved.exemplars(7), [(7, exemplar(1.0)), (7, exemplar(1.5))]);
        assert_eq!(moved.exemplars(2), [(2, exemplar(3.0))]);
        assert_eq!((moved.created(2), moved.created(7)), (Some(30), None));
        assert!(moved.exemplars(3).is_empty());
        assert!(!moved.is_empty() && details.moved(|_| None).is_empty());
    }
}
