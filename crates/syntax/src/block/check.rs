//! The static check: everything that can be said about a body without evaluating references.

use super::Schema;
use crate::ast;
use crate::diagnostics::Diagnostics;

/// Checks a body against a schema: names, kinds, counts, what is missing, and the types of literals.
#[must_use]
pub fn check(_schema: &Schema, _body: &ast::Body) -> Diagnostics {
    Diagnostics::new()
}

/// Checks a nested block: as [`check`], and its label.
#[must_use]
pub fn check_block(_schema: &Schema, _block: &ast::Block) -> Diagnostics {
    Diagnostics::new()
}
