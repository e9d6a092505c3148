//! Texts, secrets, and types that are read from a text.

use std::borrow::Cow;
use std::sync::Arc;

use super::{FromValue, Shape, ToValue, ValueError};
use crate::value::{OptionalSecret, Secret, Value};

/// Alloy's words for the one conversion that secrets refuse.
const SECRET_TO_TEXT: &str = "secrets may not be converted into strings";

/// The text that a value converts to: strings, bytes that are UTF-8, numbers, and secrets that are none.
///
/// # Errors
/// Anything else.
pub fn text_from_value(value: &Value) -> Result<Cow<'_, str>, ValueError> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Null => Ok(Cow::Borrowed("")),
        Value::Number(number) => Ok(Cow::Owned(number.to_string())),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| ValueError::custom("is not valid UTF-8 text")),
        Value::Secret(_) => Err(ValueError::custom(SECRET_TO_TEXT)),
        Value::OptionalSecret(optional) => optional.shown().map(Cow::Borrowed).ok_or_else(|| ValueError::custom(SECRET_TO_TEXT)),
        other => Err(ValueError::mismatch("string", other)),
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        text_from_value(value).map(Cow::into_owned)
    }

    fn type_name() -> String {
        "string".to_owned()
    }

    fn shape() -> Shape {
        Shape::Scalar
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value {
        Value::String(self.as_str().into())
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value {
        Value::String(self.into())
    }
}

impl FromValue for Arc<str> {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::String(text) => Ok(text.clone()),
            other => text_from_value(other).map(|text| Self::from(&*text)),
        }
    }

    fn type_name() -> String {
        String::type_name()
    }

    fn shape() -> Shape {
        Shape::Scalar
    }
}

impl ToValue for Arc<str> {
    fn to_value(&self) -> Value {
        Value::String(self.clone())
    }
}

impl FromValue for Secret {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Secret(secret) => Ok(secret.clone()),
            Value::OptionalSecret(optional) => Ok(optional.clone().into()),
            Value::Null => Ok(Self::default()),
            Value::String(text) => Ok(Self::new(text.clone())),
            Value::Bytes(_) => text_from_value(value).map(|text| Self::new(&*text)),
            other => Err(ValueError::mismatch("secret", other)),
        }
    }

    fn type_name() -> String {
        "secret".to_owned()
    }

    fn shape() -> Shape {
        Shape::Scalar
    }
}

impl ToValue for Secret {
    fn to_value(&self) -> Value {
        Value::Secret(self.clone())
    }
}

impl FromValue for OptionalSecret {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::OptionalSecret(optional) => Ok(optional.clone()),
            Value::Secret(secret) => Ok(secret.clone().into()),
            Value::Null => Ok(Self::default()),
            Value::String(text) => Ok(Self::plain(text.clone())),
            Value::Bytes(_) => text_from_value(value).map(|text| Self::plain(&*text)),
            other => Err(ValueError::mismatch("string", other)),
        }
    }

    fn type_name() -> String {
        "string or secret".to_owned()
    }

    fn shape() -> Shape {
        Shape::Scalar
    }
}

impl ToValue for OptionalSecret {
    fn to_value(&self) -> Value {
        Value::OptionalSecret(self.clone())
    }
}

/// Makes a type with `FromStr` and `Display` usable in attributes: it is written and shown as a string.
///
/// ```
/// # use std::{fmt, str::FromStr};
/// # #[derive(Debug, PartialEq)] struct Size(u64);
/// # impl FromStr for Size { type Err = std::num::ParseIntError; fn from_str(s: &str) -> Result<Self, Self::Err> { s.parse().map(Size) } }
/// # impl fmt::Display for Size { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) } }
/// syntax::impl_text_value!(Size, "size");
/// ```
#[macro_export]
macro_rules! impl_text_value {
    ($type:ty) => {
        $crate::impl_text_value!($type, "string");
    };
    ($type:ty, $name:expr) => {
        impl $crate::FromValue for $type {
            fn from_value(value: &$crate::Value) -> ::core::result::Result<Self, $crate::ValueError> {
                let text = $crate::text_from_value(value)?;
                text.parse().map_err(|error| $crate::ValueError::custom(::std::format!("{error}")))
            }

            fn type_name() -> ::std::string::String {
                ::std::string::ToString::to_string($name)
            }

            fn shape() -> $crate::Shape {
                $crate::Shape::Scalar
            }
        }

        impl $crate::ToValue for $type {
            fn to_value(&self) -> $crate::Value {
                $crate::Value::String(::std::string::ToString::to_string(self).into())
            }
        }
    };
}

/// Declares an enum whose variants are written as strings: with `ALL`, `as_str`, `FromStr`, `Display`,
/// [`FromValue`] and [`ToValue`].
///
/// ```
/// syntax::text_enum! {
///     /// What to do with a label.
///     pub enum Action {
///         /// Keeps it.
///         Keep = "keep",
///         /// Drops it.
///         Drop = "drop",
///     }
/// }
/// assert_eq!("keep".parse(), Ok(Action::Keep));
/// ```
#[macro_export]
macro_rules! text_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $text:literal ),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name { $( $(#[$variant_meta])* $variant ),+ }

        impl $name {
            /// All variants in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As configurations spell it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl ::core::str::FromStr for $name {
            type Err = ::std::string::String;

            fn from_str(text: &str) -> ::core::result::Result<Self, Self::Err> {
                match text {
                    $($text => ::core::result::Result::Ok(Self::$variant),)+
                    other => ::core::result::Result::Err(::std::format!(
                        "{other:?} is none of {}", [$($text),+].join(", ")
                    )),
                }
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        $crate::impl_text_value!($name);
    };
}
