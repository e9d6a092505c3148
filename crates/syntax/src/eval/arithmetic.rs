//! `+ - * / % ^` on numbers: unsigned gives way to signed, signed to float; integers wrap on overflow.

use crate::ast::BinaryOp;
use crate::value::Number;

/// Applies an arithmetic operator. `None` if it divides by zero.
pub(super) fn apply(left: Number, operator: BinaryOp, right: Number) -> Option<Number> {
    if matches!(operator, BinaryOp::Divide | BinaryOp::Modulo) && right.is_zero() {
        return None;
    }
    Some(match (left, right) {
        (Number::Float(_), _) | (_, Number::Float(_)) => Number::Float(floats(left.to_f64(), operator, right.to_f64())),
        (Number::Uint(left), Number::Uint(right)) => Number::Uint(unsigned(left, operator, right)),
        _ => signed(left.to_i64(), operator, right.to_i64()),
    })
}

fn floats(left: f64, operator: BinaryOp, right: f64) -> f64 {
    match operator {
        BinaryOp::Add => left + right,
        BinaryOp::Subtract => left - right,
        BinaryOp::Multiply => left * right,
        BinaryOp::Divide => left / right,
        BinaryOp::Modulo => left % right,
        _ => left.powf(right),
    }
}

fn unsigned(left: u64, operator: BinaryOp, right: u64) -> u64 {
    match operator {
        BinaryOp::Add => left.wrapping_add(right),
        BinaryOp::Subtract => left.wrapping_sub(right),
        BinaryOp::Multiply => left.wrapping_mul(right),
        BinaryOp::Divide => left.wrapping_div(right),
        BinaryOp::Modulo => left.wrapping_rem(right),
        _ => power(left, right),
    }
}

/// A negative exponent yields a fraction; Alloy returns the base, which no documentation promises.
fn signed(left: i64, operator: BinaryOp, right: i64) -> Number {
    Number::Int(match operator {
        BinaryOp::Add => left.wrapping_add(right),
        BinaryOp::Subtract => left.wrapping_sub(right),
        BinaryOp::Multiply => left.wrapping_mul(right),
        BinaryOp::Divide => left.wrapping_div(right),
        BinaryOp::Modulo => left.wrapping_rem(right),
        _ => match u64::try_from(right) {
            Ok(exponent) => power(left.cast_unsigned(), exponent).cast_signed(),
            Err(_) => return Number::Float(floats(Number::Int(left).to_f64(), operator, Number::Int(right).to_f64())),
        },
    })
}

/// By squaring, wrapping; in two's complement the same for signed numbers.
fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut result = 1_u64;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent /= 2;
    }
    result
}
