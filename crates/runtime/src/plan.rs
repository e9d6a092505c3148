//! From a source to a plan: which blocks there are, which of them refer to which, and in which order they can be evaluated. Everything
//! that can be wrong with a configuration by itself is found here, all at once: its structure, and its values as far as they don't depend
//! on what components will export. Nothing is built.

mod blocks;
mod cycles;
mod links;

use std::collections::HashMap;
use std::sync::Arc;

use component::{ErasedArguments, Registration};
use syntax::{Diagnostics, Schema, Scope, Span, Stability, StdlibOptions, Warnings, ast};

use crate::catalog::Catalog;
use crate::module::Module;
use crate::setting::Setting;
use crate::source::Source;

/// What a source may use.
pub(crate) struct Rules {
    /// The components that there are.
    pub catalog: Catalog,
    /// The lowest stability that may be used.
    pub stability: Stability,
    /// What expressions can refer to apart from components.
    pub stdlib: Scope,
}

/// What a block stands for.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A component.
    Component(&'static Registration),
    /// A config block.
    Setting(Setting),
}

impl Kind {
    /// What the block takes.
    pub fn schema(self) -> &'static Schema {
        match self {
            Self::Component(registration) => (registration.arguments)(),
            Self::Setting(setting) => setting.schema(),
        }
    }

    /// Evaluates the block to arguments.
    ///
    /// # Errors
    /// Everything that is wrong with it; nothing, if that can't be told before awaited values are there.
    pub fn decode(self, block: &ast::Block, scope: &Scope) -> Result<Arc<dyn ErasedArguments>, Diagnostics> {
        match self {
            Self::Component(registration) => registration.decode(block, scope),
            Self::Setting(setting) => setting.decode(block, scope),
        }
    }
}

/// A block that is to become a node of the graph.
pub(crate) struct PlannedNode {
    /// Local ID within the module.
    pub id: Arc<str>,
    pub kind: Kind,
    pub block: Arc<ast::Block>,
    /// What its expressions refer to, in the order in which the source first does.
    pub dependencies: Vec<Dependency>,
}

/// A node that another one refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// Its local ID.
    pub id: Arc<str>,
    /// Where it is first referred to.
    pub span: Span,
    /// What follows the ID in each reference: `["receiver"]`.
    pub fields: Vec<Vec<String>>,
}

/// A structure that can be evaluated.
pub(crate) struct Plan {
    /// Whoever is referred to stands before whoever refers; settings first, else in order of the source.
    pub nodes: Vec<PlannedNode>,
    pub warnings: Diagnostics,
}

impl Plan {
    /// Parses and checks.
    ///
    /// # Errors
    /// Everything that is wrong with it. If files don't parse, only that: the rest would be guesses.
    pub fn of(source: &Source, rules: &Rules) -> Result<Self, Diagnostics> {
        let (mut draft, order) = Draft::of(source, rules)?;
        // Warnings about values come when the values do.
        draft.check_values(&Module::root(&rules.stdlib, source).scope_with([]));
        if draft.findings.has_errors() {
            return Err(draft.findings);
        }
        let mut nodes: Vec<Option<PlannedNode>> = draft.nodes.into_iter().map(Some).collect();
        let nodes = order.into_iter().filter_map(|index| nodes.get_mut(index)?.take()).collect();
        Ok(Self { nodes, warnings: draft.findings })
    }
}

/// Checks a source as far as that is possible without building anything: what is wrong with it, and what should be changed though it works.
/// `version` is the program's, for `constants.version`.
#[must_use]
pub fn validate(source: &Source, families: crate::Families, stability: Stability, version: &str) -> Diagnostics {
    let stdlib = syntax::stdlib::root(&StdlibOptions { stability, version: version.to_owned() });
    let rules = Rules { catalog: Catalog::new(families), stability, stdlib };
    let warnings = Warnings::new();
    let scope = Module::root(&rules.stdlib, source).scope_with([]).collecting(&warnings);
    let mut draft = match Draft::of(source, &rules) {
        Ok((draft, _)) => draft,
        Err(findings) => return findings,
    };
    draft.check_values(&scope);
    draft.findings.extend(warnings.take());
    draft.findings.sort_by_place();
    draft.findings
}

/// What could be read of a source, with everything that is wrong with its structure.
struct Draft {
    /// In order of the source.
    nodes: Vec<PlannedNode>,
    /// Dotted names that can't be evaluated.
    broken: Vec<Arc<str>>,
    findings: Diagnostics,
}

impl Draft {
    /// The draft and the evaluation order of its nodes; that is no order where there are cycles.
    fn of(source: &Source, rules: &Rules) -> Result<(Self, Vec<usize>), Diagnostics> {
        let (bodies, mut findings) = parse(source)?;
        let Declared { mut nodes, unusable, ids } = blocks::declare(bodies, rules, &mut findings);
        let mut broken = Vec::new();
        for node in &mut nodes {
            let links = links::follow(&node.block, &ids, rules, &mut findings);
            node.dependencies = links.dependencies;
            broken.extend(links.broken);
        }
        for block in &unusable {
            // Only for what else is wrong with it.
            links::follow(block, &ids, rules, &mut findings);
        }
        let order = cycles::order(&nodes, &mut findings);
        findings.sort_by_place();
        Ok((Self { nodes, broken, findings }, order))
    }

    /// Decodes every block, with what components will export left open.
    fn check_values(&mut self, scope: &Scope) {
        let ids = self.nodes.iter().map(|node| &node.id).chain(&self.broken).cloned();
        let scope = scope.clone().awaiting(ids);
        for node in &self.nodes {
            self.findings.extend(node.kind.decode(&node.block, &scope).err().unwrap_or_default());
        }
        self.findings.sort_by_place();
    }
}

fn parse(source: &Source) -> Result<(Vec<ast::Body>, Diagnostics), Diagnostics> {
    let mut findings = Diagnostics::new();
    let mut bodies = Vec::new();
    for (name, text) in source.files() {
        let (file, found) = syntax::parse(name, text);
        bodies.push(file.body);
        findings.extend(found);
    }
    if findings.has_errors() { Err(findings) } else { Ok((bodies, findings)) }
}

/// The blocks of a source, sorted out.
struct Declared {
    /// Those that can become nodes; what they refer to is not yet known.
    nodes: Vec<PlannedNode>,
    /// Those that can't, but whose expressions can be checked.
    unusable: Vec<ast::Block>,
    ids: Ids,
}

/// Local IDs; those of blocks that can't be used are there too, so that references to them are no further errors.
type Ids = HashMap<Arc<str>, IdKind>;

/// What an ID of the source belongs to.
#[derive(Clone, Copy)]
enum IdKind {
    /// A component that can be referred to.
    Node(&'static Registration),
    /// A block that is in error itself.
    Unusable,
    /// A config block: exports nothing.
    Setting,
}
