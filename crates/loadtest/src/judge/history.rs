//! The samples of one series that is followed closely: in time order, bounded.

use std::collections::VecDeque;

use model::stale::STALE_NAN_BITS;

/// One sample as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) ts_ms: i64,
    pub(crate) bits: u64,
    pub(crate) arrival_ms: i64,
}

impl Sample {
    pub(crate) fn is_stale(&self) -> bool {
        self.bits == STALE_NAN_BITS
    }

    pub(crate) fn value(&self) -> f64 {
        f64::from_bits(self.bits)
    }
}

/// What a history says to a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// There is none of this time.
    New,
    /// The very same was received before.
    Same,
    /// Another value was received for this time.
    Other,
}

/// The newest samples of one series.
#[derive(Debug)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    max: usize,
}

impl History {
    pub(crate) fn new(max: usize) -> Self {
        Self { samples: VecDeque::new(), max: max.max(1) }
    }

    /// Whether a sample of this time is there already.
    pub(crate) fn know(&self, ts_ms: i64, bits: u64) -> Known {
        match self.samples.binary_search_by_key(&ts_ms, |s| s.ts_ms) {
            Err(_) => Known::New,
            Ok(at) if self.samples[at].bits == bits => Known::Same,
            Ok(_) => Known::Other,
        }
    }

    /// Keeps a sample of a new time; the oldest goes when there are too many.
    pub(crate) fn keep(&mut self, sample: Sample) {
        let Err(at) = self.samples.binary_search_by_key(&sample.ts_ms, |s| s.ts_ms) else { return };
        self.samples.insert(at, sample);
        if self.samples.len() > self.max {
            self.samples.pop_front();
        }
    }

    /// The sample of a time.
    pub(crate) fn at(&self, ts_ms: i64) -> Option<&Sample> {
        self.samples.binary_search_by_key(&ts_ms, |s| s.ts_ms).ok().map(|at| &self.samples[at])
    }

    /// Whether there is a sample of this time that is no marker.
    pub(crate) fn has_real(&self, ts_ms: i64) -> bool {
        self.at(ts_ms).is_some_and(|s| !s.is_stale())
    }

    /// All samples in time order, markers too.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        self.samples.iter()
    }

    /// The samples that are no staleness markers, in time order.
    pub(crate) fn real(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        self.samples.iter().filter(|s| !s.is_stale())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ts_ms: i64, value: f64) -> Sample {
        Sample { ts_ms, bits: value.to_bits(), arrival_ms: ts_ms + 1 }
    }

    #[test]
    fn samples_are_kept_in_order_of_time_however_they_come() {
        let mut history = History::new(3);
        for ts in [20, 10, 40, 30] {
            history.keep(sample(ts, 1.0));
        }
        assert_eq!(history.all().map(|s| s.ts_ms).collect::<Vec<_>>(), [20, 30, 40], "bounded, the oldest went");
        assert_eq!(history.know(30, 1.0_f64.to_bits()), Known::Same);
        assert_eq!(history.know(30, 2.0_f64.to_bits()), Known::Other);
        assert_eq!(history.know(35, 1.0_f64.to_bits()), Known::New);
    }

    #[test]
    fn markers_are_no_real_samples() {
        let mut history = History::new(9);
        history.keep(sample(10, 1.0));
        history.keep(Sample { ts_ms: 20, bits: STALE_NAN_BITS, arrival_ms: 21 });
        assert_eq!((history.all().count(), history.real().count()), (2, 1));
    }
}
