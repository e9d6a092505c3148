//! `value.name` and `value[index]`.

use super::{Failure, fail, fail_on};
use crate::ast::{Expr, Ident};
use crate::diagnostics::Diagnostic;
use crate::suggest::did_you_mean;
use crate::value::{Object, Value};

pub(super) fn field(expr: &Expr, value: &Value, name: &Ident) -> Result<Value, Failure> {
    match value {
        Value::Object(object) => object.get(&name.name).cloned().ok_or_else(|| missing(expr, object, name)),
        Value::Capsule(capsule) => match capsule.to_object() {
            Some(object) => capsule.field(&name.name).ok_or_else(|| missing(expr, &object, name)),
            None => Err(not_readable(expr, value)),
        },
        Value::Secret(_) | Value::OptionalSecret(_) => Err(not_readable(expr, value)),
        other => {
            let reason = format!("cannot access field {:?} on value of type {}", name.name, other.kind());
            Err(fail_on(expr, &reason))
        }
    }
}

fn missing(expr: &Expr, object: &Object, name: &Ident) -> Failure {
    let error = Diagnostic::error(&expr.file, name.span, format!("field {:?} does not exist", name.name));
    Box::new(error.with_help(did_you_mean(&name.name, object.names())))
}

fn not_readable(expr: &Expr, value: &Value) -> Failure {
    let reason = "expected object or array or a capsule convertible to an object, got";
    fail_on(expr, &format!("{reason} {}", value.kind()))
}

/// Arrays by number, objects and what can be read as one by string: a missing name yields null.
pub(super) fn index((expr, value): (&Expr, &Value), (index_expr, index): (&Expr, &Value)) -> Result<Value, Failure> {
    match value {
        Value::Array(items) => item(items, index_expr, index),
        Value::Object(object) => Ok(object.get(&key(index_expr, index)?).cloned().unwrap_or_default()),
        Value::Capsule(capsule) if capsule.to_object().is_some() => Ok(capsule.field(&key(index_expr, index)?).unwrap_or_default()),
        Value::Capsule(_) | Value::Secret(_) | Value::OptionalSecret(_) => Err(not_readable(expr, value)),
        other => Err(fail_on(expr, &format!("expected object or array, got {}", other.kind()))),
    }
}

fn item(items: &[Value], index_expr: &Expr, index: &Value) -> Result<Value, Failure> {
    let Value::Number(number) = index else {
        return Err(fail_on(index_expr, &format!("should be number, got {}", index.kind())));
    };
    let index = number.to_i64();
    usize::try_from(index)
        .ok()
        .and_then(|index| items.get(index))
        .cloned()
        .ok_or_else(|| fail_on(index_expr, &format!("index {index} is out of range of array with length {}", items.len())))
}

fn key(index_expr: &Expr, index: &Value) -> Result<String, Failure> {
    match index {
        Value::String(text) => Ok(text.to_string()),
        Value::Bytes(_) => Err(fail(index_expr, index_expr.span, "the key is not valid UTF-8 text")),
        other => Err(fail_on(index_expr, &format!("should be string, got {}", other.kind()))),
    }
}
