//! Values as source text.

use std::fmt::{self, Formatter, Write};

use crate::value::Value;

/// Writes a value as the language spells it, on one line.
pub(crate) fn write_value(f: &mut Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Null => f.write_str("null"),
        Value::Number(number) => write!(f, "{number}"),
        Value::String(text) => f.write_str(&quoted(text)),
        Value::Bytes(bytes) => f.write_str(&quoted(&String::from_utf8_lossy(bytes))),
        Value::Bool(flag) => write!(f, "{flag}"),
        Value::Array(items) => {
            f.write_char('[')?;
            for (index, item) in items.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { ", " })?;
                write_value(f, item)?;
            }
            f.write_char(']')
        }
        Value::Object(object) => {
            f.write_char('{')?;
            for (index, (key, field)) in object.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { ", " })?;
                write!(f, "{} = ", key_text(key))?;
                write_value(f, field)?;
            }
            f.write_char('}')
        }
        Value::Function(function) => write!(f, "function({:?})", function.name()),
        Value::Capsule(capsule) => f.write_str(&capsule.display()),
        Value::Secret(secret) => write!(f, "{secret}"),
        Value::OptionalSecret(optional) => match optional.shown() {
            Some(text) => f.write_str(&quoted(text)),
            None => write!(f, "{optional}"),
        },
    }
}

/// A key as it must be written: bare if it is an identifier, raw if it needs escapes, which quoted keys do not have.
pub(crate) fn key_text(key: &str) -> String {
    let needs_escapes = key.contains(|character: char| matches!(character, '"' | '\\') || character.is_control());
    if crate::lexer::is_identifier(key) {
        key.to_owned()
    } else if needs_escapes && !key.contains('`') {
        format!("`{key}`")
    } else {
        quoted(key)
    }
}

/// A text in double quotes with the escapes that it needs.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other if other.is_control() || other == '\u{feff}' => quoted.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
