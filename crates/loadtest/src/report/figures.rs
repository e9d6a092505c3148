//! What is counted in a stretch of time.

use serde::Serialize;

use crate::judge::{TargetScore, Totals};

/// Counts of one stretch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Slots in which a target was to be scraped.
    pub slots: u64,
    /// Samples that these should have brought, by what a scrape of each target brings usually.
    pub expected_samples: u64,
    /// Samples that they brought.
    pub received_samples: u64,
    /// Slots that lack samples although the target answered or was not asked.
    pub gaps: u64,
    /// Of the gaps: nobody scraped.
    pub never_scraped: u64,
    /// Of the gaps: scraped, but not received.
    pub lost: u64,
    /// The most gaps of one target.
    pub most_gaps: u64,
    /// The longest time without a sample of one target, in milliseconds: its longest run of gaps.
    pub longest_gap_ms: i64,
    /// Scrapes of which a part is missing.
    pub partial: u64,
    /// Slots in which a target did not answer.
    pub unanswered: u64,
    /// Samples beyond the first in their slots, of the series that are followed slot by slot.
    pub duplicates: u64,
    /// The same over all series: samples less than half an interval after the one before.
    pub duplicate_samples: u64,
    /// Samples that a receiver refuses: out of order, or another value for a time that has one.
    pub refused_samples: u64,
    /// Samples that were received before; harmless.
    pub resent_samples: u64,
    /// Series that ended without a staleness marker.
    pub missing_markers: u64,
    /// Markers of series that went on.
    pub false_markers: u64,
    /// Targets that changed their holder, as seen by asking the nodes once a second.
    pub moved: u64,
    /// Longest way of a sample from its scrape to the receiver, in milliseconds.
    pub lag_ms: i64,
}

impl Figures {
    /// Adds the scores of targets in the stretch.
    pub(super) fn add_scores(&mut self, scores: &[TargetScore], interval_ms: i64) {
        for score in scores {
            self.slots += score.expected;
            self.expected_samples += score.expected_samples;
            self.received_samples += score.samples;
            self.gaps += score.gaps;
            self.never_scraped += score.never_scraped;
            self.lost += score.lost;
            self.most_gaps = self.most_gaps.max(score.gaps);
            self.longest_gap_ms = self.longest_gap_ms.max(i64::try_from(score.longest_gap).unwrap_or(0) * interval_ms);
            self.partial += score.partial;
            self.unanswered += score.unanswered;
            self.duplicates += score.duplicates;
            self.lag_ms = self.lag_ms.max(score.lag_ms);
        }
    }

    /// Adds what was counted between two looks at the judge.
    pub(super) fn add_totals(&mut self, before: &Totals, after: &Totals) {
        let flaws = |totals: &Totals| totals.disorders + totals.conflicts;
        self.duplicate_samples += after.duplicates.saturating_sub(before.duplicates);
        self.refused_samples += flaws(after).saturating_sub(flaws(before));
        self.resent_samples += after.resends.saturating_sub(before.resends);
        self.false_markers += after.false_stale.saturating_sub(before.false_stale);
    }

    /// Adds another stretch. The longest gap is that of either: one across the border counts on each side.
    pub(super) fn add(&mut self, other: &Self) {
        let Self { slots, expected_samples, received_samples, gaps, never_scraped, lost, partial, unanswered, .. } = other;
        self.slots += slots;
        self.expected_samples += expected_samples;
        self.received_samples += received_samples;
        self.gaps += gaps;
        self.never_scraped += never_scraped;
        self.lost += lost;
        self.most_gaps = self.most_gaps.max(other.most_gaps);
        self.longest_gap_ms = self.longest_gap_ms.max(other.longest_gap_ms);
        self.partial += partial;
        self.unanswered += unanswered;
        self.duplicates += other.duplicates;
        self.duplicate_samples += other.duplicate_samples;
        self.refused_samples += other.refused_samples;
        self.resent_samples += other.resent_samples;
        self.missing_markers += other.missing_markers;
        self.false_markers += other.false_markers;
        self.moved += other.moved;
        self.lag_ms = self.lag_ms.max(other.lag_ms);
    }
}
