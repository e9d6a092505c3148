//! The streams that peers have open to this node, few of each: a process needs one, and a second while it has not noticed that
//! the first broke. A further one ends the oldest, so that no peer can hold more memory than that of two.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::membership::Identity;

/// Streams that one process may have open.
const MAX_PER_PEER: usize = 2;

type Ends = Vec<(u64, oneshot::Sender<()>)>;

/// All open streams; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Places {
    next: Arc<AtomicU64>,
    peers: Arc<Mutex<HashMap<Identity, Ends>>>,
}

/// One of them. Dropping it makes room.
pub(crate) struct Place {
    number: u64,
    peer: Identity,
    streams: Places,
    crowded_out: oneshot::Receiver<()>,
}

impl Places {
    /// A place for a stream of a peer; its oldest one loses its own if there are too many.
    pub(crate) fn enter(&self, peer: &Identity) -> Place {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (end, crowded_out) = oneshot::channel();
        let mut peers = self.peers.lock();
        let ends = peers.entry(peer.clone()).or_default();
        if ends.len() >= MAX_PER_PEER {
            ends.remove(0);
        }
        ends.push((number, end));
        Place { number, peer: peer.clone(), streams: self.clone(), crowded_out }
    }
}

impl Place {
    /// Ends when the place is lost to a later stream.
    pub(crate) async fn lost(&mut self) {
        // The sender is only ever dropped.
        drop((&mut self.crowded_out).await);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.streams.peers.lock();
        let Some(ends) = peers.get_mut(&self.peer) else { return };
        ends.retain(|(number, _)| *number != self.number);
        if ends.is_empty() {
            peers.remove(&self.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn peer(last: u8) -> Identity {
        Identity { name: "b".into(), generation: 1, addr: std::net::SocketAddr::from(([10, 0, 0, last], 1)) }
    }

    #[tokio::test]
    async fn a_stream_too_many_ends_the_oldest_of_its_peer_and_no_other() {
        let streams = Places::default();
        let mut other = streams.enter(&peer(2));
        let mut places: Vec<_> = (0..=MAX_PER_PEER).map(|_| streams.enter(&peer(1))).collect();
        let lost: Vec<_> = places.iter_mut().map(|place| place.lost().now_or_never().is_some()).collect();
        assert_eq!(lost, [true, false, false]);
        assert!(other.lost().now_or_never().is_none());
        drop((other, places));
        assert!(streams.peers.lock().is_empty());
    }
}
