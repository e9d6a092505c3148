//! Which targets this node scrapes, and when: the cluster's holds and slots as the engine asks for them.

use std::collections::HashMap;
use std::sync::Arc;

use cluster::{Claims, Clock, Cluster, Handover, Hold};
use model::ConsumeMetrics;
use parking_lot::RwLock;
use scrape::{Engine, Slots};

use super::Arguments;

/// This node's share of the targets.
pub(super) struct Share {
    cluster: Option<Cluster>,
    clock: Clock,
    holds: RwLock<HashMap<u64, Hold>>,
}

impl Share {
    /// No share yet.
    pub(super) fn new(cluster: Option<Cluster>) -> Self {
        let clock = cluster.as_ref().map_or_else(Clock::system, |cluster| cluster.clock().clone());
        Self { cluster, clock, holds: RwLock::default() }
    }

    /// Whether the targets are shared with other nodes: the block wants it and the process is in a fleet.
    pub(super) fn is_shared(&self, arguments: &Arguments) -> bool {
        arguments.clustering.as_ref().is_some_and(|clustering| clustering.enabled) && self.cluster.is_some()
    }

    /// The claims of a component; `None` outside a fleet.
    pub(super) fn claims(&self, id: &str) -> Option<Claims> {
        self.cluster.as_ref().map(|cluster| cluster.claims(id))
    }

    pub(super) fn hold(&self, key: u64, hold: Hold) {
        self.holds.write().insert(key, hold);
    }

    pub(super) fn lose(&self, key: u64) {
        self.holds.write().remove(&key);
    }

    pub(super) fn lose_all(&self) {
        self.holds.write().clear();
    }
}

impl Slots for Share {
    fn phase_ms(&self, key: u64, interval_ms: u64) -> u64 {
        let name = self.cluster.as_ref().map_or("", |cluster| cluster.name());
        cluster::slots::phase(name, key, interval_ms)
    }

    fn begin(&self, key: u64, slot: u64) -> bool {
        match self.holds.read().get(&key) {
            Some(hold) => hold.begin(slot),
            // Without holds the engine asks only for targets that are not shared.
            None => true,
        }
    }
}

impl scrape::Clock for Share {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now().wall_ms).unwrap_or(i64::MAX)
    }
}

/// Gives a target to the node that takes it: waits for the scrape that is under way, sends its samples on, and tells which series are
/// alive, so that those that don't come again get their markers there.
pub(super) async fn hand_over(engine: Arc<Engine>, sink: Arc<dyn ConsumeMetrics>, key: u64, handover: Handover) {
    let released = engine.release(key, cluster::ownership::MAX_STATE_BYTES).await;
    sink.flush();
    match released.state {
        Some(state) => handover.with_state(state),
        None => drop(handover),
    }
}
