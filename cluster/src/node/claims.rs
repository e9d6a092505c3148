//! What a component sees of the cluster: it says which keys it has discovered and is told which of them to scrape, from which
//! slot on. Before each scrape it asks its [`Hold`] whether the slot may begin; the answer and a handover are decided under one
//! lock, so that no slot is begun by two nodes. Without clustering [`Claims::standalone`] owns every key.

mod inbox;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

pub(crate) use inbox::Inbox;

use super::{
    clock::Clock,
    driver::Command,
    hold::{Fence, Hold},
};
use crate::{
    ownership::{KeySpec, Name, StartReason, StopReason},
    slots::SlotClock,
};

/// What a component is to do about a key.
#[derive(Debug)]
pub enum ClaimEvent {
    /// Scrape it. If it is being scraped (its interval changed), replace the schedule and the hold.
    Start(StartEvent),
    /// Stop scraping it. Its hold begins no further slot.
    Stop(StopEvent),
}

/// The order to scrape a key.
pub struct StartEvent {
    /// The key.
    pub key: u64,
    /// The first slot to scrape; if its instant has passed, it is the current one: scrape at once.
    pub first_slot: u64,
    /// To be asked before each scrape.
    pub hold: Hold,
    /// How the key came here.
    pub reason: StartReason,
    /// What the previous holder's component handed over.
    pub state: Option<Bytes>,
}

impl std::fmt::Debug for StartEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartEvent")
            .field("key", &self.key)
            .field("first_slot", &self.first_slot)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// The order to stop scraping a key.
#[derive(Debug)]
pub struct StopEvent {
    /// The key.
    pub key: u64,
    /// Why.
    pub reason: Stopping,
    /// With [`Stopping::Handover`]: where to say what the next holder needs. The next holder waits for it, at most
    /// [`super::HANDOVER_TIMEOUT`].
    pub handover: Option<Handover>,
}

/// Why a key is to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopping {
    /// A peer takes it over; its series go on there, so nothing ends.
    Handover {
        /// The peer.
        to: Name,
    },
    /// It is no longer among the keys of the domain, and for a few seconds no other node has wanted it: its series end.
    Undiscovered,
    /// Another node holds it too, after a partition, and keeps it; its series go on there.
    Duplicate {
        /// The other node.
        holder: Name,
    },
    /// This node was late or has lost its name: others may hold the key by now. Its series may go on there.
    Fenced,
}

impl From<StopReason> for Stopping {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::Handover { to } => Self::Handover { to },
            StopReason::Undiscovered => Self::Undiscovered,
            StopReason::Duplicate { holder } => Self::Duplicate { holder },
        }
    }
}

/// What a component hands over with a key. Dropping it hands over nothing but the key.
#[derive(Debug)]
pub struct Handover {
    pub(crate) domain: Name,
    pub(crate) key: u64,
    pub(crate) number: u64,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) state: Option<Bytes>,
}

impl Handover {
    /// Hands over the key with what the next holder needs to continue (layouts, what is acknowledged), at most
    /// [`crate::ownership::MAX_STATE_BYTES`]. Call it once the last scrape that was begun is done, or at once if the next
    /// holder should not wait for it.
    pub fn with_state(mut self, state: Bytes) {
        self.state = Some(state);
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        let command = Command::Stopped { domain: self.domain.clone(), key: self.key, number: self.number, state: self.state.take() };
        // Without a node there is nobody to hand over to.
        drop(self.commands.send(command));
    }
}

/// Says what the keys of a domain that are held here weigh: work in a minute. Keys that were not measured yet are left out.
pub(crate) type Weigher = Arc<dyn Fn() -> Vec<(u64, u64)> + Send + Sync>;

/// What a domain's component and the node share.
#[derive(Default)]
pub(crate) struct Port {
    pub(crate) inbox: Inbox,
    weigher: Mutex<Option<Weigher>>,
    /// The latest keys, until the node takes them.
    keys: Mutex<Option<Vec<KeySpec>>>,
}

impl Port {
    /// The keys that were set since the last call, if any were.
    pub(crate) fn take_keys(&self) -> Option<Vec<KeySpec>> {
        self.keys.lock().take()
    }

    /// What the component has set to weigh its keys.
    pub(crate) fn weigher(&self) -> Option<Weigher> {
        self.weigher.lock().clone()
    }
}

/// A component's claims: the keys of one domain. Dropping it releases the domain, and its holds begin no further
/// slot from the moment that the node hears of it.
pub struct Claims {
    port: Arc<Port>,
    keys: KeySetter,
    clock: Clock,
    cluster: Arc<str>,
}

/// Sets the keys of a domain, apart from its events; clones set those of the same domain.
#[derive(Clone)]
pub struct KeySetter {
    to: Arc<Setter>,
}

enum Setter {
    Cluster { domain: Name, number: u64, port: Arc<Port>, commands: mpsc::UnboundedSender<Command> },
    Standalone(Mutex<Standalone>),
}

impl KeySetter {
    /// Says which keys the component has discovered: all of them, each time. Of specs with the same key the first counts. The holds of
    /// keys that are left out begin no slot from now on. What becomes of their series is told later: [`Stopping::Handover`] if another
    /// node still knows such a key and goes on with it, else [`Stopping::Undiscovered`].
    pub fn set_keys(&self, keys: Vec<KeySpec>) {
        match &*self.to {
            Setter::Cluster { domain, number, port, commands } => {
                let waiting = port.keys.lock().replace(keys).is_some();
                if !waiting {
                    // Without a node nobody claims.
                    drop(commands.send(Command::SetKeys { domain: domain.clone(), number: *number }));
                }
            }
            Setter::Standalone(standalone) => standalone.lock().set_keys(&keys),
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        match &*self.keys.to {
            Setter::Cluster { domain, number, commands, .. } => {
                drop(commands.send(Command::Release { domain: domain.clone(), number: *number }));
            }
            Setter::Standalone(standalone) => standalone.lock().close(),
        }
    }
}

impl Claims {
    pub(crate) fn of_cluster(domain: Name, number: u64, commands: mpsc::UnboundedSender<Command>, clock: Clock, cluster: Arc<str>) -> Self {
        let port = Arc::new(Port::default());
        let register = Command::Register { domain: domain.clone(), number, port: port.clone() };
        if commands.send(register).is_err() {
            port.inbox.close();
        }
        let keys = KeySetter { to: Arc::new(Setter::Cluster { domain, number, port: port.clone(), commands }) };
        Self { port, keys, clock, cluster }
    }

    /// Claims without a cluster: every key is held here from its next slot on. The cluster name is part of each key's phase,
    /// so that turning clustering on moves no scrape.
    #[must_use]
    pub fn standalone(cluster_name: &str) -> Self {
        Self::standalone_with(cluster_name, Clock::system())
    }

    /// The same with a given clock.
    #[must_use]
    pub fn standalone_with(cluster_name: &str, clock: Clock) -> Self {
        let port = Arc::new(Port::default());
        let cluster: Arc<str> = Arc::from(cluster_name);
        let standalone = Standalone {
            port: port.clone(),
            fence: Fence::open(clock.clone()),
            clock: clock.clone(),
            cluster: cluster.clone(),
            held: HashMap::new(),
        };
        let keys = KeySetter { to: Arc::new(Setter::Standalone(Mutex::new(standalone))) };
        Self { port, keys, clock, cluster }
    }

    /// See [`KeySetter::set_keys`].
    pub fn set_keys(&self, keys: Vec<KeySpec>) {
        self.keys.set_keys(keys);
    }

    /// Lets the fleet balance the keys by what they cost: `weigher` says what each key that is held here takes, as work in a
    /// minute, in units that are the same in all domains and on all nodes (samples, for scrapes). It leaves out what it has not
    /// measured yet. It is called every few seconds on a thread for blocking work. Without it keys count as equal to nothing, and
    /// the ring alone places them.
    pub fn weigh_with(&self, weigher: impl Fn() -> Vec<(u64, u64)> + Send + Sync + 'static) {
        *self.port.weigher.lock() = Some(Arc::new(weigher));
    }

    /// A handle that sets keys while another task waits for events.
    #[must_use]
    pub fn setter(&self) -> KeySetter {
        self.keys.clone()
    }

    /// The next thing to do; `None` once the node has shut down or another component has claimed the same domain.
    /// Cancel-safe.
    pub async fn next_event(&mut self) -> Option<ClaimEvent> {
        self.port.inbox.next().await
    }

    /// The clock that slots follow.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The slots of a key.
    #[must_use]
    pub fn slots(&self, spec: KeySpec) -> SlotClock {
        SlotClock::new(&self.cluster, spec.key, spec.interval_ms)
    }
}

/// Owns every key.
struct Standalone {
    port: Arc<Port>,
    fence: Fence,
    clock: Clock,
    cluster: Arc<str>,
    held: HashMap<u64, (u64, Hold)>,
}

impl Standalone {
    fn set_keys(&mut self, keys: &[KeySpec]) {
        let mut wanted = HashMap::with_capacity(keys.len());
        for spec in keys {
            wanted.entry(spec.key).or_insert(spec.interval_ms.max(1));
        }
        let gone: Vec<_> = self.held.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            if let Some((_, hold)) = self.held.remove(&key) {
                hold.close();
            }
            self.port.inbox.stop(StopEvent { key, reason: Stopping::Undiscovered, handover: None });
        }
        for spec in keys {
            if let Some(interval_ms) = wanted.remove(&spec.key) {
                self.want(spec.key, interval_ms);
            }
        }
    }

    fn want(&mut self, key: u64, interval_ms: u64) {
        let reason = match self.held.get(&key) {
            Some((held_ms, _)) if *held_ms == interval_ms => return,
            Some((_, hold)) => {
                hold.close();
                StartReason::Rescheduled
            }
            None => StartReason::Free { left: None },
        };
        let first_slot = SlotClock::new(&self.cluster, key, interval_ms).next_after(self.clock.now().wall_ms);
        let hold = Hold::new(self.fence.clone(), first_slot);
        self.held.insert(key, (interval_ms, hold.clone()));
        self.port.inbox.start(StartEvent { key, first_slot, hold, reason, state: None });
    }

    fn close(&mut self) {
        for (_, hold) in self.held.values() {
            hold.close();
        }
        self.port.inbox.close();
    }
}

#[cfg(test)]
mod tests;
