//! Evaluates expressions (`spec/language.md` §1.3). Operators convert nothing and do not short-circuit, as in Alloy.

mod access;
mod arithmetic;
mod error;
mod operators;

use crate::ast::{Expr, ExprKind, Literal, LiteralKind, UnaryOp};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::lexer::{number_value, string_value};
use crate::scope::Scope;
use crate::suggest::did_you_mean;
use crate::value::{CallError, Number, Object, Value};

pub(crate) use error::{Failure, conversion_error, secret_error, static_error};
use error::{fail, fail_on};

/// Longest text that evaluation produces; nested `replace` could else square a text's length with every call.
pub(crate) const MAX_TEXT_BYTES: usize = 64 * 1024 * 1024;

/// Evaluates an expression. Names come from `scope`; put the standard library at its root with
/// [`crate::stdlib::root`].
///
/// # Errors
/// What is wrong, and where in the expression. Evaluation stops at the first error.
pub fn eval(expr: &Expr, scope: &Scope) -> Result<Value, Diagnostics> {
    evaluate(expr, scope).map_err(|diagnostic| (*diagnostic).into())
}

/// As [`eval`]. The parser bounds the height of trees, so recursion is bounded, too.
pub(crate) fn evaluate(expr: &Expr, scope: &Scope) -> Result<Value, Failure> {
    match &expr.kind {
        ExprKind::Literal(literal) => self::literal(expr, literal),
        ExprKind::Identifier(name) => identifier(expr, name, scope),
        ExprKind::Paren(inner) => evaluate(inner, scope),
        ExprKind::Array(items) => {
            let items: Result<Vec<Value>, Failure> = items.iter().map(|item| evaluate(item, scope)).collect();
            items.map(Value::array)
        }
        ExprKind::Object(fields) => {
            let fields: Result<Object, Failure> =
                fields.iter().map(|field| Ok((field.key.name.clone(), evaluate(&field.value, scope)?))).collect();
            fields.map(Value::object)
        }
        ExprKind::Access(value, name) => access::field(value, &evaluate(value, scope)?, name),
        ExprKind::Index(value, index) => access::index((value, &evaluate(value, scope)?), (index, &evaluate(index, scope)?)),
        ExprKind::Call(function, arguments) => call(function, arguments, scope),
        ExprKind::Unary(operator, operand) => unary(*operator, operand, &evaluate(operand, scope)?),
        ExprKind::Binary(binary) => {
            let (left, right) = (evaluate(&binary.left, scope)?, evaluate(&binary.right, scope)?);
            operators::binary(binary, left, right)
        }
    }
}

fn literal(expr: &Expr, literal: &Literal) -> Result<Value, Failure> {
    match literal.kind {
        LiteralKind::Null => Ok(Value::Null),
        LiteralKind::Bool => Ok(Value::Bool(&*literal.text == "true")),
        LiteralKind::Number => number(expr, number_value(&literal.text)),
        LiteralKind::Float => {
            let value = literal.text.parse().ok().filter(|value: &f64| value.is_finite());
            number(expr, value.map(Number::Float))
        }
        LiteralKind::String => Ok(text(string_value(&literal.text))),
    }
}

fn number(expr: &Expr, value: Option<Number>) -> Result<Value, Failure> {
    value.map(Value::Number).ok_or_else(|| fail_on(expr, "is out of the range of numbers"))
}

/// Bytes as text if they are UTF-8.
pub(crate) fn text(bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text) => Value::String(text.into()),
        Err(error) => Value::Bytes(error.into_bytes().into()),
    }
}

fn identifier(expr: &Expr, name: &str, scope: &Scope) -> Result<Value, Failure> {
    let Some(value) = scope.lookup(name) else {
        let help = did_you_mean(name, scope.names());
        let error = Diagnostic::error(&expr.file, expr.span, format!("identifier {name:?} does not exist"));
        return Err(Box::new(error.with_help(help)));
    };
    if let Some(replacement) = scope.replacement(name) {
        let message = format!("{name:?} is deprecated; use {replacement:?} instead");
        scope.warn(Diagnostic::warning(&expr.file, expr.span, message));
    }
    Ok(value.clone())
}

fn unary(operator: UnaryOp, operand: &Expr, value: &Value) -> Result<Value, Failure> {
    match (operator, value) {
        (UnaryOp::Not, Value::Bool(flag)) => Ok(Value::Bool(!flag)),
        (UnaryOp::Negate, Value::Number(Number::Float(number))) => Ok(Value::Number(Number::Float(-number))),
        (UnaryOp::Negate, Value::Number(number)) => Ok(Value::Number(Number::Int(number.to_i64().wrapping_neg()))),
        (UnaryOp::Not, other) => Err(fail_on(operand, &format!("should be bool, got {}", other.kind()))),
        (UnaryOp::Negate, other) => Err(fail_on(operand, &format!("should be number, got {}", other.kind()))),
    }
}

fn call(function: &Expr, arguments: &[Expr], scope: &Scope) -> Result<Value, Failure> {
    let called = match evaluate(function, scope)? {
        Value::Function(called) => called,
        other => return Err(fail_on(function, &format!("should be function, got {}", other.kind()))),
    };
    let values: Vec<Value> = arguments.iter().map(|argument| evaluate(argument, scope)).collect::<Result<_, Failure>>()?;
    called.call(&values).map_err(|error| match error {
        CallError::Argument { index, error } => match arguments.get(index) {
            Some(argument) => Box::new(conversion_error(argument, &error)),
            None => fail_on(function, &error.to_string()),
        },
        other => fail_on(function, &other.to_string()),
    })
}
