//! The handle to a running graph. Everything that changes the graph is done by one task, the [`crate::engine`]; looking at it needs no
//! task.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use component::{ComponentHttp, HealthState, Services};
use parking_lot::RwLock;
use prometheus::proto::MetricFamily;
use serde_json::Value as Json;
use syntax::{Stability, StdlibOptions};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::catalog::{Catalog, Families};
use crate::engine::{Command, Engine};
use crate::error::{Findings, LoadError};
use crate::evaluate::{Changes, Evaluator, Logging};
use crate::graph::Graph;
use crate::info::{ComponentDetail, ComponentInfo};
use crate::metrics::Metrics;
use crate::module::Module;
use crate::plan::Rules;
use crate::setting::LoggingConfig;
use crate::source::Source;

/// Commands that may wait while one is carried out; further callers wait for their turn.
const COMMANDS: usize = 16;

/// What a controller is started with.
pub struct Options {
    /// The components that configurations may use.
    pub families: Families,
    /// The lowest stability that they may use.
    pub stability: Stability,
    /// The program's version, for `constants.version`.
    pub version: String,
    /// The directory below which each component has a folder, `--storage.path`.
    pub storage: PathBuf,
    /// What components get beyond their contract.
    pub services: Services,
    /// Where components run, and the controller's own task.
    pub data: Handle,
    /// The fleet's name, for `alloy_config_hash`.
    pub cluster_name: String,
    /// How long components that a reload removes may take to finish.
    pub removal_deadline: Duration,
    /// Called with the log's settings when they are evaluated for the first time, and whenever they change. Must return quickly.
    pub on_logging: Arc<dyn Fn(LoggingConfig) + Send + Sync>,
}

/// What a successful load has to say.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// What should be changed though it works.
    pub warnings: Findings,
    /// How many components the configuration has.
    pub components: usize,
}

/// How the last load went.
#[derive(Clone, Debug, Default)]
pub struct LoadStatus {
    /// Loads so far, failed ones included. 0: none yet.
    pub attempts: u64,
    /// When the last one ended.
    pub at: Option<SystemTime>,
    /// SHA-256 of what the last one tried to load; none if that could not be read.
    pub attempted_hash: Option<String>,
    /// SHA-256 of what runs.
    pub running_hash: Option<String>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// The handle to a running graph; clones are the same. When the last one is dropped, everything is stopped.
#[derive(Clone)]
pub struct Controller {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// A handle that keeps nothing running.
pub(crate) struct WeakController {
    shared: Arc<Shared>,
    commands: mpsc::WeakSender<Command>,
}

impl WeakController {
    /// A handle, unless the controller was shut down or nobody else has one.
    pub fn upgrade(&self) -> Option<Controller> {
        let commands = self.commands.upgrade().filter(|commands| !commands.is_closed())?;
        Some(Controller { shared: self.shared.clone(), commands })
    }
}

/// What engine and handles share.
pub(crate) struct Shared {
    pub graph: RwLock<Arc<Graph>>,
    pub status: watch::Sender<LoadStatus>,
    pub metrics: Arc<Metrics>,
    pub data: Handle,
}

impl Controller {
    /// Starts a controller without a configuration.
    ///
    /// # Errors
    /// The controller's metrics can't be registered; never in practice.
    pub fn start(options: Options) -> Result<Self, prometheus::Error> {
        let stdlib = syntax::stdlib::root(&StdlibOptions { stability: options.stability, version: options.version });
        let metrics = Arc::new(Metrics::new(options.cluster_name)?);
        let graph = Arc::new(Graph::empty(Module::root(&stdlib, &Source::text("", ""))));
        let shared = Arc::new(Shared {
            graph: RwLock::new(graph),
            status: watch::Sender::new(LoadStatus::default()),
            metrics: metrics.clone(),
            data: options.data.clone(),
        });
        let evaluator = Evaluator {
            storage: options.storage,
            services: options.services,
            metrics,
            changes: Arc::new(Changes::default()),
            logging: Logging::new(options.on_logging),
            serial: AtomicU64::new(0),
        };
        let rules = Rules { catalog: Catalog::new(options.families), stability: options.stability, stdlib };
        let engine = Engine::new(shared.clone(), evaluator, rules, options.removal_deadline);
        let (commands, received) = mpsc::channel(COMMANDS);
        options.data.spawn(engine.run(received));
        Ok(Self { shared, commands })
    }

    /// Loads a configuration in place of the one that runs, and keeps it for [`Controller::reload`]. Returns when what is new was started;
    /// what was removed may still be finishing.
    ///
    /// # Errors
    /// What is wrong with the configuration. If it was the first, or its structure is wrong, nothing has changed then; see
    /// [`LoadError::Degraded`] for the rest.
    pub async fn load(&self, source: Source) -> Result<LoadReport, LoadError> {
        self.command(|reply| Command::Load(source, reply)).await?
    }

    /// Reads the configuration again where it was last loaded from, and loads it.
    ///
    /// # Errors
    /// As [`Controller::load`]; or it can't be read.
    pub async fn reload(&self) -> Result<LoadReport, LoadError> {
        self.command(Command::Reload).await?
    }

    /// Stops all components, from sources to sinks, and the controller. Those that did not finish within `deadline` are aborted; their
    /// IDs are returned. Later calls return at once with none.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<String> {
        self.command(|reply| Command::Shutdown(deadline, reply)).await.unwrap_or_default()
    }

    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, LoadError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| LoadError::Stopped)?;
        answer.await.map_err(|_| LoadError::Stopped)
    }

    /// Waits until the controller was shut down.
    pub async fn stopped(&self) {
        self.commands.closed().await;
    }

    /// How the last load went, now and after each further one.
    #[must_use]
    pub fn loads(&self) -> watch::Receiver<LoadStatus> {
        self.shared.status.subscribe()
    }

    /// SHA-256 of the configuration that runs, in hexadecimal; none before one does.
    #[must_use]
    pub fn config_hash(&self) -> Option<String> {
        self.shared.status.borrow().running_hash.clone()
    }

    /// A handle that keeps nothing running.
    pub(crate) fn downgrade(&self) -> WeakController {
        WeakController { shared: self.shared.clone(), commands: self.commands.downgrade() }
    }

    /// Where tasks of the controller run.
    pub(crate) fn data(&self) -> &Handle {
        &self.shared.data
    }

    fn graph(&self) -> Arc<Graph> {
        self.shared.graph.read().clone()
    }
}

/// Looking at components.
impl Controller {
    /// All components in evaluation order.
    #[must_use]
    pub fn components(&self) -> Vec<ComponentInfo> {
        let graph = self.graph();
        graph.components().map(|node| ComponentInfo::of(&graph, node)).collect()
    }

    /// A component by its global ID, with arguments, exports and debug info. Waits up to a second for a busy component.
    pub async fn component(&self, id: &str) -> Option<ComponentDetail> {
        let graph = self.graph();
        let node = graph.components().find(|node| graph.module.global_id(&node.id) == id)?;
        Some(ComponentDetail::of(&graph, node).await)
    }

    /// The last good arguments of a component, by its global ID: for whoever knows their type.
    #[must_use]
    pub fn arguments(&self, id: &str) -> Option<Arc<dyn component::ErasedArguments>> {
        let graph = self.graph();
        let node = graph.components().find(|node| graph.module.global_id(&node.id) == id)?;
        node.live.arguments()
    }

    /// What others can refer to, by the component's global ID.
    #[must_use]
    pub fn exports(&self, id: &str) -> Option<syntax::Value> {
        let graph = self.graph();
        let node = graph.components().find(|node| graph.module.global_id(&node.id) == id)?;
        node.live.exports()
    }

    /// A component in the shape of Alloy's API.
    pub async fn component_json(&self, id: &str) -> Option<Json> {
        Some(self.component(id).await?.to_json())
    }

    /// Global IDs of the components that run but don't do their work.
    #[must_use]
    pub fn unhealthy(&self) -> Vec<String> {
        let graph = self.graph();
        let unhealthy = graph.components().filter(|node| node.live.health().state == HealthState::Unhealthy);
        unhealthy.map(|node| graph.module.global_id(&node.id)).collect()
    }

    /// Who answers a request whose path below `/api/v0/component/` is `path`, and the path below the component that remains, with its
    /// leading slash. The longest ID that `path` begins with counts.
    #[must_use]
    pub fn http_handler(&self, path: &str) -> Option<(Arc<dyn ComponentHttp>, String)> {
        let graph = self.graph();
        let path = path.trim_start_matches('/');
        let below = |id: &str| match path.strip_prefix(id)? {
            "" => Some("/".to_owned()),
            rest => rest.starts_with('/').then(|| rest.to_owned()),
        };
        let matching = graph.components().filter_map(|node| {
            let id = graph.module.global_id(&node.id);
            Some((id.len(), node, below(&id)?))
        });
        let (_, node, rest) = matching.max_by_key(|(length, _, _)| *length)?;
        Some((node.live.control()?.http()?, rest))
    }

    /// The metrics of the controller and of all components: one family per name, sorted by it.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.shared.metrics.gather(&self.graph(), self.config_hash().as_deref())
    }

    /// The texts of the running configuration; secrets that are written in them are readable there.
    #[must_use]
    pub fn sources(&self) -> syntax::Sources {
        self.graph().sources.clone()
    }
}
