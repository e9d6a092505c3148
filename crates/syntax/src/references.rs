//! Which names expressions refer to: the edges of the component graph.

use std::sync::Arc;

use crate::ast::{Body, Expr, ExprKind, Ident, Stmt};
use crate::position::Span;

/// A maximal chain `name.field.field`; an index or call ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The file's name.
    pub file: Arc<str>,
    /// The fragments with their places; never empty.
    pub path: Vec<(String, Span)>,
}

impl Reference {
    /// The fragments joined by dots.
    #[must_use]
    pub fn dotted(&self) -> String {
        let names: Vec<&str> = self.path.iter().map(|(name, _)| name.as_str()).collect();
        names.join(".")
    }

    /// From the first to the last fragment.
    #[must_use]
    pub fn span(&self) -> Span {
        match (self.path.first(), self.path.last()) {
            (Some((_, first)), Some((_, last))) => first.to(*last),
            _ => Span::default(),
        }
    }
}

/// The references in an expression, in source order.
#[must_use]
pub fn references(expr: &Expr) -> Vec<Reference> {
    let mut found = Vec::new();
    walk(expr, &mut found);
    found
}

/// The references in all expressions of a body and its blocks, in source order.
#[must_use]
pub fn references_in_body(body: &Body) -> Vec<Reference> {
    let mut found = Vec::new();
    walk_body(body, &mut found);
    found
}

fn walk_body(body: &Body, found: &mut Vec<Reference>) {
    for statement in &body.statements {
        match statement {
            Stmt::Attribute(attribute) => walk(&attribute.value, found),
            Stmt::Block(block) => walk_body(&block.body, found),
        }
    }
}

fn walk(expr: &Expr, found: &mut Vec<Reference>) {
    match &expr.kind {
        ExprKind::Literal(_) => {}
        ExprKind::Identifier(_) | ExprKind::Access(..) => walk_chain(expr, found),
        ExprKind::Array(items) => items.iter().for_each(|item| walk(item, found)),
        ExprKind::Object(fields) => fields.iter().for_each(|field| walk(&field.value, found)),
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => walk(inner, found),
        ExprKind::Index(value, index) => {
            walk(value, found);
            walk(index, found);
        }
        ExprKind::Call(function, arguments) => {
            walk(function, found);
            arguments.iter().for_each(|argument| walk(argument, found));
        }
        ExprKind::Binary(binary) => {
            walk(&binary.left, found);
            walk(&binary.right, found);
        }
    }
}

/// Follows `a.b.c` down to its head; what is below the dots but no name (`f(x).b`) is walked by itself.
fn walk_chain(expr: &Expr, found: &mut Vec<Reference>) {
    let mut fields: Vec<&Ident> = Vec::new();
    let mut current = expr;
    while let ExprKind::Access(inner, name) = &current.kind {
        fields.push(name);
        current = inner;
    }
    let ExprKind::Identifier(head) = &current.kind else { return walk(current, found) };
    let mut path = vec![(head.to_string(), current.span)];
    path.extend(fields.into_iter().rev().map(|field| (field.name.to_string(), field.span)));
    found.push(Reference { file: expr.file.clone(), path });
}
