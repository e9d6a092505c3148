//! Histograms made coarser: fewer, wider buckets, so that they keep to `native_histogram_bucket_limit` and
//! `native_histogram_min_bucket_factor` (Prometheus `scrape`: `bucketLimitAppender`, `maxSchemaAppender`, `pickSchema`).

use super::buckets::{Count, Runs, absolute, deltas, indices};
use super::validate::{check_offsets, check_spans};
use super::{Counts, EXPONENTIAL_SCHEMAS, Histogram, InvalidHistogram, Span};

/// Schemas of exponential buckets that are known, though the finer and coarser ones among them are not valid yet (Prometheus
/// `model/histogram`: `ExponentialSchemaMinReserved`, `-MaxReserved`).
const KNOWN_SCHEMAS: std::ops::RangeInclusive<i32> = -9..=52;

/// The factor that Prometheus takes in place of those that no bucket bounds can grow by: that of the finest schema.
const FINEST_FACTOR: f64 = 1.00271;

/// A histogram that has more buckets than allowed, even at the lowest resolution.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BucketLimit {
    /// It can't be made coarser (any more).
    #[error("histogram bucket limit exceeded (buckets: {buckets}, limit: {limit})")]
    Exceeded {
        /// The buckets that are left.
        buckets: usize,
        /// The limit.
        limit: usize,
    },
    /// It is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidHistogram),
}

/// The finest schema whose bucket bounds grow at least by `min_bucket_factor`, within what is valid. Factors up to 1, and NaN, set no
/// bound.
#[must_use]
pub fn max_schema(min_bucket_factor: f64) -> i32 {
    let factor = if min_bucket_factor > 1.0 { min_bucket_factor } else { FINEST_FACTOR };
    let schema = (-factor.log2().log2()).floor();
    // An infinite factor gives -∞, which the conversion takes to the lowest number.
    (schema as i32).clamp(*EXPONENTIAL_SCHEMAS.start(), *EXPONENTIAL_SCHEMAS.end())
}

impl Histogram {
    /// Makes the histogram coarser, one schema after the other, until it has at most `limit` buckets.
    ///
    /// # Errors
    /// [`BucketLimit`]: it has custom buckets, or too many at the lowest resolution; or it is not valid. It may be coarser all the same.
    pub fn limit_buckets(&mut self, limit: usize) -> Result<(), BucketLimit> {
        while self.counts.buckets() > limit {
            if !EXPONENTIAL_SCHEMAS.contains(&self.schema) || self.schema == *EXPONENTIAL_SCHEMAS.start() {
                return Err(BucketLimit::Exceeded { buckets: self.counts.buckets(), limit });
            }
            self.reduce_resolution(self.schema - 1)?;
        }
        Ok(())
    }

    /// Makes the histogram coarser if its schema is beyond `max_schema`, see [`max_schema`]. Custom buckets stay as they are.
    /// Prometheus does this before it looks at the bucket limit.
    ///
    /// # Errors
    /// [`InvalidHistogram`]: its spans are not valid.
    pub fn limit_schema(&mut self, max_schema: i32) -> Result<(), InvalidHistogram> {
        if KNOWN_SCHEMAS.contains(&self.schema) && self.schema > max_schema {
            return self.reduce_resolution(max_schema);
        }
        Ok(())
    }

    /// Puts the counts into the wider buckets of `schema`, if the histogram's own one is finer.
    ///
    /// # Errors
    /// [`InvalidHistogram`] if the spans are not valid or one of the schemas is not exponential; nothing has changed then.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), InvalidHistogram> {
        if let Some(schema) = [self.schema, schema].into_iter().find(|schema| !KNOWN_SCHEMAS.contains(schema)) {
            return Err(InvalidHistogram::Schema(schema));
        }
        if schema >= self.schema {
            return Ok(());
        }
        let shift = (self.schema - schema) as u32;
        let sides = [(&self.positive_spans, self.counts.positive_len()), (&self.negative_spans, self.counts.negative_len())];
        for (spans, buckets) in sides {
            check_offsets(spans)?;
            check_spans(spans, buckets)?;
        }
        match &mut self.counts {
            Counts::Integer { positive, negative, .. } => {
                for (spans, buckets) in [(&mut self.positive_spans, positive), (&mut self.negative_spans, negative)] {
                    let counts;
                    (*spans, counts) = reduced(spans, absolute(buckets), shift);
                    *buckets = deltas(counts);
                }
            }
            Counts::Float { positive, negative, .. } => {
                for (spans, buckets) in [(&mut self.positive_spans, positive), (&mut self.negative_spans, negative)] {
                    let counts;
                    (*spans, counts) = reduced(spans, buckets.iter().copied(), shift);
                    *buckets = counts.into_boxed_slice();
                }
            }
        }
        self.schema = schema;
        Ok(())
    }
}

/// Each step down joins two buckets, so that the bucket with an upper bound of 1, index 0, keeps its bound.
fn reduced<C: Count>(spans: &[Span], counts: impl Iterator<Item = C>, shift: u32) -> (Box<[Span]>, Vec<C>) {
    let mut runs = Runs::with_capacity(0);
    for (index, count) in indices(spans).zip(counts) {
        runs.add(((index - 1) >> shift) + 1, count);
    }
    runs.finish()
}

#[cfg(test)]
mod tests {
    use super::super::validate::tests::{custom, float, integer, span};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_finest_schema_follows_from_the_factor() {
        // Bounds of schema n grow by 2^(2^-n): 1.0027 (8), 1.0054 (7), 1.0443 (4), 1.1892 (2), 2 (0), 65536 (-4).
        let cases = [
            (0.0, 8),
            (f64::NAN, 8),
            (1.0, 8),
            (1.00001, 8),
            (1.0028, 7),
            (1.0030, 7),
            (1.0442, 4),
            (1.05, 3),
            (1.2, 1),
            (2.0, 0),
            (2.1, -1),
            (65_536.0, -4),
            (1e9, -4),
            (f64::INFINITY, -4),
        ];
        for (factor, schema) in cases {
            assert_eq!(max_schema(factor), schema, "{factor}");
        }
    }

    #[test]
    fn counts_move_to_the_bucket_that_holds_theirs() {
        // Indices -2 -1 0 1 2 3 with counts 1 2 3 4 5 6: two by two, (-3 -2) (-1 0) (1 2) (3 4).
        let mut histogram = integer(3, &[span(-2, 6)], &[1, 1, 1, 1, 1, 1]);
        histogram.reduce_resolution(2).unwrap();
        assert_eq!((histogram.schema, &*histogram.positive_spans), (2, &[span(-1, 4)][..]));
        assert!(matches!(&histogram.counts, Counts::Integer { positive, .. } if **positive == [1, 4, 4, -3]), "1 5 9 6");
        assert_eq!(histogram.validate(), Ok(()));
    }

    #[test]
    fn gaps_become_smaller_or_vanish() {
        let mut histogram = float(1, &[span(1, 1), span(1, 1), span(8, 2)], &[1.0, 2.0, 3.0, 4.0]);
        histogram.reduce_resolution(0).unwrap();
        // Indices 1 3 12 13 become 1 2 6 7.
        assert_eq!(*histogram.positive_spans, [span(1, 2), span(3, 2)]);
        assert!(matches!(&histogram.counts, Counts::Float { positive, .. } if **positive == [1.0, 2.0, 3.0, 4.0]));
    }

    #[test]
    fn a_bucket_limit_is_kept_at_the_highest_resolution_that_does() {
        let mut histogram = integer(8, &[span(1, 8)], &[1, 0, 0, 0, 0, 0, 0, 0]);
        histogram.limit_buckets(8).unwrap();
        assert_eq!(histogram.schema, 8);
        histogram.limit_buckets(3).unwrap();
        assert_eq!((histogram.schema, histogram.counts.buckets()), (6, 2));
    }

    #[test]
    fn what_cannot_be_made_coarse_enough_is_refused() {
        let mut distant = integer(-4, &[span(0, 1), span(5, 1)], &[1, 0]);
        assert_eq!(distant.limit_buckets(1), Err(BucketLimit::Exceeded { buckets: 2, limit: 1 }));
        let mut custom = custom(&[1.0, 2.0], &[span(0, 2)], &[1, 0]);
        assert_eq!(custom.limit_buckets(2), Ok(()));
        assert_eq!(custom.limit_buckets(1).unwrap_err().to_string(), "histogram bucket limit exceeded (buckets: 2, limit: 1)");
        let mut invalid = integer(3, &[span(0, 1), span(-1, 1)], &[1, 0]);
        assert_eq!(invalid.limit_buckets(1), Err(InvalidHistogram::NegativeOffset { span: 2, offset: -1 }.into()));
    }

    #[test]
    fn a_schema_limit_touches_only_finer_exponential_buckets() {
        let mut fine = integer(20, &[span(1, 2)], &[1, 0]);
        fine.limit_schema(8).unwrap();
        assert_eq!((fine.schema, fine.counts.buckets()), (8, 1), "schemas that are reserved for later are known");
        fine.limit_schema(8).unwrap();
        assert_eq!(fine.schema, 8);
        let mut custom = custom(&[1.0], &[span(0, 1)], &[1]);
        custom.limit_schema(-4).unwrap();
        assert_eq!(custom.schema, super::super::CUSTOM_BUCKETS_SCHEMA);
    }

    proptest! {
        #[test]
        fn no_observation_is_lost_and_steps_agree_with_leaps(
            offsets in prop::collection::vec((0_i32..40, 0_u32..5), 1..6), start in -300_i32..300, steps in 1_i32..12,
        ) {
            let mut spans: Vec<Span> = offsets.iter().map(|(offset, length)| span(*offset, *length)).collect();
            spans[0].offset = start;
            let buckets: usize = spans.iter().map(|span| span.length as usize).sum();
            let counts: Vec<i64> = (0..buckets as i64).map(|n| if n % 2 == 0 { n + 1 } else { -n }).collect();
            let mut leap = integer(8, &spans, &counts);
            let mut walk = leap.clone();
            prop_assert_eq!(leap.validate(), Ok(()));
            leap.reduce_resolution(8 - steps).unwrap();
            (0..steps).for_each(|step| walk.reduce_resolution(7 - step).unwrap());
            prop_assert_eq!(leap.validate(), Ok(()));
            prop_assert_eq!(leap, walk);
        }
    }
}
