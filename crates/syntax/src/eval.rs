//! Evaluates expressions.

use crate::ast::Expr;
use crate::convert::ValueError;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::scope::Scope;
use crate::value::Value;

/// Evaluates an expression.
///
/// # Errors
/// What is wrong, and where in the expression.
pub fn eval(expr: &Expr, scope: &Scope) -> Result<Value, Diagnostics> {
    evaluate(expr, scope).map_err(|diagnostic| (*diagnostic).into())
}

pub(crate) fn evaluate(expr: &Expr, _scope: &Scope) -> Result<Value, Box<Diagnostic>> {
    Err(Box::new(Diagnostic::error(&expr.file, expr.span, "evaluation is not there yet")))
}

pub(crate) fn conversion_error(expr: &Expr, error: &ValueError) -> Diagnostic {
    Diagnostic::error(&expr.file, expr.span, error.to_string())
}
