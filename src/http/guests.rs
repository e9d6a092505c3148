//! Who may stay: connections that have not asked anything yet are few, and the oldest of them makes room for the next; those that have
//! asked hold a place until they close, and some places are kept for the fleet. So nobody who only connects, or says half of a handshake,
//! keeps others out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Connections that have not asked anything yet. Whoever is in earnest asks within milliseconds.
const MAX_NEW: usize = 1024;
/// Connections that have; a fleet of 150 needs 300, the rest is for people and their tools.
const MAX_PLACES: usize = 4096;
/// Places that only peers' streams may take when all others are taken.
const FOR_PEERS: usize = 1024;

/// Why a connection was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It said nothing in time.
    Silent,
    /// It had not asked anything, and newer ones needed its place.
    Displaced,
    /// All places are taken.
    Full,
    /// Its TLS handshake failed, or it spoke TLS where none is spoken.
    Tls,
}

impl Refusal {
    const ALL: [Self; 4] = [Self::Silent, Self::Displaced, Self::Full, Self::Tls];

    fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Displaced => "displaced",
            Self::Full => "full",
            Self::Tls => "tls",
        }
    }
}

/// All connections of the listener.
pub struct Guests {
    new: Mutex<New>,
    places: Arc<Semaphore>,
    for_peers: Arc<Semaphore>,
    refused: IntCounterVec,
}

#[derive(Default)]
struct New {
    next: u64,
    /// In the order in which they came.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// One connection, from its first byte to its end.
pub struct Guest {
    guests: Arc<Guests>,
    number: u64,
    leave: Arc<Notify>,
    /// Set with the first request: its place, unless there was none.
    place: OnceLock<Option<OwnedSemaphorePermit>>,
    displaced: AtomicBool,
}

impl Guests {
    /// Nobody is there yet.
    ///
    /// # Errors
    /// The metric's name is taken.
    pub fn new(registry: &Registry) -> Result<Arc<Self>, prometheus::Error> {
        let help =
            "Connections to the listener that were not served: silent, displaced by newer ones before they asked anything, full, tls.";
        let refused = IntCounterVec::new(Opts::new("collector_http_connections_refused_total", help), &["reason"])?;
        registry.register(Box::new(refused.clone()))?;
        Refusal::ALL.iter().for_each(|reason| drop(refused.with_label_values(&[reason.as_str()])));
        let (places, for_peers) = (Arc::new(Semaphore::new(MAX_PLACES)), Arc::new(Semaphore::new(FOR_PEERS)));
        Ok(Arc::new(Self { new: Mutex::default(), places, for_peers, refused }))
    }

    /// A connection has come; if there are too many that have not asked anything, the oldest of those goes.
    pub fn enter(self: &Arc<Self>) -> Guest {
        let leave = Arc::new(Notify::new());
        let mut new = self.new.lock();
        let number = new.next;
        new.next += 1;
        new.waiting.insert(number, leave.clone());
        if new.waiting.len() > MAX_NEW {
            new.displace();
        }
        Guest { guests: self.clone(), number, leave, place: OnceLock::new(), displaced: AtomicBool::new(false) }
    }

    /// The system has no room for another connection: the oldest that has not asked anything goes.
    pub fn displace(&self) {
        self.new.lock().displace();
    }

    /// Counts a connection that was not served.
    pub fn refused(&self, why: Refusal) {
        self.refused.with_label_values(&[why.as_str()]).inc();
    }
}

impl New {
    fn displace(&mut self) {
        if let Some((_, leave)) = self.waiting.pop_first() {
            leave.notify_one();
        }
    }
}

impl Guest {
    /// It asks something: whether there is a place for it, which it keeps from its first request on.
    pub fn asks(&self, is_peer: bool) -> bool {
        let place = self.place.get_or_init(|| {
            self.guests.new.lock().waiting.remove(&self.number);
            let place = self.guests.places.clone().try_acquire_owned().ok();
            let place = place.or_else(|| self.guests.for_peers.clone().try_acquire_owned().ok().filter(|_| is_peer));
            if place.is_none() {
                self.guests.refused(Refusal::Full);
                self.leave.notify_one();
            }
            place
        });
        place.is_some()
    }

    /// Whether it has a place, and may take its time to end.
    pub fn has_place(&self) -> bool {
        self.place.get().is_some_and(Option::is_some)
    }

    /// Whether it has asked anything.
    pub fn has_asked(&self) -> bool {
        self.place.get().is_some()
    }

    /// Waits until it has to go: newer ones need its place, or there was none for it.
    pub async fn told_to_leave(&self) {
        self.leave.notified().await;
        if !self.has_asked() && !self.displaced.swap(true, Ordering::Relaxed) {
            self.guests.refused(Refusal::Displaced);
        }
    }

    /// Ends if it has asked nothing for so long, as one in HTTP/2 may do for ever.
    pub async fn asks_nothing_for(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        if self.has_asked() {
            return std::future::pending().await;
        }
        self.guests.refused(Refusal::Silent);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.new.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn leaves(guest: &Guest) -> bool {
        guest.told_to_leave().now_or_never().is_some()
    }

    fn refused(guests: &Guests, why: Refusal) -> u64 {
        guests.refused.with_label_values(&[why.as_str()]).get()
    }

    #[test]
    fn the_oldest_that_has_asked_nothing_makes_room() {
        let guests = Guests::new(&Registry::new()).unwrap();
        let (known, silent) = (guests.enter(), guests.enter());
        assert!(known.asks(false));
        let crowd: Vec<_> = (1..MAX_NEW).map(|_| guests.enter()).collect();
        assert!(!leaves(&silent), "there is room for exactly so many");
        let _one_more = guests.enter();
        assert!(leaves(&silent) && !leaves(&known) && !leaves(&crowd[0]));
        assert_eq!(refused(&guests, Refusal::Displaced), 1);
        drop(crowd);
        assert_eq!(guests.new.lock().waiting.len(), 1, "who goes is forgotten");
    }

    #[test]
    fn peers_find_a_place_when_all_others_are_taken() {
        let guests = Guests::new(&Registry::new()).unwrap();
        let taken: Vec<_> = (0..MAX_PLACES).map(|_| guests.enter()).filter(|guest| guest.asks(false)).collect();
        assert_eq!(taken.len(), MAX_PLACES);
        let (person, peer) = (guests.enter(), guests.enter());
        assert!(!person.asks(false) && peer.asks(true));
        assert!(leaves(&person) && !leaves(&peer));
        assert_eq!(refused(&guests, Refusal::Full), 1);
        drop(taken);
        assert!(guests.enter().asks(false), "places become free");
    }
}
