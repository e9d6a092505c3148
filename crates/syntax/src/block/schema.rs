//! What a block may hold: the one description that decoding, the static check, the reference pages and the UI share.

use crate::convert::{FromValue, ToValue, TypeInfo};

use super::Block;
use crate::value::Value;

/// What a block may hold.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// The struct's doc comment.
    pub doc: &'static str,
    /// In order of declaration, squashed ones in place.
    pub fields: Vec<Field>,
    /// For bodies that are maps: any attribute is allowed, its value has this type, and blocks are refused.
    pub map_of: Option<TypeInfo>,
}

impl Schema {
    /// The field that statements of this name belong to.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name && field.kind != FieldKind::Label)
    }

    /// The field that takes the block's label.
    #[must_use]
    pub fn label(&self) -> Option<&Field> {
        self.fields.iter().find(|field| field.kind == FieldKind::Label)
    }
}

/// One attribute, kind of block, or the label.
#[derive(Clone, Debug)]
pub struct Field {
    /// As statements spell it: `scrape_interval`, `stage.json`.
    pub name: String,
    /// What it is.
    pub kind: FieldKind,
    /// `string`, `duration`, `list(string)`; for blocks `block` or `list(block)`.
    pub type_name: String,
    /// Whether it must be there.
    pub required: bool,
    /// For optional attributes: the default as the language spells it; `null` is left out.
    pub default: Option<String>,
    /// The field's doc comment.
    pub doc: &'static str,
    /// For blocks: whether there may be several.
    pub repeated: bool,
    /// For blocks: what they hold.
    pub nested: Option<fn() -> &'static Schema>,
    /// For attributes: what values they take.
    pub type_info: Option<TypeInfo>,
}

/// The kinds of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// `name = value`
    Attribute,
    /// `name { … }`
    Block,
    /// The text in quotes between a block's name and its body.
    Label,
}

/// The constructors that the derive uses.
impl Field {
    /// An attribute.
    #[must_use]
    pub fn attribute<T: FromValue + ToValue>(name: &str, default: Option<T>, doc: &'static str) -> Self {
        let shown = |value: Value| match value {
            Value::Null => None,
            // An empty secret hides nothing.
            Value::Secret(secret) if secret.is_empty() => Some("\"\"".to_owned()),
            other => Some(other.to_string()),
        };
        Self {
            name: name.to_owned(),
            kind: FieldKind::Attribute,
            type_name: T::type_name(),
            required: default.is_none(),
            default: default.as_ref().map(ToValue::to_value).and_then(shown),
            doc,
            repeated: false,
            nested: None,
            type_info: Some(TypeInfo::of::<T>()),
        }
    }

    /// A block that may occur once.
    #[must_use]
    pub fn block<T: Block>(name: &str, required: bool, doc: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            kind: FieldKind::Block,
            type_name: "block".to_owned(),
            required,
            default: None,
            doc,
            repeated: false,
            nested: Some(T::schema),
            type_info: None,
        }
    }

    /// A block that may occur several times.
    #[must_use]
    pub fn blocks<T: Block>(name: &str, required: bool, doc: &'static str) -> Self {
        Self { type_name: "list(block)".to_owned(), repeated: true, ..Self::block::<T>(name, required, doc) }
    }

    /// The label.
    #[must_use]
    pub fn label<T: FromValue>(doc: &'static str) -> Self {
        Self {
            name: "label".to_owned(),
            kind: FieldKind::Label,
            type_name: T::type_name(),
            required: true,
            default: None,
            doc,
            repeated: false,
            nested: None,
            type_info: Some(TypeInfo::of::<T>()),
        }
    }
}
