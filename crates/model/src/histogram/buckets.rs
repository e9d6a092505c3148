//! Buckets of one sign taken apart into (index, count) and put together again, for whatever rebuilds a histogram.

use super::Span;

/// What counts in buckets are while they are rebuilt: absolute numbers, whole or not.
pub(super) trait Count: Copy + PartialEq {
    const ZERO: Self;

    fn plus(self, other: Self) -> Self;
}

impl Count for i64 {
    const ZERO: Self = 0;

    // As in Go: counts that no 64 bits hold wrap, and whoever validates finds them.
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Count for f64 {
    const ZERO: Self = 0.0;

    fn plus(self, other: Self) -> Self {
        self + other
    }
}

/// The indices of the buckets that `spans` name, in their order. May be far more than there are counts: to be zipped with those.
pub(super) fn indices(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut end = 0_i64;
    spans.iter().flat_map(move |span| {
        let start = end + i64::from(span.offset);
        end = start + i64::from(span.length);
        start..end
    })
}

/// Absolute counts out of differences.
pub(super) fn absolute(deltas: &[i64]) -> impl Iterator<Item = i64> + '_ {
    deltas.iter().scan(0_i64, |count, delta| {
        *count = count.wrapping_add(*delta);
        Some(*count)
    })
}

/// Differences out of absolute counts.
pub(super) fn deltas(mut counts: Vec<i64>) -> Box<[i64]> {
    let mut last = 0_i64;
    for count in &mut counts {
        last = std::mem::replace(count, count.wrapping_sub(last));
    }
    counts.into_boxed_slice()
}

/// Buckets that are put together in the order of their indices.
#[derive(Debug)]
pub(super) struct Runs<C> {
    spans: Vec<Span>,
    counts: Vec<C>,
    /// The index behind the last bucket; for the first one, where indices begin.
    end: i64,
}

impl<C: Count> Runs<C> {
    /// None yet, with room for `buckets`.
    pub(super) fn with_capacity(buckets: usize) -> Self {
        Self { spans: Vec::new(), counts: Vec::with_capacity(buckets), end: 0 }
    }

    /// Adds a bucket that is not the last one.
    pub(super) fn push(&mut self, index: i64, count: C) {
        match self.spans.last_mut() {
            Some(span) if index == self.end => span.length += 1,
            // Offsets beyond 32 bits wrap as in Go: only histograms with negative offsets have such, and those are not valid.
            _ => self.spans.push(Span { offset: (index - self.end) as i32, length: 1 }),
        }
        self.counts.push(count);
        self.end = index + 1;
    }

    /// Adds a bucket, or its count to the last bucket if it has the same index.
    pub(super) fn add(&mut self, index: i64, count: C) {
        match self.counts.last_mut() {
            Some(last) if index + 1 == self.end => *last = last.plus(count),
            _ => self.push(index, count),
        }
    }

    /// How many empty buckets there would be between the last one and `index`; `None` if there is no last one.
    pub(super) fn gap(&self, index: i64) -> Option<i64> {
        (!self.counts.is_empty()).then_some(index - self.end)
    }

    pub(super) fn finish(self) -> (Box<[Span]>, Vec<C>) {
        (self.spans.into_boxed_slice(), self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_come_out_as_they_were_taken_apart() {
        let spans = [Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }, Span { offset: 1, length: 2 }];
        let counts = [1, 4, 2, 2, 7];
        assert_eq!(indices(&spans).collect::<Vec<_>>(), [-2, -1, 3, 5, 6]);
        let mut runs = Runs::with_capacity(0);
        indices(&spans).zip(counts).for_each(|(index, count)| runs.push(index, count));
        assert_eq!(runs.gap(9), Some(2));
        assert_eq!(runs.finish(), (spans.into(), counts.to_vec()));
    }

    #[test]
    fn differences_and_absolute_counts_are_each_others_inverse() {
        let differences = [3, -1, 0, 5, i64::MIN];
        assert_eq!(absolute(&differences[..4]).collect::<Vec<_>>(), [3, 2, 2, 7]);
        assert_eq!(*deltas(absolute(&differences).collect()), differences);
    }

    #[test]
    fn a_bucket_with_the_index_of_the_last_one_joins_it() {
        let mut runs = Runs::with_capacity(0);
        for (index, count) in [(-1, 1.0), (-1, 2.0), (0, 0.5), (4, 1.0)] {
            runs.add(index, count);
        }
        let spans = [Span { offset: -1, length: 2 }, Span { offset: 3, length: 1 }];
        assert_eq!(runs.finish(), (spans.into(), vec![3.0, 0.5, 1.0]));
    }
}
