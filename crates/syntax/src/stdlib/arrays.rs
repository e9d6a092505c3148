//! `array.*`

use std::collections::HashMap;
use std::sync::Arc;

use super::arguments::bad_argument;
use super::{Arguments, object_from};
use crate::convert::ValueError;
use crate::value::{CallError, Number, Object, Value};

/// Most items that a function yields: pairs of two lists multiply.
const MAX_ITEMS: usize = 4_000_000;

/// `concat(arrays…)`
pub(super) fn concat(arguments: Arguments<'_>) -> Result<Value, CallError> {
    if let [Value::Array(_)] = arguments.0 {
        return Ok(arguments.0[0].clone());
    }
    let mut all = Vec::new();
    for index in 0..arguments.0.len() {
        all.extend_from_slice(arguments.array(index)?);
    }
    Ok(Value::array(all))
}

/// The items of an argument as objects; targets can be read as such.
fn objects(arguments: Arguments<'_>, index: usize) -> Result<Vec<Arc<Object>>, CallError> {
    let object = |(at, item): (usize, &Value)| {
        item.to_object().ok_or_else(|| {
            let error = ValueError::mismatch("object", item).at_index(at);
            CallError::Argument { index, error }
        })
    };
    arguments.array(index)?.iter().enumerate().map(object).collect()
}

/// `combine_maps(left, right, keys, [passthrough])`: for every pair whose values are equal under all keys, both
/// objects in one, where the right one wins. With `passthrough`, the left object for every other pair.
pub(super) fn combine_maps(arguments: Arguments<'_>) -> Result<Value, CallError> {
    if !(3..=4).contains(&arguments.0.len()) {
        return Err(CallError::Other(format!("expected 3 or 4 args, got {}", arguments.0.len())));
    }
    let (left, right) = (objects(arguments, 0)?, objects(arguments, 1)?);
    arguments.array(2)?;
    let keys: Vec<String> = arguments.get(2)?;
    if keys.is_empty() {
        return Err(bad_argument(2, "must not be empty: it lists the keys to compare"));
    }
    let passthrough = if arguments.0.len() == 4 { arguments.flag(3)? } else { false };

    let mut combined = Vec::new();
    for (index, one) in left.iter().enumerate() {
        for other in &right {
            if keys.iter().all(|key| one.get(key).zip(other.get(key)).is_some_and(|(a, b)| same(a, b))) {
                combined.push(merged(one, other));
            } else if passthrough {
                combined.extend(arguments.array(0)?.get(index).cloned());
            }
            if combined.len() > MAX_ITEMS {
                return Err(CallError::Other(format!("yields more than {MAX_ITEMS} items")));
            }
        }
    }
    Ok(Value::array(combined))
}

/// Unlike `==`, numbers of different kinds differ.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(Number::Int(left)), Value::Number(Number::Int(right))) => left == right,
        (Value::Number(Number::Uint(left)), Value::Number(Number::Uint(right))) => left == right,
        (Value::Number(Number::Float(left)), Value::Number(Number::Float(right))) => left == right,
        (Value::Number(_), Value::Number(_)) => false,
        _ => left == right,
    }
}

fn merged(left: &Object, right: &Object) -> Value {
    let fields = left.iter().chain(right.iter());
    object_from(fields.map(|(name, value)| (name.to_string(), value.clone())))
}

/// `group_by(objects, key, drop_missing)`: objects `{key = …, "items" = […]}` in order of first appearance.
pub(super) fn group_by(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [_, key, _] = arguments.values()?;
    let objects = objects(arguments, 0)?;
    let Some(key) = key.as_str() else {
        return Err(CallError::Argument { index: 1, error: ValueError::mismatch("string", key) });
    };
    let drop_missing = arguments.flag(2)?;

    let mut groups: Vec<(Arc<str>, Vec<Value>)> = Vec::new();
    let mut places: HashMap<Arc<str>, usize> = HashMap::new();
    for (index, object) in objects.into_iter().enumerate() {
        let name = match object.get(key) {
            Some(Value::String(name)) => name.clone(),
            Some(other) => {
                let error = ValueError::mismatch("string", other).in_field(key).at_index(index);
                return Err(CallError::Argument { index: 0, error });
            }
            None if drop_missing => continue,
            None => "".into(),
        };
        let place = *places.entry(name.clone()).or_insert_with(|| {
            groups.push((name, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(Value::Object(object));
    }
    let group = |(name, items)| object_from([(key.to_owned(), Value::String(name)), ("items".to_owned(), Value::array(items))]);
    Ok(Value::array(groups.into_iter().map(group).collect()))
}
