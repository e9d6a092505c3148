//! Time cut into slots: which slot of a key it is, when the next one begins, and a clock that never goes back. Pure
//! arithmetic: readings come in as arguments; timers and the scraping itself are the caller's.

use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

/// Offset in milliseconds of a key's slots within its interval: the same on every node, version and architecture.
#[must_use]
pub fn phase(cluster: &str, key: u64, interval_ms: u64) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(cluster.as_bytes());
    // A byte that UTF-8 never has, so that no name runs into a key.
    hash.update(&[0xff]);
    hash.update(&key.to_le_bytes());
    hash.digest() % interval_ms.max(1)
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
