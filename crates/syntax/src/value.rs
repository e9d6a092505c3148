//! What expressions evaluate to. Conversions to and from Rust types are in [`crate::convert`].

mod capsule;
mod function;
mod number;
mod object;
mod secret;

use std::fmt;
use std::sync::Arc;

pub use capsule::Capsule;
pub use function::{CallError, Function};
pub use number::Number;
pub use object::Object;
pub use secret::{OptionalSecret, Secret};

/// A value; cheap to clone.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Nothing; assigned to anything, it yields that type's zero value.
    #[default]
    Null,
    /// A number of any kind.
    Number(Number),
    /// Text.
    String(Arc<str>),
    /// Bytes that a function yielded (base64). To scripts its type is `string`; it becomes text when assigned.
    Bytes(Arc<[u8]>),
    /// `true` or `false`; converts to and from nothing.
    Bool(bool),
    /// A list.
    Array(Arc<Vec<Value>>),
    /// Values by name.
    Object(Arc<Object>),
    /// Something to call.
    Function(Function),
    /// An opaque value of a component: receivers, targets, rules.
    Capsule(Arc<dyn Capsule>),
    /// Text that is never shown.
    Secret(Secret),
    /// Text that is perhaps never shown.
    OptionalSecret(OptionalSecret),
}

impl Value {
    /// An array.
    #[must_use]
    pub fn array(items: Vec<Self>) -> Self {
        Self::Array(Arc::new(items))
    }

    /// An object.
    pub fn object(object: Object) -> Self {
        Self::Object(Arc::new(object))
    }

    /// A capsule.
    pub fn capsule<T: Capsule>(capsule: T) -> Self {
        Self::Capsule(Arc::new(capsule))
    }

    /// The capsule's own type back, if this is a capsule of type `T`.
    #[must_use]
    pub fn downcast<T: Capsule>(&self) -> Option<Arc<T>> {
        match self {
            Self::Capsule(capsule) => capsule::downcast(capsule.clone()),
            _ => None,
        }
    }

    /// The name of the type as the language shows it: `null`, `number`, `string`, `bool`, `array`, `object`,
    /// `function`, `capsule`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Number(_) => "number",
            Self::String(_) | Self::Bytes(_) => "string",
            Self::Bool(_) => "bool",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
            Self::Function(_) => "function",
            Self::Capsule(_) | Self::Secret(_) | Self::OptionalSecret(_) => "capsule",
        }
    }

    /// Like [`Value::kind`], but capsules with their own name: `capsule("secret")`.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Self::Capsule(capsule) => format!("capsule({:?})", capsule.type_name()),
            Self::Secret(_) => "capsule(\"alloytypes.Secret\")".to_owned(),
            Self::OptionalSecret(_) => "capsule(\"alloytypes.OptionalSecret\")".to_owned(),
            other => other.kind().to_owned(),
        }
    }

    /// Whether this is [`Value::Null`].
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, if this is a plain string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if this is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The fields, if this is an object or a capsule that can be read as one.
    #[must_use]
    pub fn to_object(&self) -> Option<Arc<Object>> {
        match self {
            Self::Object(object) => Some(object.clone()),
            Self::Capsule(capsule) => capsule.to_object().map(Arc::new),
            _ => None,
        }
    }
}

/// Deep equality as `==` has it: values of different types differ, numbers compare across their kinds, functions
/// never equal anything, capsules decide for themselves.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::String(a), Self::Bytes(b)) | (Self::Bytes(b), Self::String(a)) => *a.as_bytes() == **b,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Object(a), Self::Object(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Capsule(a), Self::Capsule(b)) => Arc::ptr_eq(a, b) || a.equals(&**b),
            (Self::Secret(a), Self::Secret(b)) => a == b,
            (Self::OptionalSecret(a), Self::OptionalSecret(b)) => a == b,
            _ => false,
        }
    }
}

/// The value as source text would spell it; secrets as `(secret)`, capsules and functions as their names.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::literal::write_value(f, self)
    }
}
