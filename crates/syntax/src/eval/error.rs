//! Errors about values, pointed at the part of the source that the value came from.

use crate::ast::{Expr, ExprKind};
use crate::convert::{PathSegment, ValueError};
use crate::diagnostics::Diagnostic;
use crate::format::expression_text;
use crate::position::Span;

/// Boxed, since results are passed up through deep recursion.
pub(crate) type Failure = Box<Diagnostic>;

/// Expressions longer than this are cut in messages; the excerpt shows them whole.
const MAX_SHOWN: usize = 120;

/// `message` at a place.
pub(crate) fn fail(expr: &Expr, span: Span, message: impl Into<String>) -> Failure {
    Box::new(Diagnostic::error(&expr.file, span, message))
}

/// The expression's text and what is wrong with it.
pub(crate) fn fail_on(expr: &Expr, reason: &str) -> Failure {
    fail(expr, expr.span, format!("{} {reason}", shown(expr)))
}

/// A conversion error: `key_value.object.field1[2] should be number, got string`. As far as the way to the wrong part
/// leads through literals, the part itself is pointed at.
pub(crate) fn conversion_error(expr: &Expr, error: &ValueError) -> Diagnostic {
    let (part, path) = narrowed(expr, error.path());
    let path: String = path.iter().map(ToString::to_string).collect();
    let message = format!("{}{path} {}", shown(part), error.reason());
    Diagnostic::error(&part.file, part.span, message)
}

/// As [`conversion_error`], in the words of the static check.
pub(crate) fn static_error(expr: &Expr, error: &ValueError) -> Diagnostic {
    let (part, _) = narrowed(expr, error.path());
    Diagnostic::error(&part.file, part.span, error.static_reason())
}

/// As [`conversion_error`] for a secret's expression, whose text is not shown.
pub(crate) fn secret_error(name: &str, expr: &Expr, error: &ValueError) -> Diagnostic {
    let path: String = error.path().iter().map(ToString::to_string).collect();
    Diagnostic::error(&expr.file, expr.span, format!("{name}{path} {}", error.reason()))
}

fn narrowed<'a, 'p>(mut expr: &'a Expr, mut path: &'p [PathSegment]) -> (&'a Expr, &'p [PathSegment]) {
    loop {
        let inner = match (&expr.kind, path.first()) {
            (ExprKind::Paren(inner), Some(_)) => {
                expr = inner;
                continue;
            }
            (ExprKind::Array(items), Some(PathSegment::Index(index))) => items.get(*index),
            (ExprKind::Object(fields), Some(PathSegment::Field(name))) => {
                fields.iter().rev().find(|field| *field.key.name == **name).map(|field| &field.value)
            }
            _ => None,
        };
        let Some(inner) = inner else { return (expr, path) };
        expr = inner;
        path = path.get(1..).unwrap_or_default();
    }
}

fn shown(expr: &Expr) -> String {
    let text = expression_text(expr);
    let first = text.lines().next().unwrap_or_default();
    let cut: String = first.chars().take(MAX_SHOWN).collect();
    if cut.len() < text.len() { format!("{cut} …") } else { text }
}
