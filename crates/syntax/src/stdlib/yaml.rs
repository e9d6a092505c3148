//! `encoding.from_yaml`.

use super::Arguments;
use super::arguments::bad_argument;
use super::json::{natural, value};
use crate::value::{CallError, Value};

/// `from_yaml(text)`: integers stay integers, unlike those of JSON.
pub(super) fn from_yaml(arguments: Arguments<'_>) -> Result<Value, CallError> {
    let [text] = arguments.texts()?;
    // YAML 1.2 booleans, leading zeros as octal, as the Go library of Alloy reads them.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        legacy_octal_numbers: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    let parsed: serde_json::Value = serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let error = error.to_string();
        bad_argument(0, format!("is not valid YAML: {}", error.lines().next().unwrap_or_default()))
    })?;
    Ok(value(parsed, &natural))
}
