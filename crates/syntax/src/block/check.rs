//! The static check: everything that can be said about a body without evaluating references.

use super::structure::{Structure, label_error};
use super::{Field, FieldKind, Schema};
use crate::ast::{Attribute, Block, Body, Expr, ExprKind};
use crate::convert::{Shape, TypeInfo, ValueError};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::eval::{evaluate, secret_error, static_error};
use crate::position::Span;
use crate::scope::Scope;
use crate::value::Value;

/// Checks a body against a schema: names, kinds, counts, what is missing, and the types of literals, in nested blocks,
/// too. Expressions with names in them are not evaluated. All errors are told at once: statements in source order,
/// then what is missing.
#[must_use]
pub fn check(schema: &Schema, body: &Body) -> Diagnostics {
    let header = Span::new(body.span.start, body.span.start);
    check_at(schema, body, header, Vec::new())
}

/// Checks the body of a block whose label is its caller's business. What is missing is told at the header.
#[must_use]
pub fn check_component(schema: &Schema, block: &Block) -> Diagnostics {
    check_at(schema, &block.body, block.header_span(), Vec::new())
}

/// Checks a nested block: its label as well.
#[must_use]
pub fn check_block(schema: &Schema, block: &Block) -> Diagnostics {
    let label = label_error(schema, block).into_iter().collect();
    check_at(schema, &block.body, block.header_span(), label)
}

fn check_at(schema: &Schema, body: &Body, header: Span, mut errors: Vec<Diagnostic>) -> Diagnostics {
    let mut structure = Structure::new(schema, body);
    errors.append(&mut structure.errors);
    for attribute in &structure.attributes {
        let field = schema.field(&attribute.name.name);
        if let Some(info) = field.and_then(|field| field.type_info.as_ref()).or(schema.map_of.as_ref()) {
            errors.extend(literal_error(attribute, info));
        }
    }
    for (name, block) in &structure.blocks {
        if let Some(nested) = schema.field(name).and_then(|field| field.nested) {
            errors.extend(check_block(nested(), block));
        }
    }
    errors.sort_by_key(|error| error.span.start.offset);
    let missing = schema.fields.iter().filter(|field| field.required && !is_there(field, body));
    let missing = missing.map(|field| Diagnostic::error(&body.file, header, missing_message(field)));
    errors.into_iter().chain(missing).collect()
}

/// Whether there is a statement of the field's name; its kind is checked elsewhere.
fn is_there(field: &Field, body: &Body) -> bool {
    field.kind == FieldKind::Label
        || body.attributes().any(|attribute| *attribute.name.name == *field.name)
        || body.blocks().any(|block| block.full_name() == field.name)
}

fn missing_message(field: &Field) -> String {
    let kind = if field.kind == FieldKind::Block { "block" } else { "attribute" };
    format!("missing required {kind} {:?}", field.name)
}

/// Why an attribute's value cannot fit, as far as its literals tell.
pub(super) fn literal_error(attribute: &Attribute, info: &TypeInfo) -> Option<Diagnostic> {
    let error = mismatch(&attribute.value, info)?;
    Some(match info.is_secret() {
        true => secret_error(&attribute.name.name, &attribute.value, &error),
        false => static_error(&attribute.value, &error),
    })
}

/// Why an expression cannot fit, as far as its literals tell.
fn mismatch(expr: &Expr, info: &TypeInfo) -> Option<ValueError> {
    if is_constant(expr) {
        // Errors of evaluation itself come up when the block is evaluated.
        let value = evaluate(expr, &Scope::new()).ok()?;
        return if value.is_null() { None } else { (info.check)(&value).err() };
    }
    match (&expr.kind, info.shape) {
        (ExprKind::Paren(inner), _) => mismatch(inner, info),
        (ExprKind::Array(items), Shape::Array(element)) => {
            let element = element();
            items.iter().enumerate().find_map(|(index, item)| Some(mismatch(item, &element)?.at_index(index)))
        }
        (ExprKind::Object(fields), Shape::Map(element)) => {
            let element = element();
            fields.iter().find_map(|field| Some(mismatch(&field.value, &element)?.in_field(&*field.key.name)))
        }
        (ExprKind::Array(_), Shape::Scalar | Shape::Map(_)) => Some(ValueError::mismatch(info.kind_name(), &Value::array(Vec::new()))),
        (ExprKind::Object(_), Shape::Scalar | Shape::Array(_)) => {
            Some(ValueError::mismatch(info.kind_name(), &Value::object(crate::Object::new())))
        }
        _ => None,
    }
}

/// Whether an expression has no names in it.
fn is_constant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Literal(_) => true,
        ExprKind::Identifier(_) | ExprKind::Access(..) | ExprKind::Index(..) | ExprKind::Call(..) => false,
        ExprKind::Array(items) => items.iter().all(is_constant),
        ExprKind::Object(fields) => fields.iter().all(|field| is_constant(&field.value)),
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => is_constant(inner),
        ExprKind::Binary(binary) => is_constant(&binary.left) && is_constant(&binary.right),
    }
}
