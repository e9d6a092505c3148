//! From a source to a plan: which blocks there are, which of them refer to which, and in which order they can be evaluated. Everything
//! that can be wrong with the structure is found here, all at once; nothing is evaluated.

mod blocks;
mod cycles;
mod links;

use std::collections::HashMap;
use std::sync::Arc;

use component::Registration;
use syntax::{Diagnostics, Schema, Span, Stability, ast};

use crate::catalog::Catalog;
use crate::setting::Setting;
use crate::source::Source;

/// What a source may use.
pub(crate) struct Rules {
    /// The components that there are.
    pub catalog: Catalog,
    /// The lowest stability that may be used.
    pub stability: Stability,
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
    /// Parses and checks the structure.
    ///
    /// # Errors
    /// Everything that is wrong with it. If files don't parse, only that: the rest would be guesses.
    pub fn of(source: &Source, rules: &Rules) -> Result<Self, Diagnostics> {
        let (draft, order) = Draft::of(source, rules)?;
        if draft.findings.has_errors() {
            return Err(draft.findings);
        }
        let mut nodes: Vec<Option<PlannedNode>> = draft.nodes.into_iter().map(Some).collect();
        let nodes = order.into_iter().filter_map(|index| nodes.get_mut(index)?.take()).collect();
        Ok(Self { nodes, warnings: draft.findings })
    }
}

/// Checks a source as far as that is possible without evaluating anything: structure, and each block against its schema.
#[must_use]
pub fn validate(source: &Source, families: crate::Families, stability: Stability) -> Diagnostics {
    let rules = Rules { catalog: Catalog::new(families), stability };
    let draft = match Draft::of(source, &rules) {
        Ok((draft, _)) => draft,
        Err(findings) => return findings,
    };
    let mut findings = draft.findings;
    for node in &draft.nodes {
        findings.extend(syntax::check(node.kind.schema(), &node.block.body));
    }
    findings.sort_by_place();
    findings
}

/// What could be read of a source, with everything that is wrong with its structure.
struct Draft {
    /// In order of the source.
    nodes: Vec<PlannedNode>,
    findings: Diagnostics,
}

impl Draft {
    /// The draft and the evaluation order of its nodes; that is no order where there are cycles.
    fn of(source: &Source, rules: &Rules) -> Result<(Self, Vec<usize>), Diagnostics> {
        let (bodies, mut findings) = parse(source)?;
        let Declared { mut nodes, unusable, ids } = blocks::declare(bodies, rules, &mut findings);
        for node in &mut nodes {
            node.dependencies = links::dependencies(&node.block, &ids, rules, &mut findings);
        }
        for block in &unusable {
            // Only for what else is wrong with it.
            links::dependencies(block, &ids, rules, &mut findings);
        }
        let order = cycles::order(&nodes, &mut findings);
        findings.sort_by_place();
        Ok((Self { nodes, findings }, order))
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
#[derive(Clone, Copy, PartialEq, Eq)]
enum IdKind {
    /// A component that can be referred to.
    Node,
    /// A block that is in error itself.
    Unusable,
    /// A config block: exports nothing.
    Setting,
}
