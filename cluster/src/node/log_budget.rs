//! How much the log is told of members that come and go: a large fleet may start all at once, but a peer that invents changes
//! without end must not fill the disk with them. Counters count everything; what they are is the callers' part.

use std::time::Duration;

use tokio::time::Instant;

/// Lines at once: some for each node of the largest fleet.
const BURST: u32 = 2_000;

/// Pause after which another line may be written once the burst is used up.
const PAUSE: Duration = Duration::from_secs(1);

/// What may still be written.
#[derive(Debug)]
pub(crate) struct LogBudget {
    left: u32,
    filled: Instant,
    kept: u64,
}

impl LogBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: BURST, filled: now, kept: 0 }
    }

    /// Whether a line may be written, and how many were kept from the log since the last one.
    pub(crate) fn spend(&mut self, now: Instant) -> Option<u64> {
        let earned = u32::try_from(now.duration_since(self.filled).as_secs() / PAUSE.as_secs()).unwrap_or(BURST);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.filled = now;
        }
        if self.left == 0 {
            self.kept += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_told_whole_and_a_flood_once_a_second() {
        let start = Instant::now();
        let mut budget = LogBudget::new(start);
        assert_eq!((0..BURST).filter_map(|_| budget.spend(start)).count(), BURST as usize);
        assert_eq!((budget.spend(start), budget.spend(start)), (None, None));
        assert_eq!(budget.spend(start + PAUSE), Some(2), "what was not told is told of");
        assert_eq!(budget.spend(start + PAUSE), None);
        let later = start + PAUSE * (2 * BURST);
        assert_eq!((0..2 * BURST).filter_map(|_| budget.spend(later)).count(), BURST as usize);
    }
}
