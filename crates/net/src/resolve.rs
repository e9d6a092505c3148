//! Looks up host names, and remembers the answers for a few seconds, so that many connections to one host ask once. The system's resolver
//! answers (`getaddrinfo`), as what it reads (hosts file, search domains, `nsswitch.conf`) is what the machine's owner configured; it tells
//! no time to live, so the time is short.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::Instant;

/// How long addresses are kept: shorter than the usual time to live, long enough for the connections of one scrape interval or one burst.
const KEPT: Duration = Duration::from_secs(5);
/// How long it is kept that a name has none: a name may come into being at any moment.
const FAILURE_KEPT: Duration = Duration::from_secs(1);
/// How many names are kept; more are looked up each time.
const MAX_NAMES: usize = 4096;
/// How many look-ups run at a time. Each takes a thread, of which tokio has 512 for everything that blocks.
const MAX_LOOKUPS: usize = 256;

type Lookup = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

/// What a look-up gave: addresses in the order in which they should be tried, or what went wrong.
pub(crate) type Answer = Result<Arc<[IpAddr]>, Arc<str>>;

/// A resolver with its memory.
pub(crate) struct Resolver {
    lookup: Box<Lookup>,
    lookups: Semaphore,
    known: Mutex<HashMap<Box<str>, Arc<Slot>>>,
}

/// The answer for one name and until when it holds. Whoever asks first looks up, the others wait for it.
type Slot = AsyncMutex<Option<(Instant, Answer)>>;

impl Resolver {
    /// The one of all clients of this process.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Resolver>> = OnceLock::new();
        SHARED.get_or_init(|| Arc::new(Self::new(system))).clone()
    }

    /// One that asks `lookup` instead of the system.
    pub(crate) fn new(lookup: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static) -> Self {
        Self { lookup: Box::new(lookup), lookups: Semaphore::new(MAX_LOOKUPS), known: Mutex::default() }
    }

    /// The addresses of `host`, at least one. An address is its own.
    ///
    /// # Errors
    /// What the system says; there are no addresses.
    pub(crate) async fn resolve(&self, host: &str) -> Answer {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::new([address]));
        }
        let Some(slot) = self.slot(host) else { return self.ask(host).await };
        let mut slot = slot.lock().await;
        if let Some((_, answer)) = slot.as_ref().filter(|(until, _)| Instant::now() < *until) {
            return answer.clone();
        }
        let answer = self.ask(host).await;
        let kept = if answer.is_ok() { KEPT } else { FAILURE_KEPT };
        *slot = Some((Instant::now() + kept, answer.clone()));
        answer
    }

    /// Forgets a name whose addresses did not answer: it may have moved.
    pub(crate) fn forget(&self, host: &str) {
        self.known.lock().remove(host);
    }

    /// The place for a name; none if too many are known.
    fn slot(&self, host: &str) -> Option<Arc<Slot>> {
        let mut known = self.known.lock();
        if let Some(slot) = known.get(host) {
            return Some(slot.clone());
        }
        if known.len() >= MAX_NAMES {
            let now = Instant::now();
            // One that is locked is being looked up.
            known.retain(|_, slot| slot.try_lock().map_or(true, |slot| slot.as_ref().is_some_and(|(until, _)| now < *until)));
        }
        if known.len() >= MAX_NAMES {
            return None;
        }
        Some(known.entry(host.into()).or_default().clone())
    }

    async fn ask(&self, host: &str) -> Answer {
        // Never closed; if it were, asking is still right.
        let _permit = self.lookups.acquire().await;
        match (self.lookup)(host.to_owned()).await {
            Ok(addresses) if addresses.is_empty() => Err("it has no address".into()),
            Ok(addresses) => Ok(addresses.into()),
            Err(error) => Err(error.to_string().into()),
        }
    }
}

fn system(host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
    // The port is of no account here.
    Box::pin(async move { tokio::net::lookup_host((host, 0)).await.map(|found| found.map(|address| address.ip()).collect()) })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::advance;

    use super::*;

    /// A resolver that knows names with a dot, and how often it was asked. An answer takes 10 ms.
    fn model() -> (Arc<Resolver>, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let resolver = Resolver::new(move |host| {
            let number = count.fetch_add(1, Ordering::SeqCst) as u8;
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if host.contains('.') { Ok(vec![[10, 0, 0, number].into()]) } else { Err(io::Error::other("no such name")) }
            })
        });
        (Arc::new(resolver), asked)
    }

    fn address(number: u8) -> Answer {
        Ok(Arc::new([[10, 0, 0, number].into()]))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_a_few_seconds_and_a_failure_for_one() {
        let (resolver, asked) = model();
        for (seconds, number) in [(0, 0), (4, 0), (2, 1)] {
            advance(Duration::from_secs(seconds)).await;
            assert_eq!(resolver.resolve("a.example").await, address(number));
        }
        assert_eq!(resolver.resolve("nowhere").await, Err("no such name".into()));
        assert_eq!(resolver.resolve("nowhere").await, Err("no such name".into()));
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        advance(FAILURE_KEPT).await;
        assert!(resolver.resolve("nowhere").await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn many_ask_once_and_one_that_gives_up_harms_nobody() {
        let (resolver, asked) = model();
        let answers = futures_util::future::join_all((0..50).map(|_| resolver.resolve("a.example"))).await;
        assert!(answers.iter().all(|answer| *answer == address(0)));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let gone = tokio::time::timeout(Duration::from_millis(1), resolver.resolve("b.example")).await;
        assert!(gone.is_err());
        assert_eq!(resolver.resolve("b.example").await, address(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_did_not_answer_is_asked_for_again() {
        let (resolver, _) = model();
        assert_eq!(resolver.resolve("a.example").await, address(0));
        resolver.forget("a.example");
        assert_eq!(resolver.resolve("a.example").await, address(1));
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_need_no_look_up() {
        let (resolver, asked) = model();
        for address in ["::1", "10.9.9.9"] {
            assert_eq!(resolver.resolve(address).await.unwrap()[..], [address.parse::<IpAddr>().unwrap()]);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded_and_old_names_make_room() {
        let (resolver, asked) = model();
        let names: Vec<String> = (0..MAX_NAMES).map(|number| format!("{number}.example")).collect();
        futures_util::future::join_all(names.iter().map(|name| resolver.resolve(name))).await;
        for _ in 0..2 {
            assert!(resolver.resolve("one.more").await.is_ok());
        }
        assert_eq!((resolver.known.lock().len(), asked.load(Ordering::SeqCst)), (MAX_NAMES, MAX_NAMES + 2));
        advance(KEPT).await;
        assert!(resolver.resolve("one.more").await.is_ok());
        assert_eq!(resolver.known.lock().len(), 1);
    }

    #[tokio::test]
    async fn the_system_is_asked() {
        assert!(Resolver::shared().resolve("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
        assert!(Resolver::shared().resolve("no-such-host.invalid").await.is_err());
    }
}
