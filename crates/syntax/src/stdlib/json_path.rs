//! `json_path`: what a path finds in a JSON text.

use jsonpath_rust::JsonPath as _;

use super::Arguments;
use super::arguments::bad_argument;
use super::json::{natural, parsed, value};
use crate::value::{CallError, Value};

/// Longest path that is parsed: the parser recurses.
const MAX_PATH: usize = 2048;

/// `json_path(json, path)`: always an array. A leading `$` can be left out; names after a dot may hold dashes and the
/// like, as in Alloy's dialect.
pub(super) fn json_path(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [json, path] = arguments.texts()?;
    if path.len() > MAX_PATH {
        return Err(bad_argument(1, format!("is longer than {MAX_PATH} bytes")));
    }
    let json = parsed(&json)?;
    if path.is_empty() {
        return Ok(Value::array(Vec::new()));
    }
    let path = portable(path.trim());
    let found = json.query(&path).map_err(|error| {
        // The message spans lines; the last one says what was expected.
        let error = error.to_string();
        let expected = error.lines().last().unwrap_or_default().trim_start_matches([' ', '=']);
        bad_argument(1, format!("is not a valid JSONPath: {expected}"))
    })?;
    let items = found.into_iter().map(|item| value(item.clone(), &natural));
    Ok(Value::array(items.collect()))
}

/// The path in the spelling of RFC 9535: begins with `$`, unusual names in brackets.
fn portable(path: &str) -> String {
    let mut rest = path.strip_prefix(['$', '@']).unwrap_or(path);
    let mut portable = "$".to_owned();
    if rest.starts_with(|first| !matches!(first, '.' | '[')) {
        rest = push_name(&mut portable, ".", rest);
    }
    while let Some(first) = rest.chars().next() {
        if first == '[' {
            let (inside, after) = rest.split_at(bracket_end(rest));
            portable.push_str(inside);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("..") {
            rest = push_name(&mut portable, "..", after);
        } else if let Some(after) = rest.strip_prefix('.') {
            rest = push_name(&mut portable, ".", after);
        } else {
            portable.push_str(rest);
            rest = "";
        }
    }
    portable
}

/// Takes the name at the beginning of `rest`, and writes it as `.name` or `['name']`.
fn push_name<'a>(portable: &mut String, dots: &str, rest: &'a str) -> &'a str {
    let (name, after) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
    let plain = name.chars().all(|character| character == '_' || character.is_alphanumeric())
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if name.is_empty() && rest.starts_with('[') {
        portable.push_str(if dots == ".." { ".." } else { "" });
    } else if plain || name == "*" {
        portable.push_str(dots);
        portable.push_str(name);
    } else {
        portable.push_str(if dots == ".." { ".." } else { "" });
        portable.push_str(&format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")));
    }
    after
}

/// How far a bracket reaches: to its partner, whatever quotes and brackets are inside.
fn bracket_end(text: &str) -> usize {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (index, character) in text.char_indices() {
        match (quote, character) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') => depth -= 1,
            (None, _) => {}
        }
        if depth == 0 {
            return index + character.len_utf8();
        }
    }
    text.len()
}
