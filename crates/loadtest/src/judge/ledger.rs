//! One line per series, whatever it is: its newest sample. That suffices to see disorder, conflicts, gaps, duplicates and wrong staleness
//! markers in passing, over all series, in bounded memory; where each slot went is for the series with a `history`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use model::stale::STALE_NAN_BITS;
use serde::Serialize;

/// What was seen over all series since the judge began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Series that were seen.
    pub series: u64,
    /// Series beyond the judge's bound, whose samples are only counted.
    pub unjudged_series_samples: u64,
    /// Samples that were stored, staleness markers included.
    pub samples: u64,
    /// Staleness markers among them.
    pub markers: u64,
    /// Slots without a sample between two samples of a series that had not ended.
    pub gaps: u64,
    /// Samples less than half an interval after the one before.
    pub duplicates: u64,
    /// The same sample again.
    pub resends: u64,
    /// Another value for a time that has one.
    pub conflicts: u64,
    /// Samples older than the series' newest.
    pub disorders: u64,
    /// Markers that a sample followed within two intervals, though the target had answered.
    pub false_stale: u64,
    /// Markers that came more than two and a half intervals after the last sample.
    pub late_stale: u64,
    /// Samples without the label that names their target, or of another job.
    pub foreign: u64,
    /// Series with unsorted or repeated labels, counted per request.
    pub bad_labels: u64,
    /// Requests that were refused for samples in them.
    pub refused_requests: u64,
    /// All samples of those requests.
    pub refused_samples: u64,
}

impl Totals {
    /// Counts a stored sample and what it showed.
    pub(crate) fn add(&mut self, found: Found, marker: bool) {
        self.samples += 1;
        self.markers += u64::from(marker);
        self.gaps += found.gaps;
        self.duplicates += u64::from(found.duplicate);
        self.false_stale += u64::from(found.false_stale);
        self.late_stale += u64::from(found.late_stale);
    }
}

/// The newest sample of a series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) target: u32,
    pub(crate) last_ms: i64,
    pub(crate) last_bits: u64,
    /// The newest sample that is no marker; `i64::MIN` before there is one.
    pub(crate) real_ms: i64,
}

/// How a sample relates to what its series has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Newer than all.
    Newer,
    /// The newest, again.
    Same,
    /// Of the newest's time with another value.
    Conflict,
    /// Older than the newest.
    Older,
}

/// What a stored sample shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) gaps: u64,
    pub(crate) duplicate: bool,
    pub(crate) false_stale: bool,
    /// When the marker was that a sample has followed too soon; 0 without one.
    pub(crate) marker_ms: i64,
    pub(crate) late_stale: bool,
}

/// Series by identity.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: HashMap<u64, Entry, BuildHasherDefault<AsIs>>,
    max: usize,
    interval_ms: i64,
}

impl Ledger {
    pub(crate) fn new(max: usize, interval_ms: i64) -> Self {
        Self { entries: HashMap::default(), max, interval_ms }
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How a sample relates to what its series has; nothing is changed.
    pub(crate) fn order(&self, identity: u64, ts_ms: i64, bits: u64) -> Order {
        match self.entries.get(&identity) {
            Some(entry) if ts_ms < entry.last_ms => Order::Older,
            Some(entry) if ts_ms == entry.last_ms && bits == entry.last_bits => Order::Same,
            Some(entry) if ts_ms == entry.last_ms => Order::Conflict,
            _ => Order::Newer,
        }
    }

    /// Writes down a sample that is [`Order::Newer`]; `None` when the ledger is full and the series is unknown.
    pub(crate) fn write(&mut self, identity: u64, target: u32, ts_ms: i64, bits: u64) -> Option<Found> {
        let stale = bits == STALE_NAN_BITS;
        let Some(entry) = self.entries.get_mut(&identity) else {
            if self.entries.len() >= self.max {
                return None;
            }
            let real_ms = if stale { i64::MIN } else { ts_ms };
            self.entries.insert(identity, Entry { target, last_ms: ts_ms, last_bits: bits, real_ms });
            return Some(Found::default());
        };
        let found = compare(entry, ts_ms, stale, self.interval_ms);
        entry.last_ms = ts_ms;
        entry.last_bits = bits;
        if !stale {
            entry.real_ms = ts_ms;
        }
        Some(found)
    }

    /// How many series have ended without a marker: their target went on for two intervals, or has retired that long ago.
    pub(crate) fn missing_stale(&self, ended: impl Fn(&Entry) -> bool) -> u64 {
        self.entries.values().filter(|e| e.last_bits != STALE_NAN_BITS && ended(e)).count() as u64
    }
}

fn compare(entry: &Entry, ts_ms: i64, stale: bool, interval_ms: i64) -> Found {
    if entry.real_ms == i64::MIN {
        return Found::default();
    }
    let since = ts_ms - entry.real_ms;
    if stale {
        return Found { late_stale: entry.last_bits != STALE_NAN_BITS && 2 * since > 5 * interval_ms, ..Found::default() };
    }
    if entry.last_bits == STALE_NAN_BITS {
        return Found { false_stale: ts_ms - entry.last_ms <= 2 * interval_ms, marker_ms: entry.last_ms, ..Found::default() };
    }
    if 2 * since < interval_ms {
        return Found { duplicate: true, ..Found::default() };
    }
    let steps = (since + interval_ms / 2) / interval_ms;
    Found { gaps: u64::try_from(steps - 1).unwrap_or(0), ..Found::default() }
}

/// Identities are hashes already.
#[derive(Debug, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, identity: u64) {
        self.0 = identity;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: u64 = 0x3ff0_0000_0000_0000;

    fn play(samples: &[(i64, u64)]) -> Vec<Found> {
        let mut ledger = Ledger::new(10, 1000);
        samples.iter().map(|(ts, bits)| ledger.write(1, 0, *ts, *bits).expect("there is room")).collect()
    }

    #[test]
    fn steady_samples_show_nothing_even_with_jitter() {
        assert!(play(&[(1000, ONE), (2000, ONE), (3400, ONE), (4000, ONE)]).iter().all(|f| *f == Found::default()));
    }

    #[test]
    fn missing_steps_are_counted_and_close_samples_are_duplicates() {
        let found = play(&[(1000, ONE), (4000, ONE), (4400, ONE)]);
        assert_eq!((found[1].gaps, found[2].duplicate), (2, true));
    }

    #[test]
    fn a_marker_that_is_followed_soon_was_false_and_an_end_is_no_gap() {
        assert!(play(&[(1000, ONE), (2000, STALE_NAN_BITS), (3000, ONE)])[2].false_stale);
        let ended = play(&[(1000, ONE), (2000, STALE_NAN_BITS), (9000, ONE)])[2];
        assert_eq!((ended.false_stale, ended.gaps), (false, 0));
    }

    #[test]
    fn a_marker_long_after_the_last_sample_is_late() {
        assert!(!play(&[(1000, ONE), (3400, STALE_NAN_BITS)])[1].late_stale);
        assert!(play(&[(1000, ONE), (3600, STALE_NAN_BITS)])[1].late_stale);
    }

    #[test]
    fn order_tells_resends_conflicts_and_disorder() {
        let mut ledger = Ledger::new(10, 1000);
        ledger.write(1, 0, 1000, ONE);
        assert_eq!(ledger.order(1, 1000, ONE), Order::Same);
        assert_eq!(ledger.order(1, 1000, 0), Order::Conflict);
        assert_eq!(ledger.order(1, 999, ONE), Order::Older);
        assert_eq!([ledger.order(1, 1001, ONE), ledger.order(2, 5, ONE)], [Order::Newer; 2]);
    }

    #[test]
    fn a_full_ledger_takes_no_new_series_and_keeps_the_known() {
        let mut ledger = Ledger::new(1, 1000);
        assert!(ledger.write(1, 0, 1000, ONE).is_some());
        assert!(ledger.write(2, 0, 1000, ONE).is_none());
        assert!(ledger.write(1, 0, 2000, ONE).is_some());
        assert_eq!(ledger.len(), 1);
    }

    #[test]
    fn series_that_ended_without_a_marker_are_found() {
        let mut ledger = Ledger::new(10, 1000);
        ledger.write(1, 0, 1000, ONE);
        ledger.write(2, 0, 1000, STALE_NAN_BITS);
        ledger.write(3, 0, 5000, ONE);
        assert_eq!(ledger.missing_stale(|e| 5000 - e.last_ms > 2000), 1);
    }
}
