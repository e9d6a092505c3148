//! Time cut into slots: one sample belongs into each. The middle of a slot is where samples are meant to lie, so that half an interval of
//! jitter to either side is forgiven; how far they stray is told apart from gaps and duplicates.

/// The slots of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Length of a slot in milliseconds, above 0.
    pub interval_ms: i64,
    /// Middle of slot 0, in 0..interval.
    pub phase_ms: i64,
}

impl Grid {
    /// The grid around which timestamps lie: its phase is their median on the circle of one interval, which a few late scrapes don't move.
    /// Without timestamps the phase is 0.
    #[must_use]
    pub fn learn(interval_ms: i64, timestamps: impl Iterator<Item = i64>) -> Self {
        let mut residues: Vec<i64> = timestamps.map(|ts| ts.rem_euclid(interval_ms)).collect();
        residues.sort_unstable();
        let phase_ms = median_on_circle(&residues, interval_ms).unwrap_or(0);
        Self { interval_ms, phase_ms }
    }

    /// The slot that a timestamp falls into.
    #[must_use]
    pub fn slot(&self, ts_ms: i64) -> i64 {
        (ts_ms - self.phase_ms + self.interval_ms / 2).div_euclid(self.interval_ms)
    }

    /// The first slot whose middle is not before a time.
    #[must_use]
    pub fn first_from(&self, ts_ms: i64) -> i64 {
        (ts_ms - self.phase_ms + self.interval_ms - 1).div_euclid(self.interval_ms)
    }

    /// The middle of a slot, in Unix milliseconds.
    #[must_use]
    pub fn middle(&self, slot: i64) -> i64 {
        self.phase_ms + slot * self.interval_ms
    }

    /// How far a timestamp is off the middle of its slot, in milliseconds.
    #[must_use]
    pub fn deviation(&self, ts_ms: i64) -> i64 {
        (ts_ms - self.middle(self.slot(ts_ms))).abs()
    }
}

/// Cuts the circle at its widest empty arc and takes the median of what is then a line.
fn median_on_circle(sorted: &[i64], interval_ms: i64) -> Option<i64> {
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    let mut start = 0;
    let mut widest = first + interval_ms - last;
    for (at, pair) in sorted.windows(2).enumerate() {
        if pair[1] - pair[0] > widest {
            widest = pair[1] - pair[0];
            start = at + 1;
        }
    }
    Some(sorted[(start + sorted.len() / 2) % sorted.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_is_learned_through_jitter_and_across_the_wrap() {
        let jittery = [9_990, 20_010, 30_005, 39_995, 50_000, 60_400];
        let grid = Grid::learn(10_000, jittery.into_iter());
        assert!(grid.phase_ms <= 10 || grid.phase_ms >= 9_990, "{grid:?}");
        assert_eq!(jittery.map(|ts| grid.slot(ts) - grid.slot(9_990)), [0, 1, 2, 3, 4, 5]);
        assert!(grid.deviation(60_400) >= 390);
        assert_eq!(Grid::learn(10_000, std::iter::empty()), Grid { interval_ms: 10_000, phase_ms: 0 });
    }

    #[test]
    fn slots_are_half_an_interval_to_either_side() {
        let grid = Grid { interval_ms: 1000, phase_ms: 300 };
        assert_eq!([grid.slot(799), grid.slot(800), grid.slot(1300), grid.slot(1799)], [0, 1, 1, 1]);
        assert_eq!([grid.first_from(300), grid.first_from(301), grid.first_from(1300)], [0, 1, 1]);
        assert_eq!((grid.middle(2), grid.deviation(1200)), (2300, 100));
        assert_eq!(grid.slot(-201), -1, "times before 1970 have slots too");
    }
}
