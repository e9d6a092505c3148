//! Time cut into slots: which slot of a key it is, when the next one begins, and a clock that never goes back. Pure
//! arithmetic: readings come in as arguments; timers and the scraping itself are the caller's.

use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

/// Slots begin at multiples of a hundredth of their interval, but of no more than this many milliseconds: to scrape some targets in a row
/// costs a third less than to wake up for each, and nobody depends on an offset that comes out of a hash.
const MAX_STEP_MS: u64 = 100;

/// Offset in milliseconds of a key's slots within its interval: the same on every node, version and architecture.
#[must_use]
pub fn phase(cluster: &str, key: u64, interval_ms: u64) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(cluster.as_bytes());
    // A byte that UTF-8 never has, so that no name runs into a key.
    hash.update(&[0xff]);
    hash.update(&key.to_le_bytes());
    let phase = hash.digest() % interval_ms.max(1);
    phase - phase % (interval_ms / 100).clamp(1, MAX_STEP_MS)
}

/// The slots of one key: slot k begins at phase + k·interval, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotClock {
    phase_ms: u64,
    interval_ms: u64,
}

impl SlotClock {
    /// The slots of `key`; an interval of 0 is taken as 1 ms.
    #[must_use]
    pub fn new(cluster: &str, key: u64, interval_ms: u64) -> Self {
        Self { phase_ms: phase(cluster, key, interval_ms), interval_ms: interval_ms.max(1) }
    }

    /// Milliseconds from slot to slot.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        self.interval_ms
    }

    /// The slot that `now_ms` lies in; 0 before the very first instant, at the epoch.
    #[must_use]
    pub fn slot_at(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.phase_ms) / self.interval_ms
    }

    /// The nominal instant of a slot in milliseconds since the epoch.
    #[must_use]
    pub fn instant(&self, slot: u64) -> u64 {
        slot.saturating_mul(self.interval_ms).saturating_add(self.phase_ms)
    }

    /// The first slot that has not begun at `now_ms`.
    #[must_use]
    pub fn next_after(&self, now_ms: u64) -> u64 {
        if now_ms < self.phase_ms {
            return 0;
        }
        self.slot_at(now_ms).saturating_add(1)
    }
}

/// Offsets of the wall clock that are worth reporting, in milliseconds.
pub const REPORTED_OFFSET_MS: u64 = 1_000;
/// Forward offsets from here on are jumped: after a suspension the slots in between are lost in any case.
const JUMP: Duration = Duration::from_secs(10);
/// Share of the elapsed time by which the clock is slewed: one tenth, so that intervals keep within 10 % of their length.
const SLEW_DIVISOR: u128 = 10;
/// The share for backward offsets of more than [`JUMP`], which can't be jumped: half, so that an hour is made up in two.
const STEEP_SLEW_DIVISOR: u128 = 2;

/// Wall time that is derived from a monotonic clock and slewed towards the wall clock. It never goes back and never stands
/// still, so a step of the wall clock can't repeat a slot.
#[derive(Debug, Clone)]
pub struct SteadyClock {
    mono: Duration,
    steady: Duration,
}

/// One reading of a [`SteadyClock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// How far the wall clock is ahead of `now_ms`, in milliseconds.
    pub offset_ms: i64,
    /// Milliseconds jumped forward by this reading, or 0.
    pub jumped_ms: u64,
}

impl Reading {
    /// Whether the clock is so far from the wall clock that an operator should know.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.offset_ms.unsigned_abs() > REPORTED_OFFSET_MS
    }
}

impl SteadyClock {
    /// A clock that starts at the wall clock. `mono` is a monotonic reading with any origin, `wall` the time since the epoch.
    #[must_use]
    pub fn new(mono: Duration, wall: Duration) -> Self {
        Self { mono, steady: wall }
    }

    /// Advances by the elapsed monotonic time, corrected towards `wall`.
    pub fn read(&mut self, mono: Duration, wall: Duration) -> Reading {
        let elapsed = mono.saturating_sub(self.mono);
        self.mono = self.mono.max(mono);
        self.steady += elapsed;
        let mut jumped = Duration::ZERO;
        if wall >= self.steady {
            let ahead = wall - self.steady;
            if ahead > JUMP {
                jumped = ahead;
            }
            self.steady += if ahead > JUMP { ahead } else { ahead.min(share(elapsed, SLEW_DIVISOR)) };
        } else {
            let behind = self.steady - wall;
            let divisor = if behind > JUMP { STEEP_SLEW_DIVISOR } else { SLEW_DIVISOR };
            self.steady -= behind.min(share(elapsed, divisor));
        }
        Reading { now_ms: millis(self.steady), offset_ms: signed_millis(wall) - signed_millis(self.steady), jumped_ms: millis(jumped) }
    }
}

/// A fraction of a duration, to the nanosecond.
fn share(elapsed: Duration, divisor: u128) -> Duration {
    Duration::from_nanos(u64::try_from(elapsed.as_nanos() / divisor).unwrap_or(u64::MAX))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn signed_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn phases_are_fixed_for_all_time() {
        // Computed with another implementation of xxh3: nodes of all versions and architectures must come to the same.
        assert_eq!(phase("prod", 1, 15_000), 11_100);
        assert_eq!(phase("prod", u64::MAX, 60_000), 13_200);
        assert_eq!(phase("", 1, 15_000), 5_600);
        assert_eq!(phase("prod", 1, 15), 3, "one by one where a hundredth is less than 1 ms");
        assert_eq!(phase("prod", 1, 0), 0, "an interval of 0 counts as 1 ms");
    }

    #[test]
    fn clusters_and_keys_have_phases_of_their_own() {
        let phases = |cluster: &str| (0..64).map(|key| phase(cluster, key, 60_000)).collect::<Vec<_>>();
        assert_ne!(phases("a"), phases("b"));
        let mut spread = phases("a");
        spread.sort_unstable();
        spread.dedup();
        assert!(spread.len() > 60, "64 keys fall on {} phases", spread.len());
    }

    proptest! {
        #[test]
        fn a_slot_begins_at_its_instant_and_ends_at_the_next(key: u64, interval in 1..10_000_000_u64, now in 10_000_000..4_000_000_000_000_u64) {
            let clock = SlotClock::new("prod", key, interval);
            let slot = clock.slot_at(now);
            prop_assert!(clock.instant(slot) <= now && now < clock.instant(slot + 1));
            prop_assert_eq!(clock.slot_at(clock.instant(slot)), slot);
            prop_assert_eq!(clock.next_after(now), slot + 1);
            prop_assert_eq!(clock.instant(slot + 1) - clock.instant(slot), interval);
            prop_assert!(clock.instant(0) < interval);
        }

        #[test]
        fn the_steady_clock_never_stands_nor_goes_back_whatever_the_wall_clock_does(
            steps in prop::collection::vec((1..5_000_u64, -40_000_000..40_000_000_i64), 1..200)
        ) {
            let (mut mono, mut wall) = (7_u64, 1_700_000_000_000_i64);
            let mut clock = SteadyClock::new(Duration::from_millis(mono), Duration::from_millis(wall.cast_unsigned()));
            let mut before = wall.cast_unsigned();
            for (elapsed, step) in steps {
                mono += elapsed;
                wall += elapsed.cast_signed() + if elapsed % 10 == 0 { step } else { 0 };
                let reading = clock.read(Duration::from_millis(mono), Duration::from_millis(wall.cast_unsigned()));
                prop_assert!(reading.now_ms >= before + elapsed / 2);
                before = reading.now_ms;
            }
        }
    }

    #[test]
    fn before_the_first_instant_the_next_slot_is_the_first() {
        let clock = (0..).map(|key| SlotClock::new("prod", key, 60_000)).find(|clock| clock.instant(0) > 0).unwrap();
        assert_eq!(clock.next_after(0), 0);
        assert_eq!(clock.next_after(clock.instant(0)), 1);
    }

    /// A clock that started a minute ago, in step with the wall clock.
    fn clock() -> (SteadyClock, Duration, Duration) {
        let (mono, wall) = (Duration::from_secs(60), Duration::from_secs(1_700_000_000));
        (SteadyClock::new(mono, wall), mono, wall)
    }

    #[test]
    fn a_step_back_slows_the_clock_by_a_tenth_and_is_reported() {
        let (mut clock, mono, wall) = clock();
        let second = Duration::from_secs(1);
        let stepped = wall - 3 * second;
        let reading = clock.read(mono + second, stepped + second);
        assert_eq!((reading.now_ms, reading.offset_ms, reading.jumped_ms), (1_700_000_000_900, -2_900, 0));
        assert!(reading.is_off());
        let later = clock.read(mono + 40 * second, stepped + 40 * second);
        assert_eq!((later.now_ms, later.offset_ms), (1_699_999_997_000 + 40_000, 0), "made up after thirty seconds");
        assert!(!later.is_off());
    }

    #[test]
    fn a_small_step_forward_is_slewed_and_a_large_one_jumped() {
        let second = Duration::from_secs(1);
        let (mut slewed, mono, wall) = clock();
        let reading = slewed.read(mono + second, wall + 6 * second);
        assert_eq!((reading.now_ms, reading.offset_ms, reading.jumped_ms), (1_700_000_001_100, 4_900, 0));
        let (mut jumped, mono, wall) = clock();
        let reading = jumped.read(mono + second, wall + 3_601 * second);
        assert_eq!((reading.now_ms, reading.offset_ms, reading.jumped_ms), (1_700_003_601_000, 0, 3_600_000));
    }

    #[test]
    fn many_short_readings_slew_as_much_as_one_long_one() {
        let (mut clock, mono, wall) = clock();
        let stepped = wall + Duration::from_secs(2);
        let mut last = 0;
        for micros in (0..10_000_000).step_by(300) {
            let elapsed = Duration::from_micros(micros);
            last = clock.read(mono + elapsed, stepped + elapsed).offset_ms;
        }
        assert_eq!(last, 1_000, "a tenth of ten seconds was made up");
    }

    #[test]
    fn a_monotonic_reading_that_goes_back_counts_as_no_time() {
        let (mut clock, mono, wall) = clock();
        assert_eq!(clock.read(mono - Duration::from_secs(9), wall).now_ms, 1_700_000_000_000);
        assert_eq!(clock.read(mono + Duration::from_secs(1), wall + Duration::from_secs(1)).now_ms, 1_700_000_001_000);
    }
}
