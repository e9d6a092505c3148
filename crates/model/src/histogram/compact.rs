//! Empty buckets taken out of a histogram, as Prometheus does with each one that it scrapes (`Histogram.Compact`).

use super::buckets::{Count, Runs, absolute, deltas, indices};
use super::{Counts, Histogram, Span};

impl Histogram {
    /// Takes out empty buckets, but those that lie between others in runs of at most `max_empty`: spans would take more room. Spans
    /// without buckets go, and spans without a gap between them become one. The spans must have as many buckets as there are counts.
    pub fn compact(&mut self, max_empty: u32) {
        match &mut self.counts {
            Counts::Integer { positive, negative, .. } => {
                for (spans, buckets) in [(&mut self.positive_spans, positive), (&mut self.negative_spans, negative)] {
                    if is_compact(spans, absolute(buckets), max_empty) {
                        continue;
                    }
                    let counts;
                    (*spans, counts) = compacted(spans, absolute(buckets), buckets.len(), max_empty);
                    *buckets = deltas(counts);
                }
            }
            Counts::Float { positive, negative, .. } => {
                for (spans, buckets) in [(&mut self.positive_spans, positive), (&mut self.negative_spans, negative)] {
                    if is_compact(spans, buckets.iter().copied(), max_empty) {
                        continue;
                    }
                    let counts;
                    (*spans, counts) = compacted(spans, buckets.iter().copied(), buckets.len(), max_empty);
                    *buckets = counts.into_boxed_slice();
                }
            }
        }
    }
}

/// Most histograms have nothing to take out, and keep their memory then.
fn is_compact<C: Count>(spans: &[Span], mut counts: impl Iterator<Item = C>, max_empty: u32) -> bool {
    let apart = |span: &Span| u32::try_from(span.offset).is_ok_and(|offset| offset > max_empty);
    spans.iter().all(|span| span.length > 0) && spans.iter().skip(1).all(apart) && counts.all(|count| count != C::ZERO)
}

fn compacted<C: Count>(spans: &[Span], counts: impl Iterator<Item = C>, buckets: usize, max_empty: u32) -> (Box<[Span]>, Vec<C>) {
    let mut runs = Runs::with_capacity(buckets);
    for (index, count) in indices(spans).zip(counts).filter(|(_, count)| *count != C::ZERO) {
        if let Some(gap) = runs.gap(index).filter(|gap| *gap <= i64::from(max_empty)) {
            (index - gap..index).for_each(|empty| runs.push(empty, C::ZERO));
        }
        runs.push(index, count);
    }
    runs.finish()
}

#[cfg(test)]
mod tests {
    use super::super::validate::tests::{float, integer, span};
    use super::*;

    fn positive(spans: &[Span], deltas: &[i64], max_empty: u32) -> (Vec<Span>, Vec<i64>) {
        let mut histogram = integer(0, spans, deltas);
        histogram.compact(max_empty);
        let Counts::Integer { positive, .. } = histogram.counts else { panic!("it was one of integers") };
        (histogram.positive_spans.into(), positive.into())
    }

    #[test]
    fn empty_buckets_go_from_the_ends_and_the_middle() {
        // Counts 0 0 3 0 0 0 1 0, from index 5 on.
        let got = positive(&[span(5, 8)], &[0, 0, 3, -3, 0, 0, 1, -1], 0);
        assert_eq!(got, (vec![span(7, 1), span(3, 1)], vec![3, -2]));
    }

    #[test]
    fn short_runs_of_empty_buckets_stay_if_allowed() {
        let got = positive(&[span(5, 8)], &[0, 0, 3, -3, 0, 0, 1, -1], 3);
        assert_eq!(got, (vec![span(7, 5)], vec![3, -3, 0, 0, 1]));
        assert_eq!(positive(&[span(0, 1), span(2, 1)], &[1, 1], 2), (vec![span(0, 4)], vec![1, -1, 0, 2]), "gaps are filled");
        assert_eq!(positive(&[span(0, 1), span(2, 1)], &[1, 1], 1), (vec![span(0, 1), span(2, 1)], vec![1, 1]));
    }

    #[test]
    fn spans_without_buckets_or_gaps_become_part_of_others() {
        let got = positive(&[span(-3, 0), span(2, 1), span(0, 1), span(1, 0), span(1, 1), span(4, 0)], &[1, 0, 0], 0);
        assert_eq!(got, (vec![span(-1, 2), span(2, 1)], vec![1, 0, 0]));
        assert_eq!(positive(&[span(0, 0)], &[], 0), (vec![], vec![]), "the span that says that a histogram is native");
        assert_eq!(positive(&[span(1, 2)], &[0, 0], 0), (vec![], vec![]));
    }

    #[test]
    fn float_histograms_keep_what_is_not_zero() {
        let mut histogram = float(0, &[span(0, 4)], &[0.0, f64::NAN, -0.0, 0.5]);
        histogram.negative_spans = Box::new([span(1, 1)]);
        let Counts::Float { negative, .. } = &mut histogram.counts else { panic!("it was one of floats") };
        *negative = Box::new([0.0]);
        histogram.compact(0);
        assert_eq!(*histogram.positive_spans, [span(1, 1), span(1, 1)]);
        assert!(histogram.negative_spans.is_empty());
        let Counts::Float { positive, negative, .. } = histogram.counts else { panic!("it was one of floats") };
        assert!(positive[0].is_nan() && positive[1] == 0.5 && positive.len() == 2 && negative.is_empty());
    }
}
