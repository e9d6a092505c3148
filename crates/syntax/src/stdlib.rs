//! The standard library (`spec/language.md` §2): namespaces of functions, constants, and the deprecated names at top
//! level.

mod arguments;
mod arrays;
mod conversions;
mod encoding;
mod json;
mod json_path;
mod sprintf;
mod stability;
mod strings;
mod system;
mod yaml;

pub use stability::Stability;

use crate::references::Reference;
use crate::scope::Scope;
use crate::value::{CallError, Function, Object, Value};
use arguments::Arguments;

/// What the standard library depends on.
#[derive(Clone, Debug, Default)]
pub struct StdlibOptions {
    /// Functions below this level are refused.
    pub stability: Stability,
    /// `constants.version`, with or without the leading `v`; empty becomes `v0.0.0`.
    pub version: String,
}

type Body = fn(Arguments<'_>) -> Result<Value, CallError>;

/// Functions by full name. Those without a dot are at top level.
const FUNCTIONS: [(&str, Body); 27] = [
    ("array.combine_maps", arrays::combine_maps),
    ("array.concat", arrays::concat),
    ("array.group_by", arrays::group_by),
    ("coalesce", conversions::coalesce),
    ("convert.nonsensitive", conversions::nonsensitive),
    ("encoding.from_URLbase64", encoding::from_url_base64),
    ("encoding.from_base64", encoding::from_base64),
    ("encoding.from_json", json::from_json),
    ("encoding.from_yaml", yaml::from_yaml),
    ("encoding.to_URLbase64", encoding::to_url_base64),
    ("encoding.to_base64", encoding::to_base64),
    ("encoding.to_json", json::to_json),
    ("encoding.url_decode", encoding::url_decode),
    ("encoding.url_encode", encoding::url_encode),
    ("file.path_join", system::path_join),
    ("json_path", json_path::json_path),
    ("string.format", strings::format),
    ("string.join", strings::join),
    ("string.replace", strings::replace),
    ("string.split", strings::split),
    ("string.to_lower", strings::to_lower),
    ("string.to_upper", strings::to_upper),
    ("string.trim", strings::trim),
    ("string.trim_prefix", strings::trim_prefix),
    ("string.trim_space", strings::trim_space),
    ("string.trim_suffix", strings::trim_suffix),
    ("sys.env", system::env),
];

/// Functions that are not settled yet.
const EXPERIMENTAL: [&str; 2] = ["array.combine_maps", "array.group_by"];

/// Names that were at top level before there were namespaces.
const DEPRECATED: [(&str, &str); 16] = [
    ("base64_decode", "encoding.from_base64"),
    ("concat", "array.concat"),
    ("env", "sys.env"),
    ("format", "string.format"),
    ("join", "string.join"),
    ("json_decode", "encoding.from_json"),
    ("nonsensitive", "convert.nonsensitive"),
    ("replace", "string.replace"),
    ("split", "string.split"),
    ("to_lower", "string.to_lower"),
    ("to_upper", "string.to_upper"),
    ("trim", "string.trim"),
    ("trim_prefix", "string.trim_prefix"),
    ("trim_space", "string.trim_space"),
    ("trim_suffix", "string.trim_suffix"),
    ("yaml_decode", "encoding.from_yaml"),
];

/// The scope that holds the standard library. Using a deprecated name leaves a warning in the scope's
/// [`crate::Warnings`].
#[must_use]
pub fn root(options: &StdlibOptions) -> Scope {
    let mut scope = Scope::new().with("constants", Value::object(system::constants(&options.version)));
    for (name, body) in FUNCTIONS {
        let path: Vec<&str> = name.split('.').collect();
        let function = Value::Function(function(name, body, options.stability));
        if let Some((alias, _)) = DEPRECATED.iter().find(|(_, replacement)| *replacement == name) {
            scope.insert_deprecated(alias, function.clone(), name);
        }
        scope.insert_path(&path, function);
    }
    scope
}

fn function(name: &'static str, body: Body, minimum: Stability) -> Function {
    match gate_of(name, minimum) {
        Some(message) => Function::new(name, move |_| Err(CallError::Other(message.clone()))),
        None => Function::new(name, move |arguments| body(Arguments(arguments))),
    }
}

/// Why the function `array.group_by` may not be used at the given level.
fn gate_of(name: &str, minimum: Stability) -> Option<String> {
    let level = if EXPERIMENTAL.contains(&name) { Stability::Experimental } else { Stability::GenerallyAvailable };
    level.gate(&format!("function {name:?}"), minimum)
}

/// Whether a name is one of the standard library at top level, deprecated ones included.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name == "constants" || FUNCTIONS.iter().any(|(full, _)| full.split('.').next() == Some(name)) || replacement(name).is_some()
}

/// What to use in place of a deprecated name at top level.
#[must_use]
pub fn replacement(name: &str) -> Option<&'static str> {
    DEPRECATED.iter().find(|(alias, _)| *alias == name).map(|(_, replacement)| *replacement)
}

/// Why a reference to the standard library may not be used at the given level: for telling at load, before anything is
/// evaluated.
#[must_use]
pub fn gate(reference: &Reference, minimum: Stability) -> Option<String> {
    let [(namespace, _), (name, _), ..] = reference.path.as_slice() else { return None };
    gate_of(&format!("{namespace}.{name}"), minimum)
}

/// Converts what a function built from parts of a value: the fields of an object.
fn object_from(fields: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::object(fields.into_iter().collect::<Object>())
}
