//! Numbers, and texts that hold numbers.

use super::{FromValue, Shape, ToValue, ValueError, text_from_value};
use crate::value::{Number, Value};

impl FromValue for Number {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Number(number) => Ok(*number),
            Value::Null => Ok(Self::Int(0)),
            Value::String(text) => parse_number(text).ok_or_else(|| ValueError::mismatch("number", value)),
            Value::Bytes(_) | Value::OptionalSecret(_) => {
                let text = text_from_value(value).map_err(|_| ValueError::mismatch("number", value))?;
                parse_number(&text).ok_or_else(|| ValueError::mismatch("number", value))
            }
            other => Err(ValueError::mismatch("number", other)),
        }
    }

    fn type_name() -> String {
        "number".to_owned()
    }

    fn shape() -> Shape {
        Shape::Scalar
    }
}

/// Texts convert in three ways: with a minus sign to a signed integer (so `-1.5` fails, as in Alloy), with a dot or
/// exponent to a float, else to an unsigned integer.
fn parse_number(text: &str) -> Option<Number> {
    if text.starts_with('-') {
        text.parse().ok().map(Number::Int)
    } else if text.contains(['.', 'e', 'E']) {
        text.parse().ok().map(Number::Float)
    } else if text.starts_with('+') {
        None
    } else {
        text.parse().ok().map(Number::Uint)
    }
}

impl ToValue for Number {
    fn to_value(&self) -> Value {
        Value::Number(*self)
    }
}

macro_rules! float {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            #[expect(clippy::allow_attributes, reason = "only one of the two types truncates")]
            #[allow(clippy::cast_possible_truncation, clippy::unnecessary_cast)]
            fn from_value(value: &Value) -> Result<Self, ValueError> {
                Number::from_value(value).map(|number| number.to_f64() as Self)
            }

            fn type_name() -> String {
                Number::type_name()
            }

            fn shape() -> Shape {
                Shape::Scalar
            }
        }

        impl ToValue for $type {
            fn to_value(&self) -> Value {
                Value::Number(Number::Float(f64::from(*self)))
            }
        }
    )*};
}

float!(f32, f64);

/// Integers: floats lose their fraction, as in Alloy. What is out of range is refused, where Alloy wraps silently.
macro_rules! integer {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Result<Self, ValueError> {
                let number = Number::from_value(value)?;
                let converted = match number {
                    Number::Int(n) => Self::try_from(n).ok(),
                    Number::Uint(n) => Self::try_from(n).ok(),
                    Number::Float(n) => truncated(n).and_then(|n| Self::try_from(n).ok()),
                };
                converted.ok_or_else(|| out_of_range(number, &Self::MIN, &Self::MAX))
            }

            fn type_name() -> String {
                Number::type_name()
            }

            fn shape() -> Shape {
                Shape::Scalar
            }
        }

        impl ToValue for $type {
            fn to_value(&self) -> Value {
                Value::Number(integer_number(i128::try_from(*self).unwrap_or(i128::MAX)))
            }
        }
    )*};
}

integer!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

#[expect(clippy::cast_possible_truncation, reason = "saturates far outside of every integer type here")]
fn truncated(number: f64) -> Option<i128> {
    number.is_finite().then_some(number as i128)
}

fn integer_number(number: i128) -> Number {
    i64::try_from(number).map_or_else(|_| Number::Uint(u64::try_from(number).unwrap_or(u64::MAX)), Number::Int)
}

fn out_of_range(number: Number, min: &dyn std::fmt::Display, max: &dyn std::fmt::Display) -> ValueError {
    ValueError::custom(format!("should be between {min} and {max}, got {number}"))
}
