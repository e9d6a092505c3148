//! What the API tells about components, in Alloy's JSON. Routes belong to the product.

use component::{Health, is_receiver};
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use syntax::{Statement, Value};

use crate::graph::{Graph, Node};
use crate::plan::{Dependency, Kind};

/// A component as lists show it.
#[derive(Clone, Debug)]
pub struct ComponentInfo {
    /// The block's name: `prometheus.scrape`.
    pub name: String,
    /// Name and label: `prometheus.scrape.default`.
    pub local_id: String,
    /// The module that it belongs to; empty for the root.
    pub module_id: String,
    /// The block's label.
    pub label: Option<String>,
    /// Local IDs of what its expressions refer to.
    pub references_to: Vec<String>,
    /// Local IDs of those whose expressions refer to it.
    pub referenced_by: Vec<String>,
    /// Local IDs of those that its data goes to.
    pub data_flow_edges_to: Vec<String>,
    /// The worst of evaluation, run loop and what the component says of itself.
    pub health: Health,
    /// Whether what passes through it can be watched.
    pub live_debugging: bool,
}

/// A component with everything that can be said about it.
#[derive(Clone, Debug)]
pub struct ComponentDetail {
    /// What lists show.
    pub info: ComponentInfo,
    /// The last good arguments, secrets hidden; empty before there are some.
    pub arguments: Vec<Statement>,
    /// What others can refer to; empty before the component was built.
    pub exports: Vec<Statement>,
    /// What the component says of its inside.
    pub debug_info: Vec<Statement>,
}

impl ComponentInfo {
    pub(crate) fn of(graph: &Graph, node: &Node) -> Self {
        let is_component = |id: &str| graph.get(id).is_some_and(|node| matches!(node.kind, Kind::Component(_)));
        Self {
            name: node.block.full_name(),
            local_id: node.id.to_string(),
            module_id: graph.module.id().to_owned(),
            label: node.block.label().map(str::to_owned),
            references_to: node.dependencies.iter().map(|dependency| dependency.id.to_string()).collect(),
            referenced_by: node.dependants.iter().filter(|id| is_component(id)).map(ToString::to_string).collect(),
            data_flow_edges_to: data_flow(graph, node),
            health: node.live.health(),
            live_debugging: false,
        }
    }

    /// As Alloy's API has it in lists: without arguments, exports and debug info.
    #[must_use]
    pub fn to_json(&self) -> Json {
        self.with_bodies(json!([]), json!([]), json!([]))
    }

    fn with_bodies(&self, arguments: Json, exports: Json, debug_info: Json) -> Json {
        let mut object = json!({
            "name": self.name,
            "type": "block",
            "localID": self.local_id,
            "moduleID": self.module_id,
            "referencesTo": self.references_to,
            "referencedBy": self.referenced_by,
            "dataFlowEdgesTo": self.data_flow_edges_to,
            "health": health(&self.health),
            "original": "",
            "arguments": arguments,
            "exports": exports,
            "debugInfo": debug_info,
            "liveDebuggingEnabled": self.live_debugging,
        });
        if let (Some(label), Some(fields)) = (&self.label, object.as_object_mut()) {
            fields.insert("label".to_owned(), json!(label));
        }
        object
    }
}

impl ComponentDetail {
    pub(crate) async fn of(graph: &Graph, node: &Node) -> Self {
        let debug_info = match node.live.control() {
            Some(control) => control.debug_info().await,
            None => Vec::new(),
        };
        Self {
            info: ComponentInfo::of(graph, node),
            arguments: node.live.arguments().map(|arguments| arguments.to_body()).unwrap_or_default(),
            exports: node.live.exports().map(statements).unwrap_or_default(),
            debug_info,
        }
    }

    /// As Alloy's API has it for one component.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let shown = syntax::json::statements;
        self.info.with_bodies(shown(&self.arguments), shown(&self.exports), shown(&self.debug_info))
    }
}

fn health(health: &Health) -> Json {
    let updated = Timestamp::try_from(health.updated).unwrap_or_default();
    json!({ "state": health.state.as_str(), "message": health.message, "updatedTime": updated.to_string() })
}

fn statements(exports: Value) -> Vec<Statement> {
    let fields = exports.to_object().unwrap_or_default();
    fields.iter().map(|(name, value)| Statement::attribute(&**name, value.clone())).collect()
}

/// References go against the data where they name a receiver, and with it elsewhere.
fn data_flow(graph: &Graph, node: &Node) -> Vec<String> {
    let to_receivers = node.dependencies.iter().filter(|to| graph.get(&to.id).is_some_and(|to_node| flows(to_node, to).0));
    let to_readers = node.dependants.iter().filter(|id| {
        let reader = graph.get(id).filter(|reader| matches!(reader.kind, Kind::Component(_)));
        let reference = reader.and_then(|reader| reader.dependencies.iter().find(|dependency| dependency.id == node.id));
        reference.is_some_and(|reference| flows(node, reference).1)
    });
    to_receivers.map(|to| to.id.to_string()).chain(to_readers.map(ToString::to_string)).collect()
}

/// Whether references to `node` name receivers, and whether they name anything else.
fn flows(node: &Node, reference: &Dependency) -> (bool, bool) {
    let exports = node.live.exports().unwrap_or_default();
    let receives = |fields: &Vec<String>| field(&exports, fields).is_some_and(|value| is_receiver(&value));
    let receivers = reference.fields.iter().filter(|fields| receives(fields)).count();
    (receivers > 0, receivers < reference.fields.len())
}

fn field(value: &Value, fields: &[String]) -> Option<Value> {
    fields.iter().try_fold(value.clone(), |value, name| value.to_object()?.get(name).cloned())
}
