//! `coalesce`, `convert.nonsensitive`.

use super::Arguments;
use crate::value::{CallError, Secret, Value};

/// The first argument that is neither null nor empty, else the last one, else null.
pub(super) fn coalesce(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let found = arguments.0.iter().find(|value| !is_zero(value)).or(arguments.0.last());
    Ok(found.cloned().unwrap_or_default())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => number.is_zero(),
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Function(_) => false,
        Value::Capsule(capsule) => capsule.to_object().is_some_and(|object| object.is_empty()),
        Value::Secret(secret) => secret.is_empty(),
        Value::OptionalSecret(optional) => optional.is_empty(),
    }
}

/// The text of a secret, in the open. Plain strings are accepted.
pub(super) fn nonsensitive(arguments: Arguments<'_>) -> Result<Value, CallError> {
    arguments.values::<1>()?;
    let secret: Secret = arguments.get(0)?;
    Ok(Value::String(secret.expose().into()))
}
