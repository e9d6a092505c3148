//! Sorts the blocks of a source into components, settings and what is neither.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use syntax::ast::{Block, Body, Stmt};
use syntax::{Diagnostic, Diagnostics, nearest, stdlib};

use super::{Declared, IdKind, Ids, Kind, PlannedNode, Rules};
use crate::alloy;
use crate::setting::{self, Setting};

/// Sorts the statements of all files, which are one unit.
pub(super) fn declare(bodies: Vec<Body>, rules: &Rules, findings: &mut Diagnostics) -> Declared {
    let mut blocks = Vec::new();
    for statement in bodies.into_iter().flat_map(|body| body.statements) {
        match statement {
            Stmt::Block(block) => blocks.push(block),
            Stmt::Attribute(attribute) => {
                let message = format!("unrecognized attribute {}", attribute.name.name);
                let error = Diagnostic::error(&attribute.file, attribute.name.span, message);
                findings.push(error.with_help(Some("only blocks may stand at the top level")));
            }
        }
    }
    let namespaces = blocks.iter().filter_map(setting::namespace).map(str::to_owned).collect();
    let mut sorting = Sorting { rules, findings, namespaces, places: HashMap::new(), ids: Ids::new(), nodes: vec![], unusable: vec![] };
    blocks.into_iter().for_each(|block| sorting.take(block));
    Declared { nodes: sorting.nodes, unusable: sorting.unusable, ids: sorting.ids }
}

struct Sorting<'a> {
    rules: &'a Rules,
    findings: &'a mut Diagnostics,
    /// What refused blocks would have defined.
    namespaces: HashSet<String>,
    /// `file:line:column` of each ID's first block.
    places: HashMap<Arc<str>, String>,
    ids: Ids,
    nodes: Vec<PlannedNode>,
    unusable: Vec<Block>,
}

/// What a block turned out to be.
enum Sorted {
    Node(Kind),
    /// In error, but its expressions follow the rules of components.
    Unusable,
    /// Its feature is not there; what is inside has a scope of its own.
    Foreign,
}

impl Sorting<'_> {
    fn take(&mut self, block: Block) {
        let id: Arc<str> = block.id().into();
        let sorted = self.sort(&block);
        if matches!(sorted, Sorted::Node(_)) && self.is_duplicate(&id, &block) {
            return;
        }
        let kind = match &sorted {
            Sorted::Node(Kind::Component(registration)) => IdKind::Node(registration),
            Sorted::Node(Kind::Setting(_)) => IdKind::Setting,
            Sorted::Unusable | Sorted::Foreign => IdKind::Unusable,
        };
        self.ids.insert(id.clone(), kind);
        match sorted {
            Sorted::Node(kind) => self.nodes.push(PlannedNode { id, kind, block: Arc::new(block), dependencies: vec![] }),
            Sorted::Unusable => self.unusable.push(block),
            Sorted::Foreign => {}
        }
    }

    fn is_duplicate(&mut self, id: &Arc<str>, block: &Block) -> bool {
        if let Some(first) = self.places.get(id) {
            let message = format!("block {id} already declared at {first}");
            self.error(block, message, None);
            return true;
        }
        self.places.insert(id.clone(), format!("{}:{}", block.file(), block.header_span().start));
        false
    }

    fn sort(&mut self, block: &Block) -> Sorted {
        let name = block.full_name();
        if let Some(setting) = Setting::by_name(&name) {
            return self.setting(setting, &name, block);
        }
        if let Some(reason) = setting::refused(&name) {
            self.error(block, reason, None);
            return Sorted::Foreign;
        }
        if block.name.first().is_some_and(|head| self.namespaces.contains(&*head.name)) {
            return Sorted::Foreign;
        }
        self.component(&name, block)
    }

    fn setting(&mut self, setting: Setting, name: &str, block: &Block) -> Sorted {
        if block.label.is_none() {
            return Sorted::Node(Kind::Setting(setting));
        }
        self.error(block, format!("block {name:?} does not support specifying labels"), None);
        Sorted::Unusable
    }

    fn component(&mut self, name: &str, block: &Block) -> Sorted {
        let Some(registration) = self.rules.catalog.get(name) else {
            if alloy::has(name) {
                self.error(block, format!("component {name:?} is not supported yet"), None);
                return Sorted::Unusable;
            }
            let known = self.rules.catalog.names().chain(setting::names());
            let help = nearest(known.map(|known| (name, known)));
            self.error(block, format!("cannot find the definition of component name {name:?}"), help);
            return Sorted::Unusable;
        };
        self.warn_of_shadow(block);
        if let Some(reason) = registration.stability.gate(&format!("component {name:?}"), self.rules.stability) {
            self.error(block, reason, None);
            return Sorted::Unusable;
        }
        if block.label.is_none() {
            let help = format!("write `{name} \"default\" {{`");
            self.error(block, format!("component {name:?} must have a label"), Some(help));
            return Sorted::Unusable;
        }
        Sorted::Node(Kind::Component(registration))
    }

    /// A component whose name begins like something of the standard library wins over it.
    fn warn_of_shadow(&mut self, block: &Block) {
        if let Some(head) = block.name.first().filter(|head| stdlib::is_name(&head.name)) {
            let message = format!("component {} shadows {} of the standard library", block.id(), head.name);
            self.findings.push(Diagnostic::warning(block.file(), head.span, message));
        }
    }

    fn error(&mut self, block: &Block, message: String, help: Option<String>) {
        self.findings.push(Diagnostic::error(block.file(), block.header_span(), message).with_help(help));
    }
}
