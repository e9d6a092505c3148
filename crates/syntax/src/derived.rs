//! What the code written by the derives calls. Not for use by hand.

use std::sync::Arc;

use crate::block::{Block, BlockEnum, Statement};
use crate::convert::ValueError;
use crate::value::{Object, Value};

/// Adds an attribute unless it has its default.
pub fn push_attribute(body: &mut Vec<Statement>, name: &str, value: Value, default: &Value) {
    if value != *default {
        body.push(Statement::attribute(name, value));
    }
}

/// Adds a block unless it has its default.
pub fn push_block<T: Block>(body: &mut Vec<Statement>, name: &str, block: &T, default: Option<T>) {
    let nested = block.to_body();
    if default.is_none_or(|default| default.to_body() != nested) {
        body.push(Statement::block(name, block.label_text(), nested));
    }
}

/// Each block as an object with one field, named like the block.
pub fn enum_blocks_value<T: BlockEnum>(blocks: &[T]) -> Value {
    let items = blocks.iter().map(|block| Value::object(Object::from_iter([block.to_named_value()])));
    Value::array(items.collect())
}

/// The fields of an object that may only have the given ones; null has none.
///
/// # Errors
/// It is no object, or has another field.
pub fn object_of(value: &Value, names: &[&str]) -> Result<Arc<Object>, ValueError> {
    if value.is_null() {
        return Ok(Arc::default());
    }
    let object = value.to_object().ok_or_else(|| ValueError::mismatch("object", value))?;
    let unknown = object.names().find(|name| !names.contains(name)).map(ValueError::missing_field);
    unknown.map_or(Ok(object), Err)
}
