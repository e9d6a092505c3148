//! `encoding.from_json`, `encoding.to_json`.

use serde_json::Value as Json;

use super::arguments::bad_argument;
use super::{Arguments, object_from};
use crate::convert::text_from_value;
use crate::value::{CallError, Number, Value};

/// `from_json(text)`: all numbers are floats, as in Alloy.
pub(super) fn from_json(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [text] = arguments.texts()?;
    let json = parsed(&text)?;
    Ok(value(json, &|number| Number::Float(number.as_f64().unwrap_or_default())))
}

/// A text as JSON, at most 128 levels deep.
pub(super) fn parsed(text: &str) -> Result<Json, CallError> {
    serde_json::from_str(text).map_err(|error| bad_argument(0, format!("is not valid JSON: {error}")))
}

/// JSON as a value.
pub(super) fn value(json: Json, number: &dyn Fn(&serde_json::Number) -> Number) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(found) => Value::Number(number(&found)),
        Json::String(text) => Value::String(text.into()),
        Json::Array(items) => Value::array(items.into_iter().map(|item| value(item, number)).collect()),
        Json::Object(fields) => object_from(fields.into_iter().map(|(name, field)| (name, value(field, number)))),
    }
}

/// Integers stay integers.
pub(super) fn natural(number: &serde_json::Number) -> Number {
    match (number.as_i64(), number.as_u64()) {
        (Some(number), _) => Number::Int(number),
        (None, Some(number)) => Number::Uint(number),
        (None, None) => Number::Float(number.as_f64().unwrap_or_default()),
    }
}

/// `to_json(object)`: keys sorted; secrets are refused.
pub(super) fn to_json(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [value] = arguments.values()?;
    let Value::Object(_) = value else {
        return Err(bad_argument(0, format!("should be object, got {}", value.kind())));
    };
    let mut json = String::new();
    write(&mut json, value).map_err(|reason| bad_argument(0, reason))?;
    Ok(Value::String(json.into()))
}

fn write(out: &mut String, value: &Value) -> Result<(), String> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(Number::Float(number)) => out.push_str(&float(*number)?),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write(out, item)?;
            }
            out.push(']');
        }
        Value::Function(_) => return Err("holds a function, which JSON cannot".to_owned()),
        Value::Object(_) | Value::Capsule(_) => {
            let object = value.to_object().ok_or_else(|| format!("holds a {}, which JSON cannot", value.described()))?;
            out.push('{');
            for (index, (name, field)) in object.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                out.push_str(&string(name));
                out.push(':');
                write(out, field)?;
            }
            out.push('}');
        }
        text => out.push_str(&string(&text_from_value(text).map_err(|error| error.to_string())?)),
    }
    Ok(())
}

/// As Go writes floats to JSON: with an exponent only outside of 1e-6 to 1e21.
fn float(number: f64) -> Result<String, String> {
    if !number.is_finite() {
        return Err(format!("JSON cannot hold {number}"));
    }
    if number == 0.0 || (1e-6..1e21).contains(&number.abs()) {
        return Ok(number.to_string());
    }
    let text = format!("{number:e}");
    Ok(if text.contains("e-") { text } else { text.replace('e', "e+") })
}

/// A text in quotes. Go escapes what could be taken for markup.
fn string(text: &str) -> String {
    let quoted = Json::from(text).to_string();
    let mut escaped = String::with_capacity(quoted.len());
    for character in quoted.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => escaped.push(other),
        }
    }
    escaped
}
