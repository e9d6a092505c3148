//! A fleet of real collector processes on loopback: started, joined, stopped, killed and paused one by one, and asked over their HTTP API how
//! they are. It knows the collector's command line and pages (those of Alloy), and nothing of what it is configured to do.

mod node;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::process::{ProcessError, Stopped};
pub use crate::relay::CutMode;
use crate::relay::{Cut, Cuts};
pub use node::{Node, State};
pub use status::{ActiveTarget, FetchError, Peer, metric_sum};

/// How nodes are told to find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// `run --cluster.enabled --cluster.join-addresses=…`
    Run,
    /// `join --peers …`
    Join,
}

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The collector's binary.
    pub binary: PathBuf,
    /// How many nodes there are at the start.
    pub nodes: usize,
    /// The text of the configuration; the same for all nodes.
    pub config: String,
    /// What is put before the binary: a program that runs it, and its arguments.
    pub runner: Vec<String>,
    /// Whether nodes reach each other over relays that can be cut.
    pub relays: bool,
    /// The cluster's name.
    pub cluster_name: String,
    /// How further nodes are started; the first is always `run`.
    pub launch: Launch,
    /// Further arguments of every node.
    pub arguments: Vec<String>,
    /// Further environment of every node. `COLLECTOR_*` variables of this process are not handed on.
    pub environment: Vec<(String, String)>,
    /// How long a node may take until `/-/ready` answers 200.
    pub ready_within: Duration,
    /// How long a node may take from SIGTERM to its end.
    pub stop_within: Duration,
    /// Where configuration, logs and storage go; without it a temporary directory, removed with the fleet.
    pub dir: Option<PathBuf>,
}

impl FleetOptions {
    /// A fleet of three with the usual settings.
    #[must_use]
    pub fn new(binary: PathBuf, config: String) -> Self {
        Self {
            binary,
            nodes: 3,
            config,
            runner: Vec::new(),
            relays: false,
            cluster_name: "loadtest".to_owned(),
            launch: Launch::Join,
            arguments: Vec::new(),
            environment: Vec::new(),
            ready_within: Duration::from_secs(30),
            // A leave has 25 s: hand over, flush, exit.
            stop_within: Duration::from_secs(30),
            dir: None,
        }
    }
}

/// Why a fleet did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A node did not start, get ready or end.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file, directory or port could not be had.
    #[error("fleet: {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// There is no such node.
    #[error("fleet: there is no node {0}")]
    Unknown(usize),
    /// A node did not take its new configuration.
    #[error("{name}: did not take its new configuration: {reason}")]
    Reload {
        /// The node.
        name: String,
        /// What it said.
        reason: String,
    },
    /// A start was lost with its task.
    #[error("fleet: a start broke off: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A running fleet; dropping it kills all its processes.
#[derive(Debug)]
pub struct Fleet {
    plan: Arc<Plan>,
    nodes: Mutex<Vec<Arc<Node>>>,
    started: AtomicUsize,
    /// Removed last, after the nodes.
    _temporary: Option<TempDir>,
}

/// What all nodes have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) options: FleetOptions,
    pub(crate) dir: PathBuf,
    /// What nodes that start from now on are configured with.
    pub(crate) config: Mutex<String>,
    pub(crate) cuts: Cuts,
}

impl Fleet {
    /// Starts the nodes and waits until all are ready: the first alone, the others at once as its peers.
    ///
    /// # Errors
    /// A node that does not get ready, told with the end of its log.
    pub async fn start(options: FleetOptions) -> Result<Self, FleetError> {
        let wanted = options.nodes;
        let (dir, temporary) = directory(options.dir.as_deref())?;
        let config = Mutex::new(options.config.clone());
        let plan = Arc::new(Plan { options, dir, config, cuts: Cuts::default() });
        let fleet = Self { plan, nodes: Mutex::default(), started: AtomicUsize::new(0), _temporary: temporary };
        if wanted > 0 {
            fleet.join().await?;
        }
        fleet.join_several(wanted.saturating_sub(1)).await?;
        Ok(fleet)
    }

    /// Starts one more node with all live ones as its peers, and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn join(&self) -> Result<Arc<Node>, FleetError> {
        let peers = self.addresses();
        let node = self.add()?;
        Arc::clone(&node).start(peers).await?;
        Ok(node)
    }

    /// Starts several nodes at once, with all live ones as their peers, and waits until all are ready.
    ///
    /// # Errors
    /// One does not get ready.
    pub async fn join_several(&self, count: usize) -> Result<Vec<Arc<Node>>, FleetError> {
        let peers = self.addresses();
        let mut starts = JoinSet::new();
        let mut joined = Vec::new();
        for _ in 0..count {
            let node = self.add()?;
            starts.spawn(Arc::clone(&node).start(peers.clone()));
            joined.push(node);
        }
        while let Some(started) = starts.join_next().await {
            started??;
        }
        Ok(joined)
    }

    /// Starts an ended node again: same name, port and storage.
    ///
    /// # Errors
    /// There is no such node, or it does not get ready.
    pub async fn restart(&self, index: usize) -> Result<(), FleetError> {
        let node = self.node(index)?;
        let peers = self.addresses().into_iter().filter(|a| *a != node.advertised()).collect();
        node.start(peers).await
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// There is no such node, or it had to be killed.
    pub async fn stop(&self, index: usize) -> Result<Stopped, FleetError> {
        self.node(index)?.stop().await
    }

    /// Ends all nodes that run, at once; returns how each ended, with its name.
    pub async fn stop_all(&self) -> Vec<(String, Result<Stopped, FleetError>)> {
        let mut stops = JoinSet::new();
        for node in self.nodes().into_iter().filter(|n| n.is_alive()) {
            stops.spawn(async move { (node.name().to_owned(), node.stop().await) });
        }
        let mut stopped = stops.join_all().await;
        stopped.sort_by(|a, b| a.0.cmp(&b.0));
        stopped
    }

    /// A node by its place, counted from 0 in the order of their starts.
    ///
    /// # Errors
    /// There is none.
    pub fn node(&self, index: usize) -> Result<Arc<Node>, FleetError> {
        self.nodes.lock().get(index).cloned().ok_or(FleetError::Unknown(index))
    }

    /// All nodes, ended ones too.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().clone()
    }

    /// Where configuration, logs and storage are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.plan.dir
    }

    /// Gives nodes that start from now on another configuration; those that run get it by [`Node::reconfigure`].
    pub fn set_config(&self, text: &str) {
        text.clone_into(&mut self.plan.config.lock());
    }

    /// Cuts nodes off from all others, if the fleet has relays; the number is for [`Self::heal`].
    #[must_use]
    pub fn cut(&self, nodes: &[Arc<Node>], mode: CutMode) -> u64 {
        let pid = |node: &Arc<Node>| node.process().map_or(0, |p| p.pid());
        self.plan.cuts.cut(Cut { nodes: nodes.iter().map(|n| (n.name().to_owned(), pid(n))).collect(), mode })
    }

    /// Ends a cut.
    pub fn heal(&self, cut: u64) {
        self.plan.cuts.heal(cut);
    }

    /// Ends all cuts.
    pub fn heal_all(&self) {
        self.plan.cuts.heal_all();
    }

    /// Where the nodes that run are reached by others.
    fn addresses(&self) -> Vec<String> {
        self.nodes.lock().iter().filter(|n| n.is_alive()).map(|n| n.advertised()).collect()
    }

    /// A new node that is not started yet; it counts as alive only then.
    fn add(&self) -> Result<Arc<Node>, FleetError> {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let node = Arc::new(Node::new(&self.plan, &format!("node-{number}"))?);
        self.nodes.lock().push(Arc::clone(&node));
        Ok(node)
    }
}

impl Drop for Fleet {
    /// Kills here, since others may hold on to a node.
    fn drop(&mut self) {
        self.nodes.lock().iter().for_each(|node| node.kill());
    }
}

fn directory(wanted: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), FleetError> {
    if let Some(dir) = wanted {
        std::fs::create_dir_all(dir).map_err(|source| system(format!("can't make {}", dir.display()), source))?;
        // Nodes run in folders of their own.
        let dir = std::path::absolute(dir).map_err(|source| system(format!("where is {}", dir.display()), source))?;
        return Ok((dir, None));
    }
    let temporary = tempfile::Builder::new().prefix("fleet-").tempdir();
    let temporary = temporary.map_err(|source| system("can't make a temporary directory".to_owned(), source))?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

pub(crate) fn system(what: String, source: std::io::Error) -> FleetError {
    FleetError::System { what, source }
}
