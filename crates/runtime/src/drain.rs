//! Stops components from sources to sinks: whoever refers to others stops before them, so that what it still sends is taken. Everything
//! within one deadline.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use component::Stop;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout};

use crate::graph::Node;
use crate::live::Task;

/// How long an aborted run loop may take to notice: it does at its next wait.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Stops `nodes`; each is told as soon as all of them that refer to it have finished. Those that somebody refers to, of these nodes or
/// others, wait for `gate` as well. When four fifths of the time are over, all are told: they need some time to flush. At `until` those
/// that run on are aborted; their IDs are returned.
pub(crate) async fn drain(nodes: Vec<Arc<Node>>, reason: Stop, until: Instant, gate: impl Future<Output = ()>) -> Vec<String> {
    let last_call = until - until.saturating_duration_since(Instant::now()) / 5;
    let mut stops = Stops::new(nodes, reason);
    let mut waits = FuturesUnordered::new();
    let mut gate = pin!(gate);
    let (mut gated, mut called) = (true, false);
    loop {
        waits.extend(stops.tell());
        if stops.open.is_empty() {
            return Vec::new();
        }
        tokio::select! {
            () = &mut gate, if gated => {
                gated = false;
                stops.pass_gate();
            }
            Some(id) = waits.next() => stops.finished(&id),
            () = sleep_until(last_call), if !called => {
                called = true;
                stops.unblock();
            }
            () = sleep_until(until) => return stops.abort().await,
        }
    }
}

/// Aborts a run loop and waits until it is gone; false if it still is not.
pub(crate) async fn abort(task: Task) -> bool {
    task.abort();
    timeout(ABORT_GRACE, task.finished()).await.is_ok()
}

struct Stops {
    reason: Stop,
    /// Those that have not finished.
    open: BTreeMap<Arc<str>, Stopping>,
}

struct Stopping {
    node: Arc<Node>,
    /// How many have to finish before it is told, the gate included.
    blockers: usize,
    told: bool,
}

impl Stops {
    fn new(nodes: Vec<Arc<Node>>, reason: Stop) -> Self {
        let ids: HashSet<&Arc<str>> = nodes.iter().map(|node| &node.id).collect();
        let blockers = |node: &Node| {
            let among = node.dependants.iter().filter(|dependant| ids.contains(dependant)).count();
            among + usize::from(!node.dependants.is_empty())
        };
        let open = nodes.iter().map(|node| (node.id.clone(), Stopping { node: node.clone(), blockers: blockers(node), told: false }));
        Self { reason, open: open.collect() }
    }

    /// Tells whoever nobody blocks; each future ends when that one has finished.
    fn tell(&mut self) -> Vec<impl Future<Output = Arc<str>> + use<>> {
        let free = self.open.iter_mut().filter(|(_, stopping)| stopping.blockers == 0 && !stopping.told);
        let told = free.map(|(id, stopping)| {
            stopping.told = true;
            let (id, task) = (id.clone(), stopping.node.live.stop(self.reason));
            async move {
                if let Some(task) = task {
                    task.finished().await;
                }
                id
            }
        });
        told.collect()
    }

    fn finished(&mut self, id: &str) {
        let Some(stopped) = self.open.remove(id) else { return };
        for dependency in &stopped.node.dependencies {
            if let Some(next) = self.open.get_mut(&dependency.id) {
                next.blockers = next.blockers.saturating_sub(1);
            }
        }
    }

    fn pass_gate(&mut self) {
        for stopping in self.open.values_mut().filter(|stopping| !stopping.node.dependants.is_empty()) {
            stopping.blockers = stopping.blockers.saturating_sub(1);
        }
    }

    fn unblock(&mut self) {
        self.open.values_mut().for_each(|stopping| stopping.blockers = 0);
    }

    async fn abort(self) -> Vec<String> {
        let mut ids = Vec::new();
        for (id, stopping) in self.open {
            ids.push(id.to_string());
            if let Some(task) = stopping.node.live.task() {
                abort(task).await;
            }
        }
        ids
    }
}
