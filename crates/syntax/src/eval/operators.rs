//! Operators between two operands.

use std::cmp::Ordering;

use super::{Failure, MAX_TEXT_BYTES, arithmetic, fail_on};
use crate::ast::{BinaryExpr, BinaryOp, Expr};
use crate::value::{Number, OptionalSecret, Secret, Value};

pub(super) fn binary(expr: &BinaryExpr, left: Value, right: Value) -> Result<Value, Failure> {
    let (left, right) = meet(left, right);
    match expr.operator {
        BinaryOp::Equal => return Ok(Value::Bool(left == right)),
        BinaryOp::NotEqual => return Ok(Value::Bool(left != right)),
        _ => {}
    }
    accepted(expr.operator, &expr.left, &left)?;
    accepted(expr.operator, &expr.right, &right)?;
    match (&left, &right) {
        (Value::Bool(left), Value::Bool(right)) => Ok(Value::Bool(match expr.operator {
            BinaryOp::Or => *left || *right,
            _ => *left && *right,
        })),
        (Value::Number(left), Value::Number(right)) => numbers(expr, *left, *right),
        (Value::String(left), Value::String(right)) => match expr.operator {
            BinaryOp::Add => joined(expr, left, right).map(|text| Value::String(text.into())),
            operator => Ok(Value::Bool(holds(operator, Some(left.cmp(right))))),
        },
        (Value::Secret(left), Value::Secret(right)) => {
            joined(expr, left.expose(), right.expose()).map(|text| Value::Secret(Secret::new(text)))
        }
        (Value::OptionalSecret(left), Value::OptionalSecret(right)) => {
            let text = joined(expr, left.expose(), right.expose())?;
            let hidden = left.is_secret() || right.is_secret();
            let optional = if hidden { OptionalSecret::hidden(text) } else { OptionalSecret::plain(text) };
            Ok(Value::OptionalSecret(optional))
        }
        (Value::Capsule(_), Value::Capsule(_)) => Err(fail_on(&expr.left, &format!("cannot be added: {}", left.described()))),
        _ if left.kind() == "string" && right.kind() == "string" => {
            Err(fail_on(&expr.left, "is bytes; assign it to a string before using it with operators"))
        }
        _ => Err(fail_on(&expr.right, &format!("should be {}, got {}", left.kind(), right.kind()))),
    }
}

/// Brings secrets and the other operand to the same kind.
fn meet(left: Value, right: Value) -> (Value, Value) {
    use Value::{OptionalSecret as Optional, Secret as Hidden, String as Text};
    match (left, right) {
        (Hidden(left), Text(right)) => (Hidden(left), Hidden(Secret::new(right))),
        (Text(left), Hidden(right)) => (Hidden(Secret::new(left)), Hidden(right)),
        (Hidden(left), Optional(right)) => (Hidden(left), Hidden(right.into())),
        (Optional(left), Hidden(right)) => (Hidden(left.into()), Hidden(right)),
        (Optional(left), Text(right)) if left.is_secret() => (Optional(left), Optional(OptionalSecret::hidden(right))),
        (Text(left), Optional(right)) if right.is_secret() => (Optional(OptionalSecret::hidden(left)), Optional(right)),
        (Optional(left), Text(right)) => (Text(left.expose().into()), Text(right)),
        (Text(left), Optional(right)) => (Text(left), Text(right.expose().into())),
        other => other,
    }
}

/// The kinds that an operator takes.
const fn kinds(operator: BinaryOp) -> &'static [&'static str] {
    match operator {
        BinaryOp::Or | BinaryOp::And => &["bool"],
        BinaryOp::Add => &["number", "string", "capsule"],
        BinaryOp::Less | BinaryOp::LessOrEqual | BinaryOp::Greater | BinaryOp::GreaterOrEqual => &["number", "string"],
        _ => &["number"],
    }
}

fn accepted(operator: BinaryOp, operand: &Expr, value: &Value) -> Result<(), Failure> {
    let kinds = kinds(operator);
    if kinds.contains(&value.kind()) {
        return Ok(());
    }
    let reason = format!("should be one of [{}] for binop {}, got {}", kinds.join(" "), operator.as_str(), value.kind());
    Err(fail_on(operand, &reason))
}

fn numbers(expr: &BinaryExpr, left: Number, right: Number) -> Result<Value, Failure> {
    match expr.operator {
        BinaryOp::Less | BinaryOp::LessOrEqual | BinaryOp::Greater | BinaryOp::GreaterOrEqual => {
            Ok(Value::Bool(holds(expr.operator, left.partial_cmp(&right))))
        }
        operator => arithmetic::apply(left, operator, right).map(Value::Number).ok_or_else(|| fail_on(&expr.right, "divide by zero error")),
    }
}

fn holds(operator: BinaryOp, order: Option<Ordering>) -> bool {
    order.is_some_and(|order| match operator {
        BinaryOp::Less => order.is_lt(),
        BinaryOp::LessOrEqual => order.is_le(),
        BinaryOp::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn joined(expr: &BinaryExpr, left: &str, right: &str) -> Result<String, Failure> {
    if left.len() + right.len() > MAX_TEXT_BYTES {
        return Err(fail_on(&expr.left, &format!("becomes longer than {MAX_TEXT_BYTES} bytes")));
    }
    Ok([left, right].concat())
}
