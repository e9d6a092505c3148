//! Resolves what expressions refer to: another block, the standard library, or nothing.

use std::sync::Arc;

use syntax::ast::Block;
use syntax::{Diagnostic, Diagnostics, Reference, references_in_body, stdlib};

use super::{Dependency, IdKind, Ids, Rules};
use crate::module::MODULE_PATH;
use crate::nearest::did_you_mean;

/// The components that a block refers to. Notes what is refused or refers to nothing.
pub(super) fn dependencies(block: &Block, ids: &Ids, rules: &Rules, findings: &mut Diagnostics) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    for reference in references_in_body(&block.body) {
        match resolve(&reference, ids) {
            Resolved::Block { length, id } => add(&mut found, id, &reference, length),
            Resolved::Unusable => {}
            Resolved::Ambient => {
                if let Some(reason) = stdlib::gate(&reference, rules.stability) {
                    findings.push(Diagnostic::error(&reference.file, reference.span(), reason));
                }
            }
            Resolved::Nothing => findings.push(unresolved(&reference, ids)),
        }
    }
    found
}

enum Resolved {
    /// The first `length` fragments are this ID.
    Block {
        length: usize,
        id: Arc<str>,
    },
    /// A block that is in error itself.
    Unusable,
    /// The standard library or a variable.
    Ambient,
    Nothing,
}

/// The shortest beginning that is an ID wins; blocks win over the standard library.
fn resolve(reference: &Reference, ids: &Ids) -> Resolved {
    let mut beginning = String::new();
    for (index, (name, _)) in reference.path.iter().enumerate() {
        if index > 0 {
            beginning.push('.');
        }
        beginning.push_str(name);
        match ids.get_key_value(beginning.as_str()) {
            Some((id, IdKind::Node)) => return Resolved::Block { length: index + 1, id: id.clone() },
            Some((_, IdKind::Unusable)) => return Resolved::Unusable,
            Some((_, IdKind::Setting)) | None => {}
        }
    }
    let head = reference.path.first().map_or("", |(name, _)| name.as_str());
    if head == MODULE_PATH || stdlib::is_name(head) { Resolved::Ambient } else { Resolved::Nothing }
}

fn add(found: &mut Vec<Dependency>, id: Arc<str>, reference: &Reference, length: usize) {
    let fields: Vec<String> = reference.path.iter().skip(length).map(|(name, _)| name.clone()).collect();
    match found.iter_mut().find(|dependency| dependency.id == id) {
        Some(dependency) => dependency.fields.push(fields),
        None => found.push(Dependency { id, span: reference.span(), fields: vec![fields] }),
    }
}

fn unresolved(reference: &Reference, ids: &Ids) -> Diagnostic {
    let dotted = reference.dotted();
    let message = format!("component {dotted:?} does not exist or is out of scope");
    // An ID is compared with as many fragments as it has itself.
    let components = ids.iter().filter(|(_, kind)| **kind == IdKind::Node).map(|(id, _)| &**id);
    let pairs = components.map(|id| (fragments(&dotted, id.split('.').count()), id));
    Diagnostic::error(&reference.file, reference.span(), message).with_help(did_you_mean(pairs))
}

/// The first fragments of a dotted name.
fn fragments(dotted: &str, count: usize) -> &str {
    let end = dotted.match_indices('.').nth(count.saturating_sub(1)).map_or(dotted.len(), |(end, _)| end);
    dotted.get(..end).unwrap_or(dotted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fragments_are_cut_at_the_dots() {
        assert_eq!(fragments("a.b.c", 1), "a");
        assert_eq!(fragments("a.b.c", 2), "a.b");
        assert_eq!(fragments("a.b.c", 3), "a.b.c");
        assert_eq!(fragments("a.b.c", 4), "a.b.c");
    }
}
