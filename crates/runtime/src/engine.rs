//! The one task that changes the graph. It loads configurations ([`load`]), and between loads evaluates whatever refers to changed
//! exports ([`waves`]), as blocking work beside the data path so that a slow evaluation delays nobody but its own dependants.

mod load;
mod waves;

use std::sync::Arc;
use std::time::Duration;

use component::Stop;
use futures_util::future::join;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use self::waves::Waves;
use crate::controller::{LoadReport, Shared};
use crate::drain::{abort, drain};
use crate::error::LoadError;
use crate::evaluate::Evaluator;
use crate::graph::{Graph, Node};
use crate::plan::Rules;
use crate::source::Source;

/// What handles ask for, each with where the answer goes.
pub(crate) enum Command {
    Load(Source, oneshot::Sender<Result<LoadReport, LoadError>>),
    Reload(oneshot::Sender<Result<LoadReport, LoadError>>),
    Shutdown(Duration, oneshot::Sender<Vec<String>>),
}

/// How long a shutdown waits for running evaluations, as in Alloy; the components need the time for finishing.
const SETTLE: Duration = Duration::from_secs(5);

/// The state of the task.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    data: Handle,
    evaluator: Arc<Evaluator>,
    rules: Arc<Rules>,
    graph: Arc<Graph>,
    /// Where the last load came from, successful or not.
    source: Option<Source>,
    /// Whether a configuration runs.
    running: bool,
    waves: Waves,
    /// Components that reloads removed and that may still be finishing.
    removed: Vec<Removed>,
    removal_deadline: Duration,
}

/// Components that a reload removed.
struct Removed {
    nodes: Vec<Arc<Node>>,
    drain: tokio::task::JoinHandle<()>,
}

impl Engine {
    pub fn new(shared: Arc<Shared>, evaluator: Evaluator, rules: Rules, removal_deadline: Duration) -> Self {
        let graph = shared.graph.read().clone();
        Self {
            data: shared.data.clone(),
            graph,
            shared,
            evaluator: Arc::new(evaluator),
            rules: Arc::new(rules),
            source: None,
            running: false,
            waves: Waves::default(),
            removed: Vec::new(),
            removal_deadline,
        }
    }

    /// Runs until it is shut down or the last handle is gone.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let changes = self.evaluator.changes.clone();
        loop {
            self.dispatch();
            tokio::select! {
                biased;
                // An answer that nobody waits for any more is dropped.
                command = commands.recv() => match command {
                    Some(Command::Load(source, reply)) => drop(reply.send(self.load(source).await)),
                    Some(Command::Reload(reply)) => drop(reply.send(self.reload().await)),
                    Some(Command::Shutdown(deadline, reply)) => {
                        drop(reply.send(self.shutdown(deadline).await));
                        return;
                    }
                    None => {
                        self.shutdown(self.removal_deadline).await;
                        return;
                    }
                },
                () = changes.arrived() => self.take_changes(),
                Some(done) = self.waves.next() => self.finish(done),
            }
        }
    }

    async fn shutdown(&mut self, deadline: Duration) -> Vec<String> {
        let until = Instant::now() + deadline;
        // Evaluations that don't end are left to themselves.
        let _ = timeout(SETTLE.min(deadline / 5), self.settle()).await;
        let components = self.graph.components().cloned().collect();
        let all = drain(components, Stop::Exit, until, std::future::ready(()));
        let (unfinished, ()) = join(all, finish_removed(std::mem::take(&mut self.removed), until)).await;
        unfinished.into_iter().map(|id| self.graph.module.global_id(&id)).collect()
    }
}

/// Waits for components that were removed earlier, and aborts those that are not done in time.
async fn finish_removed(removed: Vec<Removed>, until: Instant) {
    for Removed { nodes, mut drain } in removed {
        if timeout_at(until, &mut drain).await.is_ok() {
            continue;
        }
        drain.abort();
        for task in nodes.iter().filter_map(|node| node.live.task()).filter(|task| !task.is_finished()) {
            abort(task).await;
        }
    }
}
