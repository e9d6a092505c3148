//! Who may stay connected when everybody wants to: a bounded number of connections, of which a further one costs the one that has
//! been idle for longest, or else the one that has been taking its answer for longest. Streams between collectors are never the
//! price. So ten thousand connections that say nothing keep neither a peer nor a health check out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::Notify;

/// All places; clones share them.
#[derive(Clone)]
pub struct Places {
    inner: Arc<Inner>,
}

struct Inner {
    limit: usize,
    next: AtomicU64,
    taken: Mutex<Taken>,
    open: IntGauge,
    crowded_out: IntCounter,
}

#[derive(Default)]
struct Taken {
    count: usize,
    /// Connections that may be closed, the first ones first.
    waiting: BTreeMap<Rank, Arc<Notify>>,
}

/// The order in which connections are given up: idle ones before those that are being answered, each by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    busy: bool,
    since: u64,
}

/// The place of one connection.
pub struct Place {
    places: Places,
    close: Arc<Notify>,
    standing: Mutex<Standing>,
}

/// What a connection does.
#[derive(Default)]
struct Standing {
    rank: Option<Rank>,
    /// Its place belongs to another connection.
    given_up: bool,
    answers: usize,
    streams: usize,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An answer that ends.
    Answer,
    /// A stream between collectors.
    Stream,
}

impl Places {
    /// So many places.
    ///
    /// # Errors
    /// The registry has these metrics already.
    pub fn new(limit: usize, registry: &Registry) -> Result<Self, prometheus::Error> {
        let open = IntGauge::new("collector_server_connections", "Open connections to the collector's listener.")?;
        let crowded_out = IntCounter::new(
            "collector_server_connections_crowded_out_total",
            "Connections closed because there were too many: idle ones first, then those that took their answer for longest.",
        )?;
        registry.register(Box::new(open.clone()))?;
        registry.register(Box::new(crowded_out.clone()))?;
        Ok(Self { inner: Arc::new(Inner { limit, next: AtomicU64::new(0), taken: Mutex::default(), open, crowded_out }) })
    }

    /// A place for a new connection; another one may lose its own. `None` if all belong to streams.
    pub fn enter(&self) -> Option<Arc<Place>> {
        let mut taken = self.inner.taken.lock();
        if taken.count >= self.inner.limit {
            self.inner.crowded_out.inc();
            // Its place counts as free at once: it closes within an instant.
            let (_, close) = taken.waiting.pop_first()?;
            close.notify_one();
            taken.count -= 1;
        }
        taken.count += 1;
        drop(taken);
        self.inner.open.inc();
        let place = Place { places: self.clone(), close: Arc::default(), standing: Mutex::default() };
        place.stand(|_| {});
        Some(Arc::new(place))
    }
}

impl Place {
    /// Ends when the connection is to be closed for another one.
    pub async fn lost(&self) {
        self.close.notified().await;
    }

    /// A request has come. Until the guard is dropped the connection is not idle.
    pub fn answering(self: &Arc<Self>, purpose: Purpose) -> Answering {
        self.stand(|standing| match purpose {
            Purpose::Answer => standing.answers += 1,
            Purpose::Stream => standing.streams += 1,
        });
        Answering { place: self.clone(), purpose }
    }

    /// Changes what the connection does, and its rank with it.
    fn stand(&self, change: impl FnOnce(&mut Standing)) {
        let inner = &self.places.inner;
        let mut taken = inner.taken.lock();
        let mut standing = self.standing.lock();
        change(&mut standing);
        standing.leave_line(&mut taken);
        if !standing.given_up && standing.streams == 0 {
            let rank = Rank { busy: standing.answers > 0, since: inner.next.fetch_add(1, Ordering::Relaxed) };
            standing.rank = Some(rank);
            taken.waiting.insert(rank, self.close.clone());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let inner = &self.places.inner;
        inner.open.dec();
        let mut taken = inner.taken.lock();
        let standing = self.standing.get_mut();
        standing.leave_line(&mut taken);
        if !standing.given_up {
            taken.count -= 1;
        }
    }
}

impl Standing {
    /// Takes the connection out of the line of those that may be closed; if it is not there, it was chosen.
    fn leave_line(&mut self, taken: &mut Taken) {
        if let Some(rank) = self.rank.take() {
            self.given_up |= taken.waiting.remove(&rank).is_none();
        }
    }
}

/// A request under way.
pub struct Answering {
    place: Arc<Place>,
    purpose: Purpose,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.place.stand(|standing| match self.purpose {
            Purpose::Answer => standing.answers -= 1,
            Purpose::Stream => standing.streams -= 1,
        });
    }
}

/// A body that holds its connection's standing until it has been taken.
pub struct Held {
    body: Body,
    _answering: Answering,
}

impl Held {
    /// `body`, with what lasts as long.
    pub fn new(body: Body, answering: Answering) -> Self {
        Self { body, _answering: answering }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn places(limit: usize) -> Places {
        Places::new(limit, &Registry::new()).unwrap()
    }

    fn lost(places: &[Arc<Place>]) -> Vec<usize> {
        (0..places.len()).filter(|index| places[*index].lost().now_or_never().is_some()).collect()
    }

    #[test]
    fn a_connection_too_many_costs_the_one_that_was_idle_for_longest() {
        let all = places(3);
        let three: Vec<_> = (0..3).map(|_| all.enter().unwrap()).collect();
        drop(three[0].answering(Purpose::Answer));
        let _fourth = all.enter().unwrap();
        assert_eq!(lost(&three), [1], "the first was used last");
        assert_eq!((all.inner.open.get(), all.inner.crowded_out.get()), (4, 1), "it is still there until it closes");
    }

    #[test]
    fn idle_ones_go_before_those_being_answered_and_streams_never() {
        let all = places(3);
        let three: Vec<_> = (0..3).map(|_| all.enter().unwrap()).collect();
        let stream = three[0].answering(Purpose::Stream);
        let _answer = three[1].answering(Purpose::Answer);
        let more: Vec<_> = (0..2).map(|_| all.enter().unwrap()).collect();
        let streams: Vec<_> = more.iter().map(|place| place.answering(Purpose::Stream)).collect();
        assert_eq!(lost(&three), [1, 2]);
        assert!(all.enter().is_none(), "three streams");
        drop(stream);
        assert!(all.enter().is_some());
        assert_eq!(lost(&three), [0], "a stream that has ended is a connection like any other");
        drop((streams, more));
    }

    #[test]
    fn whoever_goes_makes_room_once() {
        let all = places(2);
        let (first, second) = (all.enter().unwrap(), all.enter().unwrap());
        let third = all.enter().unwrap();
        drop(first.answering(Purpose::Answer));
        drop(first);
        assert_eq!(all.inner.taken.lock().count, 2);
        drop((second, third));
        assert_eq!((all.inner.taken.lock().count, all.inner.open.get()), (0, 0));
    }
}
