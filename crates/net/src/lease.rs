//! Something that is fetched, kept and renewed before it expires: a token, or keys that hold for an hour.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::StepError;

/// How soon after a failure it is tried again. Requests in between get the same error, or the old value while it holds, so that many
/// requests do not wait in a line for a server that is down.
const PAUSE: Duration = Duration::from_secs(1);

/// A value and how long it holds.
pub(crate) struct Lease<T> {
    pub(crate) value: T,
    /// When a new one should be fetched; `None` if it holds for ever.
    pub(crate) renew_at: Option<Instant>,
    /// Until when the value can be used if no new one can be had.
    pub(crate) expires_at: Option<Instant>,
}

impl<T> Lease<T> {
    /// A value that holds for `lifetime`, or for ever, and is renewed so long before.
    pub(crate) fn new(value: T, lifetime: Option<Duration>, early: Duration) -> Self {
        let at = |lifetime| Instant::now() + lifetime;
        Self { value, renew_at: lifetime.map(|all| at(all.saturating_sub(early))), expires_at: lifetime.map(at) }
    }
}

/// The keeper of a lease. Requests that need a new value wait for one fetch.
pub(crate) struct Leased<T>(Mutex<State<T>>);

struct State<T> {
    lease: Option<Lease<T>>,
    failed: Option<(Instant, StepError)>,
}

impl<T: Clone> Leased<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { lease: None, failed: None }))
    }

    /// The value, if `fits` finds nothing wrong with it; else what `fetch` gives.
    ///
    /// # Errors
    /// Those of `fetch`.
    pub(crate) async fn get<F>(&self, fits: impl Fn(&T) -> bool, fetch: impl FnOnce() -> F) -> Result<T, StepError>
    where
        F: Future<Output = Result<Lease<T>, StepError>>,
    {
        let mut state = self.0.lock().await;
        let holds = |until: &Option<Instant>| until.is_none_or(|until| Instant::now() < until);
        state.lease = state.lease.take().filter(|lease| holds(&lease.expires_at) && fits(&lease.value));
        if let Some(lease) = state.lease.as_ref().filter(|lease| holds(&lease.renew_at)) {
            return Ok(lease.value.clone());
        }
        let recent = state.failed.take().filter(|(at, _)| at.elapsed() < PAUSE);
        let fetched = match recent.clone() {
            Some((_, error)) => Err(error),
            None => fetch().await,
        };
        match fetched {
            Ok(lease) => {
                let value = lease.value.clone();
                state.lease = Some(lease);
                Ok(value)
            }
            Err(error) => {
                state.failed = recent.or_else(|| Some((Instant::now(), error.clone())));
                state.lease.as_ref().map(|lease| lease.value.clone()).ok_or(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::advance;

    use super::*;
    use crate::error::Step;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    /// Fetches numbers that hold for an hour, and fails while it is told to.
    struct Source {
        leased: Leased<u32>,
        fetched: Cell<u32>,
        fails: Cell<bool>,
    }

    impl Source {
        fn new() -> Self {
            Self { leased: Leased::new(), fetched: Cell::new(0), fails: Cell::new(false) }
        }

        async fn get(&self) -> Result<u32, String> {
            let fetch = || async {
                self.fetched.set(self.fetched.get() + 1);
                match self.fails.get() {
                    true => Err(StepError::new(Step::Credentials, "down")),
                    false => Ok(Lease::new(self.fetched.get(), Some(HOUR), MINUTE)),
                }
            };
            self.leased.get(|_| true, fetch).await.map_err(|error| error.cause)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_kept_until_shortly_before_it_expires() {
        let source = Source::new();
        assert_eq!(source.get().await, Ok(1));
        advance(HOUR - MINUTE - Duration::from_secs(1)).await;
        assert_eq!(source.get().await, Ok(1));
        advance(Duration::from_secs(1)).await;
        assert_eq!(source.get().await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn while_no_new_one_can_be_had_the_old_one_serves_as_long_as_it_holds() {
        let source = Source::new();
        assert_eq!(source.get().await, Ok(1));
        source.fails.set(true);
        advance(HOUR - MINUTE).await;
        assert_eq!((source.get().await, source.get().await), (Ok(1), Ok(1)));
        assert_eq!(source.fetched.get(), 2, "not tried again at once");
        advance(PAUSE).await;
        assert_eq!((source.get().await, source.fetched.get()), (Ok(1), 3));
        advance(MINUTE).await;
        assert_eq!(source.get().await, Err("down".to_owned()));
        source.fails.set(false);
        assert_eq!(source.get().await, Err("down".to_owned()), "for a moment it is not asked again");
        advance(PAUSE).await;
        assert_eq!(source.get().await, Ok(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_no_longer_fits_is_fetched_anew() {
        let leased = Leased::new();
        for (wanted, fetches) in [("a", true), ("a", false), ("b", true)] {
            let asked = Cell::new(false);
            let fetch = || async {
                asked.set(true);
                Ok(Lease::new(wanted, None, MINUTE))
            };
            let got = leased.get(|value| *value == wanted, fetch).await;
            assert_eq!((got.unwrap(), asked.get()), (wanted, fetches));
        }
    }
}
