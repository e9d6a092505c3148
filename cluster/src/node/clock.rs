//! The two clocks of a node: one that never steps, for timeouts, and the steady wall clock, which slots follow. All components
//! of a node read the same one, so that a slot begins for its scrape loop when it begins for the ownership machine.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    ownership::Now,
    slots::{Reading, SteadyClock},
};

/// A node's clock; clones share it.
#[derive(Clone)]
pub struct Clock {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Instant,
    /// With virtual time: the wall time at the origin.
    fixed: Option<Duration>,
    steady: Mutex<SteadyClock>,
}

impl Clock {
    /// The system's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self::new(None)
    }

    /// A wall clock that starts at `start` (since the Unix epoch) and goes as tokio's time goes, for tests under paused time.
    #[must_use]
    pub fn virtual_from(start: Duration) -> Self {
        Self::new(Some(start))
    }

    fn new(fixed: Option<Duration>) -> Self {
        let wall = fixed.unwrap_or_else(wall);
        let steady = Mutex::new(SteadyClock::new(Duration::ZERO, wall));
        Self { shared: Arc::new(Shared { origin: Instant::now(), fixed, steady }) }
    }

    /// Both clocks now.
    #[must_use]
    pub fn now(&self) -> Now {
        self.read().0
    }

    /// Both clocks, and how far the wall clock is off.
    pub(crate) fn read(&self) -> (Now, Reading) {
        let mut steady = self.shared.steady.lock();
        // Within the lock, so that readings come in order.
        let mono = self.shared.origin.elapsed();
        let reading = steady.read(mono, self.shared.fixed.map_or_else(wall, |start| start + mono));
        (Now { mono_ms: millis(mono), wall_ms: reading.now_ms }, reading)
    }

    /// Milliseconds of the clock that never steps. Cheap: takes no lock.
    pub(crate) fn mono_ms(&self) -> u64 {
        millis(self.shared.origin.elapsed())
    }
}

fn wall() -> Duration {
    // Before 1970 there are no fleets; a clock that says so is taken as unset and reported by its offset once it is set.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_virtual_clock_goes_with_paused_time() {
        let clock = Clock::virtual_from(Duration::from_secs(1_700_000_000));
        tokio::time::advance(Duration::from_millis(1_234)).await;
        assert_eq!(clock.now(), Now { mono_ms: 1_234, wall_ms: 1_700_000_001_234 });
        assert_eq!(clock.mono_ms(), 1_234);
    }

    #[test]
    fn the_system_clock_starts_at_the_wall_clock() {
        let difference = Clock::system().now().wall_ms.abs_diff(millis(wall()));
        assert!(difference < 1_000, "{difference} ms off");
    }
}
