//! Failures on demand: what a receiver answers instead of taking a request, and how late.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a failure lasts.
#[derive(Clone, Copy, Debug)]
pub enum Lasts {
    /// Until [`Faults::heal`].
    UntilHealed,
    /// This long from now on.
    For(Duration),
    /// For so many requests.
    Requests(u32),
}

/// An answer given instead of taking the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status, such as 503, 429 or 400.
    pub status: u16,
    /// What the `Retry-After` header says, in whole seconds; no header without it.
    pub retry_after: Option<Duration>,
}

/// The failures of one receiver, changed while it runs.
#[derive(Debug, Default)]
pub struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    failure: Option<(Failure, Left)>,
    delay: Duration,
}

#[derive(Debug)]
enum Left {
    Forever,
    Until(Instant),
    Requests(u32),
}

impl Faults {
    /// Answers requests with `failure` as long as `lasts` says; replaces an earlier failure.
    pub fn fail(&self, failure: Failure, lasts: Lasts) {
        let left = match lasts {
            Lasts::UntilHealed => Left::Forever,
            Lasts::For(duration) => Left::Until(Instant::now() + duration),
            Lasts::Requests(requests) => Left::Requests(requests),
        };
        self.inner.lock().failure = Some((failure, left));
    }

    /// Delays every answer; what a request brings is taken before the wait, as by a receiver whose answer gets lost.
    pub fn delay(&self, delay: Duration) {
        self.inner.lock().delay = delay;
    }

    /// Ends failure and delay.
    pub fn heal(&self) {
        *self.inner.lock() = Inner::default();
    }

    /// The delay in force.
    pub(crate) fn delay_now(&self) -> Duration {
        self.inner.lock().delay
    }

    /// The failure for the next request, if one is in force.
    pub(crate) fn next(&self) -> Option<Failure> {
        let mut inner = self.inner.lock();
        let (failure, left) = inner.failure.as_mut()?;
        let failure = *failure;
        let over = match left {
            Left::Forever => false,
            Left::Until(end) => Instant::now() >= *end,
            Left::Requests(0) => true,
            Left::Requests(requests) => {
                *requests -= 1;
                false
            }
        };
        if over {
            inner.failure = None;
            return None;
        }
        Some(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Failure = Failure { status: 503, retry_after: None };

    #[test]
    fn a_failure_lasts_for_its_requests() {
        let faults = Faults::default();
        faults.fail(BUSY, Lasts::Requests(2));
        assert_eq!([faults.next(), faults.next(), faults.next()], [Some(BUSY), Some(BUSY), None]);
    }

    #[test]
    fn a_failure_lasts_until_its_time_or_until_healed() {
        let faults = Faults::default();
        faults.fail(BUSY, Lasts::For(Duration::ZERO));
        assert_eq!(faults.next(), None);
        faults.fail(BUSY, Lasts::UntilHealed);
        faults.delay(Duration::from_secs(1));
        assert_eq!((faults.next(), faults.next()), (Some(BUSY), Some(BUSY)));
        faults.heal();
        assert_eq!((faults.next(), faults.delay_now()), (None, Duration::ZERO));
    }
}
