//! Changed exports travel through the graph: whoever refers to them is evaluated again, and what that changes goes on from there.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use syntax::Warnings;
use tokio::task::{Id, JoinError, JoinSet};

use super::Engine;
use crate::evaluate::{Evaluated, Occasion};

/// Evaluations that run at once at most: more than one, so that slow ones don't hold up the rest, but not so many that they take the
/// processors from the data path.
const PARALLEL: usize = 4;

/// Evaluations that are due and those that run. Positions are those of the evaluation order.
#[derive(Default)]
pub(super) struct Waves {
    /// Nodes that are due, and since when. At most one entry per node, however often it becomes due.
    due: BTreeMap<usize, Instant>,
    /// One per node at most: evaluations of one node must not overtake each other.
    running: HashMap<Id, usize>,
    jobs: JoinSet<Evaluated>,
}

/// An evaluation that ended.
pub(super) type Done = Result<(Id, Evaluated), JoinError>;

impl Waves {
    /// The next evaluation that ends; none if none runs.
    pub async fn next(&mut self) -> Option<Done> {
        self.jobs.join_next_with_id().await
    }

    /// Forgets what is due: everything was evaluated.
    pub fn clear(&mut self) {
        self.due.clear();
    }

    /// Takes what can be evaluated now: what has been due longest, so that nobody starves.
    fn start(&mut self) -> Option<(usize, Instant)> {
        if self.running.len() >= PARALLEL {
            return None;
        }
        let free = self.due.iter().filter(|(position, _)| !self.running.values().any(|running| running == *position));
        let (since, position) = free.map(|(position, since)| (*since, *position)).min()?;
        self.due.remove(&position);
        Some((position, since))
    }
}

impl Engine {
    /// Notes whom changed exports concern.
    pub(super) fn take_changes(&mut self) {
        for id in self.evaluator.changes.take() {
            self.exports_changed(&id);
        }
    }

    fn exports_changed(&mut self, id: &str) {
        let Some(node) = self.graph.get(id) else { return };
        for position in node.dependants.iter().filter_map(|dependant| self.graph.position(dependant)) {
            self.waves.due.entry(position).or_insert_with(Instant::now);
        }
    }

    /// Starts as many of the evaluations that are due as may run at once.
    pub(super) fn dispatch(&mut self) {
        while let Some((position, since)) = self.waves.start() {
            let Some(node) = self.graph.nodes().get(position).cloned() else { continue };
            self.shared.metrics.waited(since.elapsed());
            let (evaluator, graph) = (self.evaluator.clone(), self.graph.clone());
            // Warnings were told when the configuration was loaded.
            let evaluate = move || evaluator.evaluate(&graph, &node, Occasion::Exports, &Warnings::new());
            let job = self.waves.jobs.spawn_blocking_on(evaluate, &self.data);
            self.waves.running.insert(job.id(), position);
        }
        self.shared.metrics.queue.set(self.waves.due.len() as f64);
        self.shared.metrics.evaluating.set(f64::from(u8::from(!self.waves.running.is_empty())));
    }

    /// Carries out what an evaluation yielded.
    pub(super) fn finish(&mut self, done: Done) {
        let (id, evaluated) = match done {
            Ok((id, evaluated)) => (id, Some(evaluated)),
            // Only when the data runtime ends: panics are caught where they happen.
            Err(error) => (error.id(), None),
        };
        let node = self.waves.running.remove(&id).and_then(|position| self.graph.nodes().get(position)).cloned();
        let (Some(node), Some(evaluated)) = (node, evaluated) else { return };
        match evaluated {
            Evaluated::Done => {}
            Evaluated::Changed(arguments) => node.live.give(arguments),
            Evaluated::Built => {
                node.live.start(&self.data, self.graph.module.global_id(&node.id).into());
                self.exports_changed(&node.id);
            }
            Evaluated::Failed(failure) => {
                tracing::warn!(component_id = &*node.id, error = failure.reason, "evaluation failed; the last good arguments stay");
            }
        }
    }

    /// Waits until no evaluation runs; none is started.
    pub(super) async fn settle(&mut self) {
        while let Some(done) = self.waves.next().await {
            self.finish(done);
        }
        self.take_changes();
    }
}
