//! Lists, maps and what may be absent.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{FromValue, Shape, ToValue, TypeInfo, ValueError};
use crate::value::{Object, Value};

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, item)| T::from_value(item).map_err(|error| error.at_index(index))).collect()
            }
            Value::Null => Ok(Self::new()),
            other => Err(ValueError::mismatch("array", other)),
        }
    }

    fn type_name() -> String {
        format!("list({})", T::type_name())
    }

    fn shape() -> Shape {
        Shape::Array(TypeInfo::of::<T>)
    }

    /// A list of one, as hooks may want at least that.
    fn stand_in() -> Option<Self> {
        Some(vec![T::stand_in()?])
    }
}

impl<T: ToValue> ToValue for Vec<T> {
    fn to_value(&self) -> Value {
        Value::array(self.iter().map(ToValue::to_value).collect())
    }
}

impl<T: FromValue> FromValue for BTreeMap<String, T> {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        if value.is_null() {
            return Ok(Self::new());
        }
        let object = value.to_object().ok_or_else(|| ValueError::mismatch("object", value))?;
        object
            .iter()
            .map(|(name, field)| match T::from_value(field) {
                Ok(field) => Ok((name.to_string(), field)),
                Err(error) => Err(error.in_field(&**name)),
            })
            .collect()
    }

    fn type_name() -> String {
        format!("map({})", T::type_name())
    }

    fn shape() -> Shape {
        Shape::Map(TypeInfo::of::<T>)
    }
}

impl<T: ToValue> ToValue for BTreeMap<String, T> {
    fn to_value(&self) -> Value {
        Value::object(self.iter().map(|(name, value)| (name.as_str(), value.to_value())).collect::<Object>())
    }
}

/// Null is `None`.
impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }

    fn type_name() -> String {
        T::type_name()
    }

    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

impl<T: FromValue> FromValue for Box<T> {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        T::from_value(value).map(Self::new)
    }

    fn type_name() -> String {
        T::type_name()
    }

    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: ToValue> ToValue for Box<T> {
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

/// Shared lists: as `Vec<T>`.
impl<T: FromValue> FromValue for Arc<[T]> {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        Vec::from_value(value).map(Into::into)
    }

    fn type_name() -> String {
        Vec::<T>::type_name()
    }

    fn shape() -> Shape {
        Vec::<T>::shape()
    }
}

impl<T: ToValue> ToValue for Arc<[T]> {
    fn to_value(&self) -> Value {
        Value::array(self.iter().map(ToValue::to_value).collect())
    }
}
