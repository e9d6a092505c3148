//! Evaluates single expressions with the standard library in scope.

#![allow(dead_code, reason = "each test file uses a part")]

use syntax::{Diagnostics, Scope, Secret, Stability, StdlibOptions, Value, Warnings, stdlib};

/// The standard library with everything enabled, and some names of our own.
pub fn scope() -> Scope {
    let options = StdlibOptions { stability: Stability::Experimental, version: "1.2.3".to_owned() };
    stdlib::root(&options)
        .child()
        .with("secret", Value::Secret(Secret::new("hunter2")))
        .with("open", Value::OptionalSecret(syntax::OptionalSecret::plain("open")))
        .with("closed", Value::OptionalSecret(syntax::OptionalSecret::hidden("hunter3")))
}

/// Evaluates in a given scope.
pub fn evaluate_in(expression: &str, scope: &Scope) -> Result<Value, Diagnostics> {
    let (file, diagnostics) = syntax::parse("", &format!("x = {expression}"));
    assert!(!diagnostics.has_errors(), "{expression}: {diagnostics}");
    let Some(attribute) = file.body.attributes().next() else { panic!("{expression} yields no attribute") };
    syntax::eval(&attribute.value, scope)
}

/// Evaluates with everything in scope.
pub fn evaluate(expression: &str) -> Result<Value, Diagnostics> {
    evaluate_in(expression, &scope())
}

/// The value as the language spells it.
pub fn value(expression: &str) -> String {
    match evaluate(expression) {
        Ok(value) => value.to_string(),
        Err(errors) => panic!("{expression}: {errors}"),
    }
}

/// The message of the error.
pub fn error(expression: &str) -> String {
    match evaluate(expression) {
        Ok(value) => panic!("{expression} is {value}"),
        Err(errors) => errors.into_iter().next().map(|error| error.message).unwrap_or_default(),
    }
}

/// The warnings that evaluation leaves.
pub fn warnings(expression: &str) -> Diagnostics {
    let warnings = Warnings::new();
    let scope = scope().collecting(&warnings);
    evaluate_in(expression, &scope).unwrap_or_else(|errors| panic!("{expression}: {errors}"));
    warnings.take()
}
