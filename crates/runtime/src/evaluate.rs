//! Evaluates one node: scope from what it refers to, arguments from its block, and a component from its first good arguments. Blocks the
//! thread; which node is due when is decided in [`crate::engine`].

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use component::{ErasedArguments, Host, Registration, Services};
use parking_lot::Mutex;
use syntax::{Diagnostic, Diagnostics, Warnings};
use tokio::sync::Notify;

use crate::graph::{Graph, Node};
use crate::live::{Existence, panic_message};
use crate::metrics::Metrics;
use crate::plan::Kind;
use crate::setting::{self, LoggingConfig};

/// Components whose exports changed and whose dependants were not told yet. Bounded by the number of nodes: changes of one component
/// coalesce.
#[derive(Default)]
pub(crate) struct Changes {
    ids: Mutex<BTreeSet<Arc<str>>>,
    arrived: Notify,
}

impl Changes {
    fn add(&self, id: Arc<str>) {
        self.ids.lock().insert(id);
        self.arrived.notify_one();
    }

    /// Waits until there are some. Cancel-safe.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub fn take(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.ids.lock())
    }
}

/// Takes the log's settings to the product.
type OnLogging = Arc<dyn Fn(LoggingConfig) + Send + Sync>;

/// What evaluations need beyond the graph.
pub(crate) struct Evaluator {
    /// Below which components have their folders.
    pub storage: PathBuf,
    pub services: Services,
    pub metrics: Arc<Metrics>,
    pub changes: Arc<Changes>,
    pub logging: Logging,
    /// Number of the next component that is built.
    pub serial: AtomicU64,
}

/// Takes the log's settings to the product when they change. Done where they are evaluated, and they come first in the order: what is
/// built next logs as it should.
pub(crate) struct Logging {
    on_change: OnLogging,
    last: Mutex<Option<LoggingConfig>>,
}

impl Logging {
    pub fn new(on_change: OnLogging) -> Self {
        Self { on_change, last: Mutex::new(None) }
    }

    /// Sets them, unless they are already.
    pub fn set(&self, config: &LoggingConfig) {
        let mut last = self.last.lock();
        if last.as_ref() != Some(config) {
            (self.on_change)(config.clone());
            *last = Some(config.clone());
        }
    }
}

/// Why a node is evaluated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The configuration was loaded: what exited gets another chance.
    Load,
    /// Something that it refers to has new exports.
    Exports,
}

/// What came of an evaluation.
pub(crate) enum Evaluated {
    /// Nothing is left to do.
    Done,
    /// A component is to be given these new arguments.
    Changed(Arc<dyn ErasedArguments>),
    /// A component was built and is to be started.
    Built,
    /// Arguments, exports and component are those of before.
    Failed(Failure),
}

/// Why an evaluation failed.
pub(crate) struct Failure {
    /// For health and log.
    pub reason: String,
    /// For whoever loads; empty if the cause was told with another node.
    pub findings: Diagnostics,
}

impl From<Diagnostics> for Failure {
    fn from(findings: Diagnostics) -> Self {
        Self { reason: findings.to_string(), findings }
    }
}

/// The outcome of evaluating a whole graph.
#[derive(Default)]
pub(crate) struct Evaluation {
    pub findings: Diagnostics,
    /// Who is to be given which arguments.
    pub updates: Vec<(Arc<Node>, Arc<dyn ErasedArguments>)>,
}

impl Evaluator {
    /// Evaluates all nodes in order. An error stops nothing: whoever can be evaluated is.
    pub fn evaluate_all(&self, graph: &Graph) -> Evaluation {
        let warnings = Warnings::new();
        let mut all = Evaluation::default();
        for node in graph.nodes() {
            match self.evaluate(graph, node, Occasion::Load, &warnings) {
                Evaluated::Done | Evaluated::Built => {}
                Evaluated::Changed(arguments) => all.updates.push((node.clone(), arguments)),
                Evaluated::Failed(failure) => all.findings.extend(failure.findings),
            }
            if let (Kind::Setting(_), Some(arguments)) = (node.kind, node.live.arguments()) {
                all.findings.extend(setting::warning(&*arguments, &node.block));
            }
        }
        all.findings.extend(warnings.take());
        all.findings.sort_by_place();
        all
    }

    /// Evaluates one node and notes its health. Panics of its code count as errors.
    pub fn evaluate(&self, graph: &Graph, node: &Node, occasion: Occasion, warnings: &Warnings) -> Evaluated {
        let begin = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.attempt(graph, node, occasion, warnings)));
        self.metrics.evaluated(&node.id, begin.elapsed());
        let outcome = outcome.unwrap_or_else(|payload| Err(at_block(node, &format!("panicked: {}", panic_message(&*payload)))));
        outcome.unwrap_or_else(|failure| {
            node.live.evaluation_failed(&failure.reason);
            Evaluated::Failed(failure)
        })
    }

    fn attempt(&self, graph: &Graph, node: &Node, occasion: Occasion, warnings: &Warnings) -> Result<Evaluated, Failure> {
        let exports = graph.exports_for(node).map_err(|missing| waiting(node, &missing))?;
        let scope = graph.module.scope_with(exports).collecting(warnings);
        let arguments = node.kind.decode(&node.block, &scope)?;
        let last = node.live.last();
        let same = last.arguments.is_some_and(|last| last.equals(&*arguments));
        let build = match (node.kind, last.existence) {
            (Kind::Component(registration), Existence::None) => Some(registration),
            (Kind::Component(registration), Existence::Exited) if !same || occasion == Occasion::Load => Some(registration),
            _ => None,
        };
        match build {
            Some(registration) => self.build(graph, node, registration, arguments),
            None if same => {
                node.live.evaluated(None);
                Ok(Evaluated::Done)
            }
            None => {
                node.live.evaluated(Some(arguments.clone()));
                Ok(self.apply(node.kind, arguments))
            }
        }
    }

    fn apply(&self, kind: Kind, arguments: Arc<dyn ErasedArguments>) -> Evaluated {
        match kind {
            Kind::Component(_) => Evaluated::Changed(arguments),
            Kind::Setting(_) => {
                if let Some(config) = arguments.as_any_ref().downcast_ref() {
                    self.logging.set(config);
                }
                Evaluated::Done
            }
        }
    }

    fn build(
        &self,
        graph: &Graph,
        node: &Node,
        registration: &Registration,
        arguments: Arc<dyn ErasedArguments>,
    ) -> Result<Evaluated, Failure> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let host = self.host(graph, node, serial);
        let built = registration.build(&arguments, host).map_err(|error| at_block(node, &format!("building component: {error}")))?;
        node.live.built(serial, arguments, built);
        Ok(Evaluated::Built)
    }

    fn host(&self, graph: &Graph, node: &Node, serial: u64) -> Host {
        let (live, id, changes) = (Arc::downgrade(&node.live), node.id.clone(), self.changes.clone());
        let on_export = move |exports| {
            if live.upgrade().is_some_and(|live| live.export(serial, exports)) {
                changes.add(id.clone());
            }
        };
        Host {
            id: graph.module.global_id(&node.id).into(),
            module_path: graph.module.label(),
            local_id: node.id.to_string(),
            data_path: graph.module.storage(&self.storage, &node.id),
            services: self.services.clone(),
            on_export: Arc::new(on_export),
        }
    }
}

/// An error that has no place of its own is shown at the block.
fn at_block(node: &Node, reason: &str) -> Failure {
    let message = format!("Failed to build component: {reason}");
    Diagnostics::from(Diagnostic::error(node.block.file(), node.block.header_span(), message)).into()
}

/// What a node refers to was never built. That is not this node's error; but what else is wrong with it can be said already.
fn waiting(node: &Node, missing: &str) -> Failure {
    let findings = syntax::check(node.kind.schema(), &node.block.body);
    Failure { reason: format!("it refers to {missing}, which could not be built"), findings }
}
