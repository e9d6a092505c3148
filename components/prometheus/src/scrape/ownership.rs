//! Which targets this node scrapes, and when: the cluster's holds and slots as the engine asks for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster::{Claims, Clock, Cluster, Handover, Hold};
use model::ConsumeMetrics;
use parking_lot::{Mutex, RwLock};
use scrape::{Engine, Slots};

use super::Arguments;

/// This node's share of the targets.
pub(super) struct Share {
    cluster: Option<Cluster>,
    clock: Clock,
    holds: RwLock<HashMap<u64, Hold>>,
    /// Whether a target without a hold is somebody else's; else all targets are this node's.
    assigned: AtomicBool,
}

impl Share {
    /// No share yet.
    pub(super) fn new(cluster: Option<Cluster>) -> Self {
        let clock = cluster.as_ref().map_or_else(Clock::system, |cluster| cluster.clock().clone());
        Self { cluster, clock, holds: RwLock::default(), assigned: AtomicBool::new(false) }
    }

    /// Whether the targets are shared with other nodes: the block wants it and the process is in a fleet.
    pub(super) fn is_shared(&self, arguments: &Arguments) -> bool {
        arguments.clustering.as_ref().is_some_and(|clustering| clustering.enabled) && self.cluster.is_some()
    }

    /// The claims of a component; `None` outside a fleet.
    pub(super) fn claims(&self, id: &str) -> Option<Claims> {
        self.cluster.as_ref().map(|cluster| cluster.claims(id))
    }

    /// The fleet, if there is one.
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Says whether only targets with a hold are this node's.
    pub(super) fn set_assigned(&self, assigned: bool) {
        self.assigned.store(assigned, Ordering::Release);
    }

    /// Whether only targets with a hold are this node's.
    pub(super) fn is_assigned(&self) -> bool {
        self.assigned.load(Ordering::Acquire)
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

    /// Whether this node has any of the targets.
    pub(super) fn holds_any(&self) -> bool {
        !self.holds.read().is_empty()
    }
}

impl Slots for Share {
    fn phase_ms(&self, key: u64, interval_ms: u64) -> u64 {
        let name = self.cluster.as_ref().map_or("", |cluster| cluster.name());
        cluster::slots::phase(name, key, interval_ms)
    }

    fn begin(&self, key: u64, slot: u64) -> bool {
        match self.holds.read().get(&key) {
            // A key may stand for several targets.
            Some(hold) => hold.begin_shared(slot),
            // The engine may ask once more after a hold was lost, before it hears of it.
            None => !self.assigned.load(Ordering::Acquire),
        }
    }
}

impl scrape::Clock for Share {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now().wall_ms).unwrap_or(i64::MAX)
    }
}

/// What the held targets cost, by key. A target whose last scrape failed counts as before: it will be back.
pub(super) fn weigher(engine: Arc<Engine>) -> impl Fn() -> Vec<(u64, u64)> + Send + Sync + 'static {
    let before: Mutex<HashMap<u64, u64>> = Mutex::default();
    move || {
        let mut weights: HashMap<u64, u64> = HashMap::new();
        let mut before = before.lock();
        for target in engine.targets().iter() {
            let status = target.status();
            let known = || before.get(&target.key).copied();
            if let Some(work) = status.work_per_minute(target.interval).or_else(known).filter(|_| status.owned) {
                *weights.entry(target.key).or_default() += work;
            }
        }
        before.clone_from(&weights);
        weights.into_iter().collect()
    }
}

/// Gives a key's targets to the node that takes it: waits for the scrapes that are under way, sends their samples on, and tells which
/// series are alive, so that those that don't come again get their markers there.
///
/// The order is given at once, so that one that comes after it is done after it; the future is what waits.
pub(super) fn hand_over(engine: &Engine, sink: Arc<dyn ConsumeMetrics>, key: u64, handover: Handover) -> impl Future<Output = ()> + use<> {
    let releasing = engine.release(key, cluster::ownership::MAX_STATE_BYTES);
    async move {
        let released = releasing.await;
        sink.flush();
        match released.state {
            Some(state) => handover.with_state(state),
            None => drop(handover),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_without_a_hold_is_scraped_only_where_nothing_is_shared() {
        let share = Share::new(None);
        assert!(share.begin(1, 1));
        share.set_assigned(true);
        assert!(!share.begin(1, 2), "its hold was lost, or has not come yet");
    }
}
