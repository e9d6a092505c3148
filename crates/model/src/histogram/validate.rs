//! Whether a histogram is one: Prometheus' verdicts (`Histogram.Validate`, `FloatHistogram.Validate`).

use super::buckets::absolute;
use super::{CUSTOM_BUCKETS_SCHEMA, Counts, EXPONENTIAL_SCHEMAS, Histogram, Span};

/// Why a histogram is not valid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidHistogram {
    /// Neither exponential nor custom buckets.
    #[error("histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got {0}")]
    Schema(i32),
    /// A span that begins before the one before it ends.
    #[error("histogram has a span whose offset is negative: span number {span} with offset {offset}")]
    NegativeOffset {
        /// Which span, from 1.
        span: usize,
        /// Its offset.
        offset: i32,
    },
    /// More or fewer buckets than the spans name.
    #[error("histogram spans specify different number of buckets than provided: spans need {needed} buckets, have {buckets} buckets")]
    Buckets {
        /// Buckets that the spans name.
        needed: u64,
        /// Buckets that are there.
        buckets: usize,
    },
    /// A bucket with a count below zero.
    #[error("histogram has a bucket whose observation count is negative: bucket number {bucket} has observation count of {count}")]
    NegativeBucket {
        /// Which bucket, from 1; 0 for the zero bucket.
        bucket: usize,
        /// Its count.
        count: f64,
    },
    /// A total count below zero.
    #[error("histogram's observation count is negative: {0}")]
    NegativeCount(f64),
    /// A total count that is not the sum of the buckets' (or is below it, if NaN was observed, which is in no bucket).
    #[error("{found} observations found in buckets, but the Count field is {count}")]
    CountMismatch {
        /// The sum of the buckets.
        found: u64,
        /// The total count.
        count: u64,
    },
    /// Bounds of custom buckets that are not finite and ascending, or too few for the spans.
    #[error("custom buckets: bounds must be finite, in strictly increasing order, and at most one fewer than buckets")]
    CustomBounds,
    /// Something that custom buckets can't have: a zero bucket or negative buckets.
    #[error("custom buckets: must have no zero bucket and no negative buckets")]
    CustomExtras,
    /// Listed bounds with exponential buckets.
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialBounds,
}

impl Histogram {
    /// Judges the histogram as Prometheus does before it stores it. Sums of counts beyond 64 bits wrap around, as they do there.
    ///
    /// # Errors
    /// [`InvalidHistogram`] with the first thing that is wrong.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            self.check_custom()?;
        } else if EXPONENTIAL_SCHEMAS.contains(&self.schema) {
            self.check_exponential()?;
        } else {
            return Err(InvalidHistogram::Schema(self.schema));
        }
        match &self.counts {
            Counts::Integer { count, zero_count, positive, negative } => {
                let found = whole(negative)?.wrapping_add(whole(positive)?).wrapping_add(*zero_count);
                let right = if self.sum.is_nan() { found <= *count } else { found == *count };
                if right { Ok(()) } else { Err(InvalidHistogram::CountMismatch { found, count: *count }) }
            }
            // Sums of floats depend on their order, so the total is not compared.
            Counts::Float { count, zero_count, positive, negative } => {
                check_floats(negative)?;
                if *zero_count < 0.0 {
                    return Err(InvalidHistogram::NegativeBucket { bucket: 0, count: *zero_count });
                }
                if *count < 0.0 {
                    return Err(InvalidHistogram::NegativeCount(*count));
                }
                check_floats(positive)
            }
        }
    }

    fn check_exponential(&self) -> Result<(), InvalidHistogram> {
        let sides = [(&self.positive_spans, self.counts.positive_len()), (&self.negative_spans, self.counts.negative_len())];
        for (spans, buckets) in sides {
            check_offsets(spans)?;
            check_spans(spans, buckets)?;
        }
        if self.custom_values.is_empty() { Ok(()) } else { Err(InvalidHistogram::ExponentialBounds) }
    }

    fn check_custom(&self) -> Result<(), InvalidHistogram> {
        let bounds = &self.custom_values;
        let ascending = bounds.windows(2).all(|pair| pair[0] < pair[1]) && !bounds.iter().any(|bound| bound.is_nan());
        if !ascending || bounds.last() == Some(&f64::INFINITY) {
            return Err(InvalidHistogram::CustomBounds);
        }
        if let Some(span) = self.positive_spans.first().filter(|span| span.offset < 0) {
            return Err(InvalidHistogram::NegativeOffset { span: 1, offset: span.offset });
        }
        check_offsets(&self.positive_spans)?;
        check_spans(&self.positive_spans, self.counts.positive_len())?;
        let covered: u64 = self.positive_spans.iter().map(|span| u64::from(span.offset.unsigned_abs()) + u64::from(span.length)).sum();
        if covered > bounds.len() as u64 + 1 {
            return Err(InvalidHistogram::CustomBounds);
        }
        let zero = match &self.counts {
            Counts::Integer { zero_count, .. } => *zero_count == 0,
            Counts::Float { zero_count, .. } => *zero_count == 0.0,
        };
        let plain = zero && self.zero_threshold == 0.0 && self.negative_spans.is_empty() && self.counts.negative_len() == 0;
        if plain { Ok(()) } else { Err(InvalidHistogram::CustomExtras) }
    }
}

/// Whether the spans name as many buckets as there are.
pub(super) fn check_spans(spans: &[Span], buckets: usize) -> Result<(), InvalidHistogram> {
    let needed = spans.iter().map(|span| u64::from(span.length)).sum();
    if needed == buckets as u64 { Ok(()) } else { Err(InvalidHistogram::Buckets { needed, buckets }) }
}

/// Whether each span but the first begins behind the end of the one before.
pub(super) fn check_offsets(spans: &[Span]) -> Result<(), InvalidHistogram> {
    match spans.iter().enumerate().skip(1).find(|(_, span)| span.offset < 0) {
        Some((at, span)) => Err(InvalidHistogram::NegativeOffset { span: at + 1, offset: span.offset }),
        None => Ok(()),
    }
}

/// The sum of buckets that are given by their differences.
fn whole(deltas: &[i64]) -> Result<u64, InvalidHistogram> {
    let mut sum = 0_u64;
    for (at, count) in absolute(deltas).enumerate() {
        sum = sum.wrapping_add(u64::try_from(count).map_err(|_| InvalidHistogram::NegativeBucket { bucket: at + 1, count: count as f64 })?);
    }
    Ok(sum)
}

fn check_floats(counts: &[f64]) -> Result<(), InvalidHistogram> {
    match counts.iter().enumerate().find(|(_, count)| **count < 0.0) {
        Some((at, count)) => Err(InvalidHistogram::NegativeBucket { bucket: at + 1, count: *count }),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::ResetHint;
    use super::*;

    pub(in super::super) fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    /// A histogram of positive buckets whose total count is right.
    pub(in super::super) fn integer(schema: i32, spans: &[Span], deltas: &[i64]) -> Histogram {
        let count = absolute(deltas).map(|count| count.max(0) as u64).sum();
        let counts = Counts::Integer { count, zero_count: 0, positive: deltas.into(), negative: Box::new([]) };
        of(schema, spans, counts)
    }

    pub(in super::super) fn float(schema: i32, spans: &[Span], buckets: &[f64]) -> Histogram {
        let counts = Counts::Float { count: buckets.iter().sum(), zero_count: 0.0, positive: buckets.into(), negative: Box::new([]) };
        of(schema, spans, counts)
    }

    pub(in super::super) fn custom(bounds: &[f64], spans: &[Span], deltas: &[i64]) -> Histogram {
        Histogram { custom_values: bounds.into(), ..integer(CUSTOM_BUCKETS_SCHEMA, spans, deltas) }
    }

    fn of(schema: i32, spans: &[Span], counts: Counts) -> Histogram {
        Histogram {
            schema,
            zero_threshold: 0.0,
            sum: 1.0,
            counts,
            positive_spans: spans.into(),
            negative_spans: Box::new([]),
            custom_values: Box::new([]),
            reset_hint: ResetHint::Unknown,
        }
    }

    #[test]
    fn what_instrumentation_exposes_is_valid() {
        assert_eq!(integer(3, &[span(-2, 2), span(0, 1), span(4, 1)], &[2, -1, 0, 3]).validate(), Ok(()));
        assert_eq!(integer(8, &[span(0, 0)], &[]).validate(), Ok(()));
        assert_eq!(float(-4, &[span(1, 2)], &[0.5, 0.0]).validate(), Ok(()));
        assert_eq!(custom(&[f64::NEG_INFINITY, 0.5], &[span(0, 1), span(1, 1)], &[1, 1]).validate(), Ok(()));
        assert_eq!(custom(&[], &[], &[]).validate(), Ok(()));
    }

    #[test]
    fn the_total_is_the_sum_of_the_buckets_unless_nan_was_observed() {
        let mut histogram = integer(0, &[span(0, 2)], &[2, 1]);
        histogram.negative_spans = Box::new([span(0, 1)]);
        histogram.counts = Counts::Integer { count: 10, zero_count: 1, positive: Box::new([2, 1]), negative: Box::new([3]) };
        assert_eq!(histogram.validate(), Err(InvalidHistogram::CountMismatch { found: 9, count: 10 }));
        histogram.sum = f64::NAN;
        assert_eq!(histogram.validate(), Ok(()));
        histogram.counts = Counts::Integer { count: 8, zero_count: 1, positive: Box::new([2, 1]), negative: Box::new([3]) };
        assert_eq!(histogram.validate(), Err(InvalidHistogram::CountMismatch { found: 9, count: 8 }));
    }

    #[test]
    fn what_is_not_a_histogram_is_refused_with_its_reason() {
        let cases = [
            (integer(9, &[], &[]), InvalidHistogram::Schema(9)),
            (integer(-5, &[], &[]), InvalidHistogram::Schema(-5)),
            (integer(-54, &[], &[]), InvalidHistogram::Schema(-54)),
            (integer(0, &[span(0, 1), span(-1, 1)], &[1, 1]), InvalidHistogram::NegativeOffset { span: 2, offset: -1 }),
            (integer(0, &[span(0, 2)], &[1]), InvalidHistogram::Buckets { needed: 2, buckets: 1 }),
            (integer(0, &[span(0, 1)], &[1, 1]), InvalidHistogram::Buckets { needed: 1, buckets: 2 }),
            (integer(0, &[span(0, 2)], &[1, -2]), InvalidHistogram::NegativeBucket { bucket: 2, count: -1.0 }),
            (float(0, &[span(0, 2)], &[1.0, -0.5]), InvalidHistogram::NegativeBucket { bucket: 2, count: -0.5 }),
            (custom(&[1.0, 1.0], &[], &[]), InvalidHistogram::CustomBounds),
            (custom(&[f64::NAN], &[], &[]), InvalidHistogram::CustomBounds),
            (custom(&[1.0, f64::INFINITY], &[], &[]), InvalidHistogram::CustomBounds),
            (custom(&[1.0], &[span(1, 2)], &[1, 0]), InvalidHistogram::CustomBounds),
            (custom(&[1.0], &[span(-1, 1)], &[1]), InvalidHistogram::NegativeOffset { span: 1, offset: -1 }),
            (Histogram { zero_threshold: 0.1, ..custom(&[], &[], &[]) }, InvalidHistogram::CustomExtras),
            (Histogram { negative_spans: Box::new([span(0, 0)]), ..custom(&[], &[], &[]) }, InvalidHistogram::CustomExtras),
            (Histogram { custom_values: Box::new([1.0]), ..integer(0, &[], &[]) }, InvalidHistogram::ExponentialBounds),
        ];
        for (histogram, reason) in cases {
            assert_eq!(histogram.validate(), Err(reason), "{histogram:?}");
        }
    }

    #[test]
    fn float_histograms_have_no_negative_counts() {
        let with = |count, zero_count| Histogram {
            counts: Counts::Float { count, zero_count, positive: Box::new([]), negative: Box::new([]) },
            ..float(0, &[], &[])
        };
        assert_eq!(with(-1.0, 0.0).validate(), Err(InvalidHistogram::NegativeCount(-1.0)));
        assert_eq!(with(1.0, -2.0).validate(), Err(InvalidHistogram::NegativeBucket { bucket: 0, count: -2.0 }));
        assert_eq!(with(7.0, 2.0).validate(), Ok(()), "sums of floats are not compared");
    }

    #[test]
    fn spans_of_huge_lengths_are_only_counted() {
        let histogram = integer(0, &[span(0, u32::MAX), span(0, u32::MAX)], &[1]);
        assert_eq!(histogram.validate(), Err(InvalidHistogram::Buckets { needed: 2 * u64::from(u32::MAX), buckets: 1 }));
    }
}
