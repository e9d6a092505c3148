//! Keeps what gossip remembers within bounds: this chitchat takes every process that a digest names and every value of those, and
//! computes with lengths that it does not check. A message that names more processes than there is room for is dropped; if values
//! pile up beyond any fleet's, the loop is to begin anew without them, and whoever brought them is not heard for a while.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chitchat::{Chitchat, ChitchatId, NodeState};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    gossip::{digest_bytes, has_room},
    intake::{self, Unfit},
};

/// Bytes of keys and values of all processes together: a multiple of what the largest fleet says.
const MAX_VALUES: usize = 4 * 1024 * 1024;

/// Values are counted again once messages may have brought so many bytes: counting takes a look at all of them.
const UNCOUNTED: usize = MAX_VALUES / 4;

/// How long a peer that broke the bound is not heard.
const MUTED: Duration = Duration::from_secs(600);

/// Peers whose offences are remembered: more than a fleet has.
const MAX_REMEMBERED: usize = 1024;

/// When each peer was last told to misbehave.
type Offences = Arc<Mutex<HashMap<SocketAddr, Instant>>>;

/// Watches one gossip loop.
#[derive(Clone, Default)]
pub(crate) struct Guard {
    watched: Arc<Watched>,
    muted: Offences,
    told: Offences,
}

#[derive(Default)]
struct Watched {
    chitchat: OnceLock<Arc<tokio::sync::Mutex<Chitchat>>>,
    overrun: AtomicBool,
    uncounted: Mutex<Uncounted>,
}

/// Bytes of values that messages may have brought since values were counted, by sender.
#[derive(Default)]
struct Uncounted {
    total: usize,
    by_sender: HashMap<SocketAddr, usize>,
}

impl Uncounted {
    fn add(&mut self, from: SocketAddr, bytes: usize) {
        self.total += bytes;
        if bytes > 0 {
            *self.by_sender.entry(from).or_default() += bytes;
        }
    }

    /// Who may have brought most.
    fn first(&self) -> Option<SocketAddr> {
        self.by_sender.iter().max_by_key(|(_, bytes)| **bytes).map(|(sender, _)| *sender)
    }
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    Drop,
    /// Take nothing more: the loop is to begin anew.
    Stop,
}

impl Guard {
    /// For another loop; who misbehaved stays known.
    pub(crate) fn renewed(&self) -> Self {
        Self { watched: Arc::default(), ..self.clone() }
    }

    /// From now on this is what is looked at.
    pub(crate) fn watch(&self, chitchat: Arc<tokio::sync::Mutex<Chitchat>>) {
        // Each guard watches one loop.
        drop(self.watched.chitchat.set(chitchat));
    }

    /// Whether the loop must begin anew.
    pub(crate) fn is_overrun(&self) -> bool {
        self.watched.overrun.load(Ordering::Relaxed)
    }

    /// Looks at a message before it is taken, and at what the one before has led to.
    pub(crate) async fn judge(&self, from: SocketAddr, message: &[u8]) -> Verdict {
        if recent(&self.muted, from) {
            return Verdict::Drop;
        }
        let Some(chitchat) = self.watched.chitchat.get() else { return Verdict::Take };
        let chitchat = chitchat.lock().await;
        let states = chitchat.node_states();
        let mut uncounted = self.watched.uncounted.lock();
        if uncounted.total >= UNCOUNTED {
            let before = std::mem::take(&mut *uncounted);
            if values(states) > MAX_VALUES {
                self.overrun(before.first());
                return Verdict::Stop;
            }
        }
        match fits(states, message) {
            Ok(true) => {
                // Whoever lets messages in has found out that it can be read.
                uncounted.add(from, intake::most_values(message).unwrap_or(UNCOUNTED));
                Verdict::Take
            }
            told => {
                if note(&self.told, from) {
                    tracing::warn!(address = %from, ?told, "gossip about more nodes than there is room for is dropped");
                }
                Verdict::Drop
            }
        }
    }

    fn overrun(&self, culprit: Option<SocketAddr>) {
        self.watched.overrun.store(true, Ordering::Relaxed);
        if let Some(culprit) = culprit {
            note(&self.muted, culprit);
            tracing::warn!(address = %culprit, "gossip grew beyond its bound: its sender is not heard for {} s", MUTED.as_secs());
        }
    }
}

/// Whether there is room for the processes that a message names and that are not known yet.
fn fits(states: &BTreeMap<ChitchatId, NodeState>, message: &[u8]) -> Result<bool, Unfit> {
    let named = intake::processes(message)?;
    let unknown = named.into_iter().filter(|(name, generation, addr)| {
        // Built for the comparison only: the map is keyed by all three.
        !states.contains_key(&ChitchatId::new(*name, *generation, *addr))
    });
    let known = states.keys().map(|id| &*id.node_id);
    let total = digest_bytes(known.chain(unknown.map(|(name, ..)| name)));
    Ok(has_room(total, ""))
}

fn values(states: &BTreeMap<ChitchatId, NodeState>) -> usize {
    let values = states.values().flat_map(NodeState::key_values_including_deleted);
    values.map(|(key, value)| key.len() + value.value.len()).sum()
}

fn recent(offences: &Offences, from: SocketAddr) -> bool {
    offences.lock().get(&from).is_some_and(|at| at.elapsed() < MUTED)
}

/// Notes an offence; whether it is the first for a while.
fn note(offences: &Offences, from: SocketAddr) -> bool {
    let mut offences = offences.lock();
    offences.retain(|_, at| at.elapsed() < MUTED);
    if offences.len() >= MAX_REMEMBERED {
        return false;
    }
    offences.insert(from, Instant::now()).is_none()
}
