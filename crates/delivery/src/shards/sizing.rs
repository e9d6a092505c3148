//! How many shards an endpoint should have. The idea is Prometheus': samples that come per second, times the seconds that one sample takes
//! to send, is how many must be sent at the same time; what waits already adds to it. Pure.

use std::time::Duration;

/// How often the number is looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);
/// Weight of the newest look in the averages; Prometheus' value.
const WEIGHT: f64 = 0.2;
/// What waits is to be gone in about this time.
const CATCH_UP: Duration = Duration::from_secs(60);
/// The number changes only if it is off by more than this part, as a change interrupts sending.
const TOLERANCE: f64 = 0.3;

/// What happened since the last look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    /// Samples that came in.
    pub came: f64,
    /// Samples that were done with: sent or dropped.
    pub went: f64,
    /// Time that all shards together spent on that.
    pub busy: Duration,
    /// Samples that wait for longer than it takes to fill a request.
    pub backlog: f64,
    /// Whether requests failed: their time says nothing then.
    pub failed: bool,
}

/// Averages over the last looks.
#[derive(Debug)]
pub(crate) struct Sizing {
    min: usize,
    max: usize,
    came: Average,
    went: Average,
    busy: Average,
}

#[derive(Debug, Default)]
struct Average(Option<f64>);

impl Average {
    fn update(&mut self, value: f64) -> f64 {
        let next = self.0.map_or(value, |old| old + WEIGHT * (value - old));
        self.0 = Some(next);
        next
    }
}

/// The outcome of a look.
#[derive(Debug, PartialEq)]
pub(crate) struct Advice {
    /// What the rates ask for, between least and most.
    pub desired: usize,
    /// What to change to; none if the present number will do.
    pub change: Option<usize>,
}

impl Sizing {
    /// Never fewer than `min`, never more than `max`.
    pub fn new(min: usize, max: usize) -> Self {
        Self { min, max, came: Average::default(), went: Average::default(), busy: Average::default() }
    }

    /// What to do with `now` shards after [`INTERVAL`].
    pub fn look(&mut self, now: usize, seen: Observed) -> Advice {
        let came = self.came.update(seen.came);
        if seen.failed || seen.went == 0.0 {
            return Advice { desired: now, change: None };
        }
        let (went, busy) = (self.went.update(seen.went), self.busy.update(seen.busy.as_secs_f64()));
        let seconds_per_sample = busy / went;
        let rate = came / INTERVAL.as_secs_f64() + seen.backlog / CATCH_UP.as_secs_f64();
        let wanted = rate * seconds_per_sample;
        let desired = (wanted.ceil() as usize).clamp(self.min, self.max);
        let near = (wanted - now as f64).abs() <= TOLERANCE * now as f64;
        Advice { desired, change: (desired != now && !near).then_some(desired) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(came: f64, went: f64, busy_seconds: u64, backlog: f64) -> Observed {
        Observed { came, went, busy: Duration::from_secs(busy_seconds), backlog, failed: false }
    }

    #[test]
    fn a_shard_that_keeps_up_stays_alone() {
        let mut sizing = Sizing::new(1, 50);
        for _ in 0..100 {
            assert_eq!(sizing.look(1, seen(10_000.0, 10_000.0, 9, 0.0)), Advice { desired: 1, change: None });
        }
    }

    #[test]
    fn more_coming_than_one_can_send_asks_for_as_many_as_it_takes() {
        // A shard sends 1 000 a second; 5 000 come.
        let advice = Sizing::new(1, 50).look(1, seen(50_000.0, 10_000.0, 10, 0.0));
        assert_eq!(advice, Advice { desired: 5, change: Some(5) });
    }

    #[test]
    fn what_waits_adds_to_what_comes() {
        // 900 a second come, 1 000 can go, and two minutes' worth of sending waits.
        let advice = Sizing::new(1, 50).look(1, seen(9000.0, 10_000.0, 10, 120_000.0));
        assert_eq!(advice, Advice { desired: 3, change: Some(3) });
    }

    #[test]
    fn the_number_stays_within_its_bounds() {
        assert_eq!(Sizing::new(1, 8).look(1, seen(1e9, 1000.0, 10, 1e9)).change, Some(8));
        assert_eq!(Sizing::new(3, 8).look(8, seen(10.0, 10.0, 0, 0.0)).change, Some(3));
    }

    #[test]
    fn small_differences_and_failures_change_nothing() {
        assert_eq!(Sizing::new(1, 50).look(10, seen(122_000.0, 100_000.0, 100, 0.0)), Advice { desired: 13, change: None });
        let failed = Observed { failed: true, ..seen(1e6, 100.0, 10, 1e6) };
        assert_eq!(Sizing::new(1, 50).look(2, failed), Advice { desired: 2, change: None });
        assert_eq!(Sizing::new(1, 50).look(2, seen(1e6, 0.0, 0, 0.0)).change, None);
    }
}
