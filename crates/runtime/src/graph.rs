//! The graph that runs: a plan's nodes joined with what lives under them. A graph never changes; a reload makes a new one, whose nodes
//! carry over what lived under the same IDs. What lives changes under a lock of its own, held for moments.

use std::collections::HashMap;
use std::sync::Arc;

use syntax::{Sources, Value, ast};

use crate::live::Live;
use crate::module::Module;
use crate::plan::{Dependency, Kind, PlannedNode};

/// A loaded configuration.
pub(crate) struct Graph {
    /// The module that the graph is of.
    pub module: Module,
    /// The texts that it was loaded from.
    pub sources: Sources,
    /// In evaluation order.
    nodes: Vec<Arc<Node>>,
    index: HashMap<Arc<str>, usize>,
}

/// A block of the configuration and what lives under it.
pub(crate) struct Node {
    /// Local ID within the module.
    pub id: Arc<str>,
    pub kind: Kind,
    pub block: Arc<ast::Block>,
    /// What it refers to.
    pub dependencies: Vec<Dependency>,
    /// Who refers to it.
    pub dependants: Vec<Arc<str>>,
    /// What outlasts a reload.
    pub live: Arc<Live>,
}

impl Graph {
    /// Nothing loaded.
    pub fn empty(module: Module) -> Self {
        Self { module, sources: Sources::new(), nodes: Vec::new(), index: HashMap::new() }
    }

    /// The graph of a plan; what lives under IDs that `old` has as well is carried over.
    pub fn of(plan: Vec<PlannedNode>, module: Module, sources: Sources, old: &Self) -> Self {
        let mut dependants: HashMap<Arc<str>, Vec<Arc<str>>> = HashMap::new();
        for node in &plan {
            for dependency in &node.dependencies {
                dependants.entry(dependency.id.clone()).or_default().push(node.id.clone());
            }
        }
        let join = |node: PlannedNode| {
            let live = old.get(&node.id).map_or_else(Arc::default, |old| old.live.clone());
            let dependants = dependants.remove(&node.id).unwrap_or_default();
            let PlannedNode { id, kind, block, dependencies } = node;
            Arc::new(Node { id, kind, block, dependencies, dependants, live })
        };
        let nodes: Vec<Arc<Node>> = plan.into_iter().map(join).collect();
        let index = nodes.iter().enumerate().map(|(index, node)| (node.id.clone(), index)).collect();
        Self { module, sources, nodes, index }
    }

    /// All nodes in evaluation order.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// All components in evaluation order.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &Arc<Node>> {
        self.nodes.iter().filter(|node| matches!(node.kind, Kind::Component(_)))
    }

    /// The node with this local ID.
    pub fn get(&self, id: &str) -> Option<&Arc<Node>> {
        self.nodes.get(self.position(id)?)
    }

    /// Where the node with this local ID stands in the evaluation order.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// The exports of everything that a node refers to.
    ///
    /// # Errors
    /// The ID of the first that has none, because it was never built.
    pub fn exports_for<'a>(&self, node: &'a Node) -> Result<Vec<(&'a str, Value)>, Arc<str>> {
        let exports = |dependency: &'a Dependency| {
            let found = self.get(&dependency.id).and_then(|node| node.live.exports());
            found.map(|value| (&*dependency.id, value)).ok_or_else(|| dependency.id.clone())
        };
        node.dependencies.iter().map(exports).collect()
    }
}
