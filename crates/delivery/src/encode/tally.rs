//! How many of each kind of data something holds: what requests, queues and metrics count.

use std::ops::{AddAssign, SubAssign};

use model::Batch;

/// How many of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Float samples.
    pub samples: usize,
    /// Native histograms.
    pub histograms: usize,
    /// Exemplars.
    pub exemplars: usize,
}

impl Tally {
    /// What a batch holds.
    #[must_use]
    pub fn of(batch: &Batch) -> Self {
        let (histograms, exemplars) = batch.details.as_ref().map_or((0, 0), |details| (details.histograms.len(), details.exemplars.len()));
        Self { samples: batch.len().saturating_sub(histograms), histograms, exemplars }
    }

    /// All kinds together.
    #[must_use]
    pub fn total(self) -> usize {
        self.samples + self.histograms + self.exemplars
    }

    /// What is missing of this in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self {
            samples: self.samples.saturating_sub(other.samples),
            histograms: self.histograms.saturating_sub(other.histograms),
            exemplars: self.exemplars.saturating_sub(other.exemplars),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.histograms += other.histograms;
        self.exemplars += other.exemplars;
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        *self = self.without(other);
    }
}
