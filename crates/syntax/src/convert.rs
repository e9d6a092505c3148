//! Conversions between values and Rust types, as they happen on assignment and on passing arguments
//! (`spec/language.md` §1.3). Operators do not convert.

mod containers;
mod duration;
mod error;
mod numbers;
mod text;

use std::fmt::Debug;
use std::sync::Arc;

pub use duration::{format_duration, parse_duration};
pub use error::{PathSegment, ValueError};
pub use text::text_from_value;

use crate::value::{Capsule, Value};

/// A type that attributes and function arguments can have.
pub trait FromValue: Sized {
    /// Converts.
    ///
    /// # Errors
    /// The value does not fit; the error's path leads to the part that does not.
    fn from_value(value: &Value) -> Result<Self, ValueError>;

    /// The name in the reference and in messages: `string`, `duration`, `list(string)`.
    fn type_name() -> String;

    /// What can be told about a literal without evaluating it.
    fn shape() -> Shape {
        Shape::Opaque
    }

    /// Stands for a value that is not known yet ([`crate::Scope::awaiting`]), so that the rest of the block can be checked. Only for types
    /// whose values come from other components and mean nothing to validation hooks: receivers, targets. Without one, the block can't be
    /// decoded before the value is known.
    fn stand_in() -> Option<Self> {
        None
    }
}

/// A type that can be shown in the UI, written as a literal or exported.
pub trait ToValue {
    /// The value; what [`FromValue`] would read back, if the type has both.
    fn to_value(&self) -> Value;
}

/// What the static check ([`crate::check`]) may assume about literals of a type.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Nothing; only wholly constant expressions are tried.
    Opaque,
    /// A text, number, bool or time: an array or object can never fit.
    Scalar,
    /// An array of elements.
    Array(fn() -> TypeInfo),
    /// An object whose values all have one type.
    Map(fn() -> TypeInfo),
}

/// A type as the static check sees it.
#[derive(Clone, Debug)]
pub struct TypeInfo {
    /// As [`FromValue::type_name`].
    pub name: String,
    /// As [`FromValue::shape`].
    pub shape: Shape,
    /// Whether a value converts.
    pub check: fn(&Value) -> Result<(), ValueError>,
}

impl TypeInfo {
    /// That of `T`.
    #[must_use]
    pub fn of<T: FromValue>() -> Self {
        Self { name: T::type_name(), shape: T::shape(), check: |value| T::from_value(value).map(drop) }
    }

    /// Whether values of the type, or their parts, are secrets: then sources are not quoted in messages.
    pub(crate) fn is_secret(&self) -> bool {
        self.name.contains("secret")
    }

    /// The kind that values of the type have in messages.
    pub(crate) fn kind_name(&self) -> &str {
        match self.shape {
            Shape::Array(_) => "array",
            Shape::Map(_) => "object",
            Shape::Scalar | Shape::Opaque => &self.name,
        }
    }
}

/// A capsule of type `T`, or the error `expected capsule("name"), got …`: the usual [`FromValue::from_value`] of
/// receivers.
///
/// # Errors
/// The value is anything else.
pub fn capsule_from_value<T: Capsule>(value: &Value, type_name: &str) -> Result<Arc<T>, ValueError> {
    value.downcast().ok_or_else(|| ValueError::expected_capsule(type_name, value))
}

/// Natural types: the value as it is.
impl FromValue for Value {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        Ok(value.clone())
    }

    fn type_name() -> String {
        "any".to_owned()
    }
}

impl ToValue for Value {
    fn to_value(&self) -> Value {
        self.clone()
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Bool(flag) => Ok(*flag),
            Value::Null => Ok(false),
            other => Err(ValueError::mismatch("bool", other)),
        }
    }

    fn type_name() -> String {
        "bool".to_owned()
    }

    fn shape() -> Shape {
        Shape::Scalar
    }
}

impl ToValue for bool {
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }
}
