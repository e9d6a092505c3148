//! How far the clocks of peers are from this node's: each ping says when it was sent, its answer says that again and what the
//! peer's clock showed, as in NTP. What is compared are the clocks that slots follow. Who is told, and when, is the node's part.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use crate::{membership::Identity, node::Clock, ownership::Name};

/// Measurements that are kept of each peer; the one whose answer came fastest counts. At a ping every two seconds this is a
/// quarter of a minute.
const KEPT: usize = 8;

/// Bytes of a reading: milliseconds since the epoch.
const READING: usize = 8;

/// By how much a peer's clock is ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skew {
    /// Milliseconds; negative if it is behind.
    pub(crate) ahead_ms: i64,
    /// By how many milliseconds that may be wrong: the answer may have spent all its time in one direction.
    pub(crate) within_ms: u64,
}

impl Skew {
    /// The least that the clocks differ by, in milliseconds.
    pub(crate) fn at_least_ms(self) -> u64 {
        self.ahead_ms.unsigned_abs().saturating_sub(self.within_ms)
    }
}

/// The measurements of all peers; clones share them.
#[derive(Clone)]
pub(crate) struct Skews {
    clock: Clock,
    measured: Arc<Mutex<HashMap<Name, VecDeque<Skew>>>>,
}

impl Skews {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, measured: Arc::default() }
    }

    /// What a ping carries.
    pub(crate) fn ping(&self) -> Bytes {
        Bytes::copy_from_slice(&self.clock.now().wall_ms.to_be_bytes())
    }

    /// What its answer carries. A peer that says nothing of its clock is told nothing.
    pub(crate) fn pong(&self, ping: &[u8]) -> Bytes {
        let Some(sent) = ping.first_chunk::<READING>() else { return Bytes::new() };
        let mut pong = BytesMut::with_capacity(2 * READING);
        pong.put_slice(sent);
        pong.put_u64(self.clock.now().wall_ms);
        pong.freeze()
    }

    /// Takes the answer of a peer.
    pub(crate) fn answered(&self, peer: &Identity, mut pong: Bytes) {
        if pong.len() < 2 * READING {
            return;
        }
        let (sent_ms, theirs_ms, now_ms) = (pong.get_u64(), pong.get_u64(), self.clock.now().wall_ms);
        let Some(trip_ms) = now_ms.checked_sub(sent_ms) else { return };
        let ours_ms = sent_ms + trip_ms / 2;
        let ahead_ms = i64::try_from(i128::from(theirs_ms) - i128::from(ours_ms)).unwrap_or(i64::MAX);
        let mut measured = self.measured.lock();
        let kept = measured.entry(peer.name.clone()).or_default();
        kept.truncate(KEPT - 1);
        kept.push_front(Skew { ahead_ms, within_ms: trip_ms.div_ceil(2) });
    }

    /// A peer's clock, as well as it is known.
    pub(crate) fn of(&self, peer: &str) -> Option<Skew> {
        self.measured.lock().get(peer)?.iter().min_by_key(|skew| skew.within_ms).copied()
    }

    /// Forgets all peers but those that `keep` names.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.measured.lock().retain(|peer, _| keep(peer));
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use super::*;

    fn peer() -> Identity {
        Identity { name: "b".into(), generation: 1, addr: SocketAddr::from(([10, 0, 0, 2], 1)) }
    }

    fn skews(ahead_ms: u64) -> Skews {
        Skews::new(Clock::virtual_from(Duration::from_secs(1_700_000_000) + Duration::from_millis(ahead_ms)))
    }

    async fn exchange(ours: &Skews, theirs: &Skews, there: u64, back: u64) {
        let ping = ours.ping();
        tokio::time::advance(Duration::from_millis(there)).await;
        let pong = theirs.pong(&ping);
        tokio::time::advance(Duration::from_millis(back)).await;
        ours.answered(&peer(), pong);
    }

    #[tokio::test(start_paused = true)]
    async fn the_fastest_answer_of_the_last_ones_counts() {
        let (ours, theirs) = (skews(0), skews(3_000));
        exchange(&ours, &theirs, 10, 10).await;
        assert_eq!(ours.of("b"), Some(Skew { ahead_ms: 3_000, within_ms: 10 }));
        exchange(&ours, &theirs, 900, 0).await;
        assert_eq!(ours.of("b"), Some(Skew { ahead_ms: 3_000, within_ms: 10 }), "a slow answer says less");
        for _ in 0..KEPT {
            exchange(&ours, &theirs, 400, 0).await;
        }
        assert_eq!(ours.of("b"), Some(Skew { ahead_ms: 3_200, within_ms: 200 }), "what is old counts no more");
        assert_eq!(ours.of("b").map(Skew::at_least_ms), Some(3_000));
        ours.retain(|peer| peer != "b");
        assert_eq!(ours.of("b"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_behind_shows_as_such() {
        let (ours, theirs) = (skews(5_000), skews(0));
        exchange(&ours, &theirs, 1, 1).await;
        assert_eq!(ours.of("b"), Some(Skew { ahead_ms: -5_000, within_ms: 1 }));
    }

    #[tokio::test(start_paused = true)]
    async fn what_makes_no_sense_measures_nothing_and_nothing_overflows() {
        let ours = skews(0);
        assert_eq!(ours.pong(b""), Bytes::new(), "an older peer sends an empty ping");
        ours.answered(&peer(), Bytes::new());
        ours.answered(&peer(), Bytes::from_static(&[0xff; 16]));
        assert_eq!(ours.of("b"), None, "sent in the future");
        ours.answered(&peer(), Bytes::from([[0; 8], [0xff; 8]].concat()));
        assert_eq!(ours.of("b").map(|skew| skew.ahead_ms), Some(i64::MAX));
    }
}
