//! Bodies and values in the shape of Alloy's HTTP API (`spec/language.md` §6).

use serde_json::{Value as Json, json};

use crate::block::Statement;
use crate::value::{Number, Value};

/// A body: an array of `{name, type: "attr", value}` and `{name, type: "block", label?, body}`.
#[must_use]
pub fn statements(body: &[Statement]) -> Json {
    body.iter().map(statement).collect()
}

fn statement(statement: &Statement) -> Json {
    match statement {
        Statement::Attribute { name, value: of } => json!({ "name": name, "type": "attr", "value": value(of) }),
        Statement::Block { name, label: None, body } => {
            json!({ "name": name, "type": "block", "body": statements(body) })
        }
        Statement::Block { name, label: Some(label), body } => {
            json!({ "name": name, "type": "block", "label": label, "body": statements(body) })
        }
    }
}

/// A value: `{type, value}`; secrets and capsules as text.
#[must_use]
pub fn value(of: &Value) -> Json {
    let content = match of {
        Value::Null => Json::Null,
        Value::Number(Number::Int(number)) => json!(number),
        Value::Number(Number::Uint(number)) => json!(number),
        Value::Number(Number::Float(number)) => json!(number),
        Value::String(text) => json!(&**text),
        Value::Bytes(bytes) => json!(String::from_utf8_lossy(bytes)),
        Value::Bool(flag) => json!(flag),
        Value::Array(items) => items.iter().map(value).collect(),
        Value::Object(object) => object.iter().map(|(key, field)| json!({ "key": &**key, "value": value(field) })).collect(),
        Value::Function(_) => json!("function"),
        Value::Capsule(capsule) => json!(capsule.display()),
        Value::Secret(secret) => json!(secret.to_string()),
        Value::OptionalSecret(optional) => match optional.shown() {
            Some(text) => return json!({ "type": "string", "value": text }),
            None => json!(optional.to_string()),
        },
    };
    json!({ "type": of.kind(), "value": content })
}
