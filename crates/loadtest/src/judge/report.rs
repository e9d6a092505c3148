//! What a judge says: scores of a window, over all targets and for the worst of them. Plain data that prints itself as JSON.

use serde::Serialize;

use super::ledger::Totals;

/// A stretch of time, Unix milliseconds; slots belong to it whose middle lies in `from_ms..to_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Its beginning.
    pub from_ms: i64,
    /// Its end, not included.
    pub to_ms: i64,
}

/// The score of one target in a window, slot by slot over the series that are followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TargetScore {
    /// The target's `instance`.
    pub target: String,
    /// Slots that should be filled.
    pub expected: u64,
    /// Slots in which every followed series has a sample.
    pub filled: u64,
    /// Slots in which one lacks its sample although the target answered or was not asked.
    pub gaps: u64,
    /// Of the gaps: nobody scraped.
    pub never_scraped: u64,
    /// Of the gaps: scraped, as `probe_seq` shows, but not received.
    pub lost: u64,
    /// Slots in which the target did not answer (`up` is 0).
    pub unanswered: u64,
    /// Samples beyond the first in their slots.
    pub duplicates: u64,
    /// The longest run of gaps, in slots.
    pub longest_gap: u64,
    /// Scrapes of which fewer samples arrived than usually.
    pub partial: u64,
    /// Samples that its answered scrapes should have brought: slots times what a scrape brings usually.
    pub expected_samples: u64,
    /// Samples that they brought.
    pub samples: u64,
    /// Largest distance of a sample from the middle of its slot, in milliseconds.
    pub deviation_ms: i64,
    /// Longest way from a sample's timestamp to its arrival, in milliseconds.
    pub lag_ms: i64,
    /// Middles of the first gaps (up to 20), Unix milliseconds.
    pub missing_at_ms: Vec<i64>,
}

/// The score of all targets in a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The window that was asked for.
    pub window: Option<Window>,
    /// Scrape interval in milliseconds.
    pub interval_ms: i64,
    /// Targets that were expected or seen.
    pub targets: u64,
    /// Sums over the targets (see [`TargetScore`]).
    pub expected: u64,
    /// Filled slots.
    pub filled: u64,
    /// Gaps.
    pub gaps: u64,
    /// Gaps that nobody scraped.
    pub never_scraped: u64,
    /// Gaps that were scraped and lost.
    pub lost: u64,
    /// Slots in which a target did not answer.
    pub unanswered: u64,
    /// Surplus samples.
    pub duplicates: u64,
    /// The longest run of gaps of any target, in slots.
    pub longest_gap: u64,
    /// The most gaps of any target.
    pub most_gaps: u64,
    /// Scrapes that arrived in part.
    pub partial: u64,
    /// Filled per expected slot, 0 to 1; 1 without expected slots.
    pub completeness: f64,
    /// Surplus samples per expected slot.
    pub duplication: f64,
    /// Largest distance of a sample from the middle of its slot, in milliseconds.
    pub deviation_ms: i64,
    /// Longest way from timestamp to arrival, in milliseconds.
    pub lag_ms: i64,
    /// Series that ended without a marker, over all series and all time.
    pub missing_stale: u64,
    /// What was seen over all series and all time.
    pub totals: Totals,
    /// The worst targets (up to 10), by gaps and duplicates; targets without a flaw are left out.
    pub worst: Vec<TargetScore>,
}

/// Targets that a report names.
const MAX_WORST: usize = 10;

impl Report {
    /// Sums up.
    pub(crate) fn of(window: Window, interval_ms: i64, mut scores: Vec<TargetScore>, totals: Totals, missing_stale: u64) -> Self {
        let sum = |of: fn(&TargetScore) -> u64| scores.iter().map(of).sum::<u64>();
        let (expected, duplicates) = (sum(|s| s.expected), sum(|s| s.duplicates));
        let filled = sum(|s| s.filled);
        let mut report = Self {
            window: Some(window),
            interval_ms,
            targets: scores.len() as u64,
            expected,
            filled,
            gaps: sum(|s| s.gaps),
            never_scraped: sum(|s| s.never_scraped),
            lost: sum(|s| s.lost),
            unanswered: sum(|s| s.unanswered),
            duplicates,
            longest_gap: scores.iter().map(|s| s.longest_gap).max().unwrap_or(0),
            most_gaps: scores.iter().map(|s| s.gaps).max().unwrap_or(0),
            partial: sum(|s| s.partial),
            completeness: if expected == 0 { 1.0 } else { filled as f64 / expected as f64 },
            duplication: if expected == 0 { 0.0 } else { duplicates as f64 / expected as f64 },
            deviation_ms: scores.iter().map(|s| s.deviation_ms).max().unwrap_or(0),
            lag_ms: scores.iter().map(|s| s.lag_ms).max().unwrap_or(0),
            missing_stale,
            totals,
            worst: Vec::new(),
        };
        scores.retain(|s| s.gaps + s.duplicates + s.partial > 0);
        scores.sort_by(|a, b| (b.gaps + b.duplicates + b.partial).cmp(&(a.gaps + a.duplicates + a.partial)).then(a.target.cmp(&b.target)));
        scores.truncate(MAX_WORST);
        report.worst = scores;
        report
    }

    /// The report as JSON, for files and other programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
