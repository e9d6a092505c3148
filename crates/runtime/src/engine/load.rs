//! Loads a configuration: plan, evaluation, and the change from the old graph to the new one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use component::{ErasedArguments, Stop};
use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::{Engine, Removed};
use crate::controller::LoadReport;
use crate::drain::{abort, drain};
use crate::error::{Findings, LoadError};
use crate::evaluate::Evaluation;
use crate::graph::{Graph, Node};
use crate::live::Task;
use crate::module::Module;
use crate::plan::{Kind, Plan, PlannedNode};
use crate::setting::{LoggingConfig, Setting};
use crate::source::{Source, SourceError};

/// How long what is new waits for what is removed and might hold the same thing: a port, a folder.
const HANDOVER: Duration = Duration::from_secs(5);

impl Engine {
    /// Reads the last source again and loads it.
    pub(super) async fn reload(&mut self) -> Result<LoadReport, LoadError> {
        let source = self.source.clone().ok_or(LoadError::NothingLoaded)?;
        match self.beside(move || source.read_again()).await? {
            Ok(source) => self.load(source).await,
            Err(error) => {
                self.note_unreadable(&error);
                Err(error.into())
            }
        }
    }

    fn note_unreadable(&self, error: &SourceError) {
        self.shared.metrics.loaded(false);
        self.shared.status.send_modify(|status| {
            status.attempts += 1;
            status.at = Some(SystemTime::now());
            status.attempted_hash = None;
            status.error = Some(error.to_string());
        });
    }

    /// Loads a source and notes how that went.
    pub(super) async fn load(&mut self, source: Source) -> Result<LoadReport, LoadError> {
        self.shared.metrics.evaluating.set(1.0);
        self.settle().await;
        self.source = Some(source.clone());
        let hash = source.hash().to_owned();
        let outcome = self.replace(source).await;
        self.shared.metrics.loaded(outcome.is_ok());
        let adopted = outcome.as_ref().map_or_else(LoadError::is_adopted, |_| true);
        self.shared.status.send_modify(|status| {
            status.attempts += 1;
            status.at = Some(SystemTime::now());
            status.attempted_hash = Some(hash.clone());
            status.error = outcome.as_ref().err().map(ToString::to_string);
            if adopted {
                status.running_hash = Some(hash);
            }
        });
        outcome
    }

    async fn replace(&mut self, source: Source) -> Result<LoadReport, LoadError> {
        let findings = |diagnostics, source: &Source| Findings { diagnostics, sources: source.texts().clone() };
        let (rules, texts) = (self.rules.clone(), source.clone());
        let plan = self.beside(move || Plan::of(&texts, &rules)).await?;
        let Plan { nodes, mut warnings } = plan.map_err(|wrong| LoadError::Rejected(findings(wrong, &source)))?;
        self.make_way_for(&nodes).await;
        if !nodes.iter().any(|node| matches!(node.kind, Kind::Setting(Setting::Logging))) {
            self.evaluator.logging.set(&LoggingConfig::default());
        }
        let module = Module::root(&self.rules.stdlib, &source);
        let graph = Arc::new(Graph::of(nodes, module, source.texts().clone(), &self.graph));
        let (evaluator, evaluated) = (self.evaluator.clone(), graph.clone());
        let Evaluation { findings: found, updates } = self.beside(move || evaluator.evaluate_all(&evaluated)).await?;
        warnings.extend(found);
        if warnings.has_errors() && !self.running {
            return Err(LoadError::Rejected(findings(warnings, &source)));
        }
        let components = graph.components().count();
        self.adopt(graph, updates).await;
        if warnings.has_errors() {
            return Err(LoadError::Degraded(findings(warnings, &source)));
        }
        Ok(LoadReport { warnings: findings(warnings, &source), components })
    }

    /// Does blocking work beside the data path.
    async fn beside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoadError> {
        // It does not panic; an error means that the data runtime ends.
        self.data.spawn_blocking(work).await.map_err(|_| LoadError::Stopped)
    }

    /// A component that was removed and is wanted again may still be finishing: two under one ID must not run at once.
    async fn make_way_for(&mut self, nodes: &[PlannedNode]) {
        self.removed.retain(|removed| !removed.drain.is_finished());
        let wanted = |node: &&Arc<Node>| nodes.iter().any(|new| new.id == node.id);
        let tasks: Vec<(Arc<str>, Task)> = self
            .removed
            .iter()
            .flat_map(|removed| &removed.nodes)
            .filter(wanted)
            .filter_map(|node| Some((node.id.clone(), node.live.stop(Stop::Removed)?)))
            .collect();
        join_all(tasks.into_iter().map(|(id, task)| async move {
            if timeout(HANDOVER, task.clone().finished()).await.is_err() {
                tracing::warn!(component_id = &*id, "removed component did not finish in time for its successor; aborting it");
                abort(task).await;
            }
        }))
        .await;
    }

    /// Makes `graph` the one that runs. Removed components that nothing refers to stop first, so that what they hold (a port) is free for
    /// what is new; those that others send to stop last, when nobody sends to them any more.
    async fn adopt(&mut self, graph: Arc<Graph>, updates: Vec<(Arc<Node>, Arc<dyn ErasedArguments>)>) {
        let old = std::mem::replace(&mut self.graph, graph.clone());
        *self.shared.graph.write() = graph.clone();
        self.waves.clear();
        self.running = true;
        let removed: Vec<Arc<Node>> = old.components().filter(|node| graph.get(&node.id).is_none()).cloned().collect();
        let (open_gate, gate) = oneshot::channel::<()>();
        let sources: Vec<Arc<Node>> = removed.iter().filter(|node| node.dependants.is_empty()).cloned().collect();
        self.remove(removed, gate);
        if timeout(HANDOVER, join_all(sources.iter().map(|node| node.live.way_is_free()))).await.is_err() {
            tracing::warn!("removed components take long to finish; what is new starts beside them");
        }
        for node in graph.components() {
            node.live.start(&self.data, graph.module.global_id(&node.id).into());
        }
        for (node, arguments) in updates {
            node.live.give(arguments);
        }
        drop(open_gate);
    }

    /// Stops components in the background; a gate that is dropped is open.
    fn remove(&mut self, nodes: Vec<Arc<Node>>, gate: oneshot::Receiver<()>) {
        if nodes.is_empty() {
            return;
        }
        let until = Instant::now() + self.removal_deadline;
        let stopping = nodes.clone();
        let drain = self.data.spawn(async move {
            let unfinished = drain(stopping, Stop::Removed, until, async { drop(gate.await) }).await;
            if !unfinished.is_empty() {
                tracing::error!(components = unfinished.join(", "), "removed components did not finish in time and were aborted");
            }
        });
        self.removed.push(Removed { nodes, drain });
    }
}
