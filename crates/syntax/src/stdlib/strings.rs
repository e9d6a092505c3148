//! `string.*`: Go's functions on texts.

use super::{Arguments, sprintf};
use crate::eval::MAX_TEXT_BYTES;
use crate::value::{CallError, Secret, Value};

fn text(text: impl AsRef<str>) -> Value {
    Value::String(text.as_ref().into())
}

/// A text of a known length, unless it would be too long.
fn bounded(length: usize, build: impl FnOnce() -> String) -> Result<Value, CallError> {
    if length > MAX_TEXT_BYTES {
        return Err(CallError::Other(format!("yields more than {MAX_TEXT_BYTES} bytes")));
    }
    Ok(text(build()))
}

/// `format(format, arguments…)`: Go's `Sprintf`, which never fails. With secrets among the arguments, the result is a
/// secret (Alloy would tell them).
pub(super) fn format(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let Some((_, rest)) = arguments.0.split_first() else {
        return Err(CallError::ArityAtLeast { expected: 1, got: 0 });
    };
    let format: String = arguments.get(0)?;
    let formatted = sprintf::sprintf(&format, rest);
    if formatted.len() > MAX_TEXT_BYTES {
        return Err(CallError::Other(format!("yields more than {MAX_TEXT_BYTES} bytes")));
    }
    let hidden = rest.iter().any(sprintf::holds_secret);
    Ok(if hidden { Value::Secret(Secret::new(formatted)) } else { text(formatted) })
}

/// `join(texts, separator)`
pub(super) fn join(arguments: Arguments<'_>) -> Result<Value, CallError> {
    arguments.values::<2>()?;
    let parts: Vec<String> = arguments.get(0)?;
    let separator: String = arguments.get(1)?;
    let length = parts.iter().map(|part| part.len() + separator.len()).sum();
    bounded(length, || parts.join(&separator))
}

/// `replace(text, old, new)`: all occurrences; an empty `old` is found around every character.
pub(super) fn replace(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [whole, old, new] = arguments.texts()?;
    let occurrences = whole.matches(&*old).count();
    let length = (whole.len() - occurrences * old.len()).saturating_add(occurrences.saturating_mul(new.len()));
    bounded(length, || whole.replace(&*old, &new))
}

/// `split(text, separator)`: an empty separator splits into characters.
pub(super) fn split(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [whole, separator] = arguments.texts()?;
    let parts: Vec<Value> = if separator.is_empty() {
        whole.chars().map(|character| text(character.encode_utf8(&mut [0; 4]))).collect()
    } else {
        whole.split(&*separator).map(text).collect()
    };
    Ok(Value::array(parts))
}

/// `to_lower(text)`: character by character, as Go does.
pub(super) fn to_lower(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [whole] = arguments.texts()?;
    Ok(text(whole.chars().map(|character| character.to_lowercase().next().unwrap_or(character)).collect::<String>()))
}

/// `to_upper(text)`: character by character, as Go does; those that would become several stay.
pub(super) fn to_upper(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [whole] = arguments.texts()?;
    let upper = |character: char| {
        let mut mapped = character.to_uppercase();
        if mapped.len() == 1 { mapped.next().unwrap_or(character) } else { character }
    };
    Ok(text(whole.chars().map(upper).collect::<String>()))
}

/// `trim(text, cutset)`: takes all characters of the cutset off both ends.
pub(super) fn trim(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [whole, cutset] = arguments.texts()?;
    Ok(text(whole.trim_matches(|character| cutset.contains(character))))
}

/// `trim_prefix(text, prefix)`: once.
pub(super) fn trim_prefix(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [whole, prefix] = arguments.texts()?;
    Ok(text(whole.strip_prefix(&*prefix).unwrap_or(&whole)))
}

/// `trim_suffix(text, suffix)`: once.
pub(super) fn trim_suffix(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [whole, suffix] = arguments.texts()?;
    Ok(text(whole.strip_suffix(&*suffix).unwrap_or(&whole)))
}

/// `trim_space(text)`
pub(super) fn trim_space(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [whole] = arguments.texts()?;
    Ok(text(whole.trim()))
}
