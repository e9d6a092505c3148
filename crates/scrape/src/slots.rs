//! Time as the engine sees it: nominal instants φ + k·interval on the wall clock, and who may scrape at one. What φ is and who may is the
//! caller's: the cluster's arithmetic and ownership, or [`Solo`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock that slots are cut from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the epoch. Must never go back; should be slewed rather than stepped.
    fn now_ms(&self) -> i64;
}

/// The system's wall clock; while it goes back, time stands still.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicI64,
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        self.latest.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

/// Where a target's slots begin, and whether this node may scrape in one.
pub trait Slots: Send + Sync {
    /// The offset of a key's slots within its interval, in milliseconds. Must be the same on every node.
    fn phase_ms(&self, key: u64, interval_ms: u64) -> u64;

    /// Asked right before each scrape, by each target of the key for itself and by none of them twice for a slot. If not, the slot passes
    /// without one.
    fn begin(&self, key: u64, slot: u64) -> bool;
}

/// A node that shares with nobody: all targets, all slots, phases spread by the key.
#[derive(Debug, Default, Clone, Copy)]
pub struct Solo;

impl Slots for Solo {
    fn phase_ms(&self, key: u64, interval_ms: u64) -> u64 {
        key % interval_ms.max(1)
    }

    fn begin(&self, _key: u64, _slot: u64) -> bool {
        true
    }
}

/// The slots of one target: slot k begins at φ + k·interval milliseconds after the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timetable {
    phase: i64,
    interval: i64,
}

impl Timetable {
    pub(crate) fn new(phase_ms: u64, interval_ms: u64) -> Self {
        let interval = i64::try_from(interval_ms).unwrap_or(i64::MAX).max(1);
        Self { phase: i64::try_from(phase_ms).unwrap_or(0) % interval, interval }
    }

    pub(crate) fn interval_ms(&self) -> i64 {
        self.interval
    }

    /// The nominal instant of a slot.
    pub(crate) fn instant(&self, slot: u64) -> i64 {
        i64::try_from(slot).unwrap_or(i64::MAX).saturating_mul(self.interval).saturating_add(self.phase)
    }

    /// The slot that `now` lies in; 0 before the first one.
    pub(crate) fn slot_at(&self, now: i64) -> u64 {
        u64::try_from((now - self.phase).div_euclid(self.interval)).unwrap_or(0)
    }

    /// The first slot that has not begun.
    pub(crate) fn next_after(&self, now: i64) -> u64 {
        if now < self.phase { 0 } else { self.slot_at(now) + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_each_other_at_their_phase() {
        let table = Timetable::new(300, 1000);
        assert_eq!([table.instant(0), table.instant(1), table.instant(7)], [300, 1300, 7300]);
        for (now, slot, next) in [(0, 0, 0), (299, 0, 0), (300, 0, 1), (1299, 0, 1), (1300, 1, 2), (7999, 7, 8)] {
            assert_eq!((table.slot_at(now), table.next_after(now)), (slot, next), "{now}");
        }
    }

    #[test]
    fn odd_arguments_do_no_harm() {
        assert_eq!(Timetable::new(5, 0).interval_ms(), 1);
        assert_eq!(Timetable::new(1500, 1000).instant(0), 500);
        assert_eq!(Timetable::new(0, u64::MAX).instant(u64::MAX), i64::MAX);
    }

    #[test]
    fn the_system_clock_never_goes_back() {
        let clock = SystemClock::default();
        let now = clock.now_ms();
        assert!(now > 1_700_000_000_000);
        clock.latest.store(now + 60_000, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), now + 60_000);
    }
}
