//! Resolves what expressions refer to: another block, the standard library, or nothing.

use std::sync::Arc;

use component::Registration;
use syntax::ast::Block;
use syntax::{Diagnostic, Diagnostics, Reference, nearest, references_in_body, stdlib};

use super::{Dependency, IdKind, Ids, Rules};
use crate::module::MODULE_PATH;

/// What the expressions of a block refer to.
#[derive(Default)]
pub(super) struct Links {
    /// Components.
    pub dependencies: Vec<Dependency>,
    /// Dotted names that can't be evaluated: an error about them has been noted, here or with what they stand for.
    pub broken: Vec<Arc<str>>,
}

/// Follows the references of a block. Notes what is refused or refers to nothing.
pub(super) fn follow(block: &Block, ids: &Ids, rules: &Rules, findings: &mut Diagnostics) -> Links {
    let mut links = Links::default();
    for reference in references_in_body(&block.body) {
        let error = match resolve(&reference, ids) {
            Resolved::Block { length, id, registration } => {
                add(&mut links.dependencies, id, &reference, length);
                findings.extend(missing_export(&reference, length, registration));
                continue;
            }
            Resolved::Unusable => None,
            Resolved::Ambient => match stdlib::gate(&reference, rules.stability) {
                Some(reason) => Some(Diagnostic::error(&reference.file, reference.span(), reason)),
                None => continue,
            },
            Resolved::Nothing => Some(unresolved(&reference, ids)),
        };
        findings.extend(error);
        links.broken.push(reference.dotted().into());
    }
    links
}

enum Resolved {
    /// The first `length` fragments are this ID.
    Block {
        length: usize,
        id: Arc<str>,
        registration: &'static Registration,
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
            Some((id, IdKind::Node(registration))) => return Resolved::Block { length: index + 1, id: id.clone(), registration },
            Some((_, IdKind::Unusable)) => return Resolved::Unusable,
            Some((_, IdKind::Setting)) | None => {}
        }
    }
    let head = reference.path.first().map_or("", |(name, _)| name.as_str());
    if head == MODULE_PATH || stdlib::is_name(head) { Resolved::Ambient } else { Resolved::Nothing }
}

/// What is wrong with a reference to something that the component never exports.
fn missing_export(reference: &Reference, length: usize, registration: &Registration) -> Option<Diagnostic> {
    let (name, span) = reference.path.get(length)?;
    let exports = (registration.exports)();
    if exports.map_of.is_some() || exports.field(name).is_some() {
        return None;
    }
    let help = nearest(exports.fields.iter().map(|field| (name.as_str(), field.name.as_str())));
    Some(Diagnostic::error(&reference.file, *span, format!("field {name:?} does not exist")).with_help(help))
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
    let components = ids.iter().filter(|(_, kind)| matches!(kind, IdKind::Node(_))).map(|(id, _)| &**id);
    let pairs = components.map(|id| (fragments(&dotted, id.split('.').count()), id));
    Diagnostic::error(&reference.file, reference.span(), message).with_help(nearest(pairs))
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
