//! One classic histogram collected line by line, and the native histogram with custom buckets that it becomes (Prometheus
//! `util/convertnhcb`).

use model::{CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, ResetHint, Span};

use crate::float::open_metrics_float;

/// Buckets beyond which a histogram is not converted: classic ones have tens.
const MAX_BUCKETS: usize = 1 << 16;

/// More memory than this is not kept from one histogram to the next.
const MAX_KEPT: usize = 1 << 10;

/// In integer histograms, runs of at most this many empty buckets are listed rather than left out.
const MAX_EMPTY: u32 = 2;

/// Why a classic histogram can't be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A bucket without a bound.
    #[error("bucket boundary must not be NaN")]
    NanBound,
    /// A bucket with a count below zero.
    #[error("bucket count must be non-negative (le {le:?})")]
    NegativeBucket {
        /// The bucket's bound.
        le: Box<str>,
    },
    /// A total count below zero.
    #[error("count must be non-negative")]
    NegativeCount,
    /// A bucket with a lower count than one below it.
    #[error("count is not cumulative (le {le:?})")]
    NotCumulative {
        /// The bucket's bound.
        le: Box<str>,
    },
    /// A total count that is not that of the infinite bucket.
    #[error("count mismatch: the infinite bucket and the total count differ")]
    CountMismatch,
    /// More buckets than are converted.
    #[error("more than {} buckets", MAX_BUCKETS)]
    TooManyBuckets,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    le: f64,
    /// Observations up to `le`.
    count: f64,
}

/// The parts of a classic histogram. What is wrong with them is told at the end, once.
#[derive(Debug, Default)]
pub(crate) struct ClassicHistogram {
    buckets: Vec<Bucket>,
    unsorted: bool,
    count: Option<f64>,
    sum: f64,
    wrong: Option<ConvertError>,
}

impl ClassicHistogram {
    /// Forgets all parts and keeps the memory, unless that is unusually much.
    pub(crate) fn clear(&mut self) {
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.clear();
        buckets.shrink_to(MAX_KEPT);
        *self = Self { buckets, ..Self::default() };
    }

    /// Takes a bucket. Of several with one bound the first counts.
    pub(crate) fn bucket(&mut self, le: f64, count: f64) {
        if self.wrong.is_some() {
            return;
        }
        let wrong = match self.buckets.last() {
            _ if le.is_nan() => ConvertError::NanBound,
            _ if count < 0.0 => ConvertError::NegativeBucket { le: open_metrics_float(le).into() },
            Some(last) if last.le == le => return,
            _ if self.buckets.len() == MAX_BUCKETS => ConvertError::TooManyBuckets,
            last => {
                self.unsorted |= last.is_some_and(|last| last.le > le);
                return self.buckets.push(Bucket { le, count });
            }
        };
        self.wrong = Some(wrong);
    }

    /// Takes the total count.
    pub(crate) fn count(&mut self, count: f64) {
        if count < 0.0 {
            self.wrong.get_or_insert(ConvertError::NegativeCount);
        }
        self.count = Some(count);
    }

    /// Takes the sum of observations.
    pub(crate) fn sum(&mut self, sum: f64) {
        self.sum = sum;
    }

    /// The histogram: of integers if all counts are, else of floats. A missing total is that of the highest bucket, a missing infinite
    /// bucket has the total.
    pub(crate) fn convert(&mut self) -> Result<Histogram, ConvertError> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        self.sort();
        if let Some(pair) = self.buckets.windows(2).find(|pair| pair[1].count < pair[0].count) {
            return Err(ConvertError::NotCumulative { le: open_metrics_float(pair[1].le).into() });
        }
        let total = self.count.or(self.buckets.last().map(|last| last.count)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|last| last.le < f64::INFINITY) {
            self.buckets.push(Bucket { le: f64::INFINITY, count: total });
        }
        if self.buckets.last().is_none_or(|last| last.count != total) {
            return Err(ConvertError::CountMismatch);
        }
        let whole = self.buckets.iter().all(|bucket| bucket.count.fract() == 0.0 && bucket.count < 2_f64.powi(63));
        let counts = if whole { self.whole(total) } else { self.fractional(total) };
        let mut histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            zero_threshold: 0.0,
            sum: self.sum,
            positive_spans: Box::new([Span { offset: 0, length: counts.buckets() as u32 }]),
            negative_spans: Box::new([]),
            custom_values: self.buckets[..self.buckets.len() - 1].iter().map(|bucket| bucket.le).collect(),
            counts,
            reset_hint: ResetHint::Unknown,
        };
        histogram.compact(if whole { MAX_EMPTY } else { 0 });
        Ok(histogram)
    }

    fn sort(&mut self) {
        if self.unsorted {
            // Stable, so that the first of equal bounds comes first.
            self.buckets.sort_by(|a, b| a.le.total_cmp(&b.le));
            self.buckets.dedup_by(|later, first| later.le == first.le);
            self.unsorted = false;
        }
    }

    fn whole(&self, total: f64) -> Counts {
        let (mut before, mut count_before) = (0, 0);
        let delta = |bucket: &Bucket| {
            let count = bucket.count as i64 - before;
            before = bucket.count as i64;
            count - std::mem::replace(&mut count_before, count)
        };
        let positive = self.buckets.iter().map(delta).collect();
        Counts::Integer { count: total as u64, zero_count: 0, positive, negative: Box::new([]) }
    }

    fn fractional(&self, total: f64) -> Counts {
        let mut before = 0.0;
        let positive = self.buckets.iter().map(|bucket| bucket.count - std::mem::replace(&mut before, bucket.count)).collect();
        Counts::Float { count: total, zero_count: 0.0, positive, negative: Box::new([]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(buckets: &[(f64, f64)], count: Option<f64>) -> Result<Histogram, ConvertError> {
        let mut classic = ClassicHistogram::default();
        buckets.iter().for_each(|(le, count)| classic.bucket(*le, *count));
        if let Some(count) = count {
            classic.count(count);
        }
        classic.sum(7.0);
        classic.convert()
    }

    fn deltas(histogram: &Histogram) -> &[i64] {
        let Counts::Integer { positive, .. } = &histogram.counts else { panic!("{histogram:?}") };
        positive
    }

    #[test]
    fn buckets_lose_what_is_in_those_below_them() {
        let histogram = converted(&[(0.5, 1.0), (1.0, 4.0), (f64::INFINITY, 6.0)], Some(6.0)).unwrap();
        assert_eq!((histogram.schema, &*histogram.custom_values), (-53, &[0.5, 1.0][..]));
        assert_eq!(*histogram.positive_spans, [Span { offset: 0, length: 3 }]);
        assert_eq!(deltas(&histogram), [1, 2, -1]);
        assert!(matches!(histogram.counts, Counts::Integer { count: 6, zero_count: 0, .. }));
        assert_eq!((histogram.sum, histogram.reset_hint), (7.0, ResetHint::Unknown));
        assert_eq!(histogram.validate(), Ok(()));
    }

    #[test]
    fn the_infinite_bucket_and_the_count_stand_in_for_each_other() {
        let whole = converted(&[(1.0, 4.0), (f64::INFINITY, 6.0)], Some(6.0));
        assert_eq!(converted(&[(1.0, 4.0)], Some(6.0)), whole);
        assert_eq!(converted(&[(1.0, 4.0), (f64::INFINITY, 6.0)], None), whole);
        let nothing = converted(&[], None).unwrap();
        assert!(nothing.custom_values.is_empty() && nothing.positive_spans.is_empty());
        assert_eq!(nothing.validate(), Ok(()));
    }

    #[test]
    fn long_runs_of_empty_buckets_are_left_out() {
        let buckets: Vec<(f64, f64)> = [0, 3, 3, 3, 4, 4, 4, 4, 5].iter().zip(0..).map(|(n, le)| (f64::from(le), f64::from(*n))).collect();
        let histogram = converted(&buckets, None).unwrap();
        assert_eq!(*histogram.positive_spans, [Span { offset: 1, length: 4 }, Span { offset: 3, length: 1 }]);
        assert_eq!(deltas(&histogram), [3, -3, 0, 1, 0]);
    }

    #[test]
    fn counts_that_are_not_whole_make_a_float_histogram() {
        let histogram = converted(&[(1.0, 0.5), (2.0, 0.5), (3.0, 2.0)], Some(2.0)).unwrap();
        assert_eq!(histogram.counts, Counts::Float { count: 2.0, zero_count: 0.0, positive: [0.5, 1.5].into(), negative: [].into() });
        assert_eq!(*histogram.positive_spans, [Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }]);
        for huge in [2_f64.powi(63), f64::INFINITY] {
            assert!(matches!(converted(&[(1.0, huge)], None).unwrap().counts, Counts::Float { .. }), "{huge}");
        }
        assert!(matches!(converted(&[(1.0, 2_f64.powi(62))], None).unwrap().counts, Counts::Integer { .. }));
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let sorted = converted(&[(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)], Some(3.0));
        assert_eq!(converted(&[(3.0, 3.0), (1.0, 1.0), (2.0, 2.0), (1.0, 9.0), (2.0, 0.0)], Some(3.0)), sorted);
        assert_eq!(converted(&[(1.0, 1.0), (1.0, 1.0), (2.0, 2.0), (3.0, 3.0)], Some(3.0)), sorted);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let le = |le: &str| le.into();
        type Case<'a> = (&'a [(f64, f64)], Option<f64>, ConvertError);
        let cases: [Case<'_>; 7] = [
            (&[(f64::NAN, 1.0)], None, ConvertError::NanBound),
            (&[(1.0, -1.0)], None, ConvertError::NegativeBucket { le: le("1.0") }),
            (&[(1.0, 2.0), (2.0, 1.0)], None, ConvertError::NotCumulative { le: le("2.0") }),
            (&[(2.0, 1.0), (1.0, 2.0)], None, ConvertError::NotCumulative { le: le("2.0") }),
            (&[(1.0, 1.0)], Some(-1.0), ConvertError::NegativeCount),
            (&[(1.0, 1.0), (f64::INFINITY, 2.0)], Some(3.0), ConvertError::CountMismatch),
            (&[(1.0, 1.0)], Some(f64::NAN), ConvertError::CountMismatch),
        ];
        for (buckets, count, wrong) in cases {
            assert_eq!(converted(buckets, count), Err(wrong), "{buckets:?}");
        }
        let many: Vec<(f64, f64)> = (0..=MAX_BUCKETS).map(|n| (-(n as f64), 0.0)).collect();
        assert_eq!(converted(&many, None), Err(ConvertError::TooManyBuckets));
    }

    #[test]
    fn a_cleared_one_knows_nothing_of_the_last() {
        let mut classic = ClassicHistogram::default();
        classic.bucket(2.0, -1.0);
        classic.count(9.0);
        classic.clear();
        classic.bucket(1.0, 1.0);
        assert_eq!(classic.convert().unwrap().custom_values.as_ref(), [1.0]);
    }
}
