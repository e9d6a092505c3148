//! The streams that this node keeps to its peers: one per live member, opened a few at a time and again whenever it breaks, and a
//! try every two seconds for members that were lost. What arrives over them is not handled here.

use std::{collections::HashMap, net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::requests::Pending;
use crate::{
    membership::{Identity, gossip::Routes},
    ownership::Name,
    transport::{
        Connector, Events, Local,
        frame::Kind,
        link::{Dial, Link},
        outbox::{Outbox, Pushed},
    },
};

/// Pause between tries for a member that was lost.
const LOST_PAUSE: Duration = Duration::from_secs(2);

/// Longest pause between tries for a live member; the first try follows at once.
const LIVE_PAUSE: Duration = Duration::from_secs(1);

/// The pause after the second failure in a row, doubled from there on.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Streams to live members that may be in the opening at once. A fleet that starts opens N² of them, and short of CPU all would time out
/// together, again and again: so a node begins with few, adds one for each that opens and halves for each that times out.
const OPENING: RangeInclusive<usize> = 4..=32;

/// Open streams by member name, for questions from other tasks.
pub(crate) type Directory = Arc<Mutex<HashMap<Name, (u64, Outbox)>>>;

/// A member to be kept in touch with.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) identity: Identity,
    pub(crate) lost: bool,
}

struct Slot {
    /// Whom the stream is for, or was found to be with.
    identity: Identity,
    link: Option<Link>,
    up: bool,
    lost: bool,
    retry_at: Instant,
    failures: u32,
}

impl Slot {
    fn is_opening(&self) -> bool {
        self.link.is_some() && !self.up && !self.lost
    }
}

/// All streams of this node to its peers.
pub(crate) struct Links {
    slots: HashMap<SocketAddr, Slot>,
    connector: Arc<dyn Connector>,
    local: Local,
    events: Events,
    pending: Pending,
    closing: watch::Receiver<bool>,
    routes: Routes,
    directory: Directory,
    next_session: u64,
    /// How many streams to live members may be in the opening.
    opening: usize,
}

impl Links {
    pub(crate) fn new(
        connector: Arc<dyn Connector>,
        local: Local,
        events: Events,
        pending: Pending,
        closing: watch::Receiver<bool>,
        routes: Routes,
        directory: Directory,
    ) -> Self {
        let (slots, opening) = (HashMap::new(), *OPENING.start());
        Self { slots, connector, local, events, pending, closing, routes, directory, next_session: 0, opening }
    }

    /// Opens what is missing and due, and ends what is not wanted. Of those that claim one address the first is dialled: who
    /// answers there will show.
    pub(crate) fn reconcile(&mut self, wanted: &[Wanted], now: Instant) {
        let mut by_addr = HashMap::with_capacity(wanted.len());
        for wanted in wanted {
            by_addr.entry(wanted.identity.addr).or_insert(wanted);
        }
        let gone: Vec<_> = self.slots.keys().filter(|addr| !by_addr.contains_key(addr)).copied().collect();
        for addr in gone {
            self.close(addr);
        }
        let mut room = self.opening.saturating_sub(self.slots.values().filter(|slot| slot.is_opening()).count());
        // A map's order is another one on each node, so that not all dial the same member first.
        for wanted in by_addr.into_values() {
            self.keep(wanted, &mut room, now);
        }
    }

    fn keep(&mut self, wanted: &Wanted, room: &mut usize, now: Instant) {
        let addr = wanted.identity.addr;
        if self.slots.get(&addr).is_some_and(|slot| slot.identity != wanted.identity) {
            // Another process at the same address: its stream is a new one.
            self.close(addr);
        }
        let slot = self.slots.entry(addr).or_insert_with(|| Slot {
            identity: wanted.identity.clone(),
            link: None,
            up: false,
            lost: wanted.lost,
            retry_at: now,
            failures: 0,
        });
        if wanted.lost && slot.link.is_none() {
            slot.failures = u32::MAX;
        } else if slot.failures == u32::MAX && !wanted.lost {
            // It is alive again: no reason to wait.
            (slot.failures, slot.retry_at) = (0, now);
        }
        slot.lost = wanted.lost;
        // Lost members may be many and take long to give no answer: they wait for nobody, and nobody for them.
        if slot.link.is_none() && slot.retry_at <= now && (wanted.lost || *room > 0) {
            *room -= usize::from(!wanted.lost);
            self.next_session += 1;
            slot.link = Some(Link::start(Dial {
                connector: self.connector.clone(),
                local: self.local.clone(),
                addr,
                session: self.next_session,
                events: self.events.clone(),
                pending: self.pending.clone(),
                closing: self.closing.clone(),
            }));
        }
    }

    /// A stream was opened; whom it was meant for, unless it is not wanted any more.
    pub(crate) fn up(&mut self, addr: SocketAddr, session: u64, found: &Identity) -> Option<Identity> {
        let slot = self.slots.get_mut(&addr)?;
        let link = slot.link.as_ref().filter(|link| link.session == session)?;
        let outbox = link.outbox.clone();
        (slot.up, slot.failures) = (true, 0);
        self.opening = (self.opening + 1).min(*OPENING.end());
        let meant = std::mem::replace(&mut slot.identity, found.clone());
        self.routes.lock().insert(addr, outbox.clone());
        self.directory.lock().insert(found.name.clone(), (session, outbox));
        Some(meant)
    }

    /// A stream ended or did not come about: whom it was with, and whether it had been open. Then the next try follows at once.
    pub(crate) fn down(&mut self, addr: SocketAddr, session: u64, timed_out: bool, now: Instant) -> Option<(Identity, bool)> {
        let slot = self.slots.get_mut(&addr)?;
        slot.link.as_ref().filter(|link| link.session == session)?;
        if timed_out && slot.is_opening() {
            self.opening = (self.opening / 2).max(*OPENING.start());
        }
        let pause = match slot.failures {
            u32::MAX => LOST_PAUSE,
            0 => Duration::ZERO,
            failures => FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(8)).min(LIVE_PAUSE),
        };
        slot.failures = slot.failures.saturating_add(1);
        slot.retry_at = now + pause;
        let (identity, was_up) = (slot.identity.clone(), slot.up);
        self.forget(addr);
        Some((identity, was_up))
    }

    fn close(&mut self, addr: SocketAddr) {
        self.forget(addr);
        self.slots.remove(&addr);
    }

    fn forget(&mut self, addr: SocketAddr) {
        let Some(slot) = self.slots.get_mut(&addr) else { return };
        slot.up = false;
        let Some(link) = slot.link.take() else { return };
        self.pending.fail(link.session, &slot.identity.name);
        self.routes.lock().remove(&addr);
        let mut directory = self.directory.lock();
        if directory.get(&slot.identity.name).is_some_and(|(session, _)| *session == link.session) {
            directory.remove(&slot.identity.name);
        }
    }

    /// Sends to one member, if there is a stream to it: whether it was queued.
    pub(crate) fn send(&self, name: &str, kind: Kind, payload: Bytes) -> bool {
        let outbox = self.directory.lock().get(name).map(|(_, outbox)| outbox.clone());
        outbox.is_some_and(|outbox| matches!(outbox.push(kind, payload), Pushed::Queued))
    }

    /// Sends to all members with an open stream.
    pub(crate) fn broadcast(&self, kind: Kind, payload: &Bytes) {
        for (_, outbox) in self.directory.lock().values() {
            outbox.push(kind, payload.clone());
        }
    }

    /// Whether a stream is to be opened again.
    pub(crate) fn has_due(&self, now: Instant) -> bool {
        self.slots.values().any(|slot| slot.link.is_none() && slot.retry_at <= now)
    }

    /// Whether there is an open stream to `addr`.
    pub(crate) fn reaches(&self, addr: SocketAddr) -> bool {
        self.slots.get(&addr).is_some_and(|slot| slot.up)
    }

    /// Whether the stream to a member is open.
    pub(crate) fn is_open(&self, name: &str) -> bool {
        self.directory.lock().contains_key(name)
    }

    /// Streams that are open.
    pub(crate) fn open(&self) -> usize {
        self.slots.values().filter(|slot| slot.up).count()
    }
}
