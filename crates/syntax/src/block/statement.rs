//! Statements made from Rust values, for the UI, the API and the converters.

use std::fmt;

use crate::value::Value;

/// A statement made from Rust values. `Display` writes it in the language, with secrets as `(secret)`.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `name = value`
    Attribute {
        /// The name.
        name: String,
        /// The value.
        value: Value,
    },
    /// `name "label" { … }`
    Block {
        /// The name with its dots.
        name: String,
        /// The label, if there is one.
        label: Option<String>,
        /// The statements inside.
        body: Vec<Statement>,
    },
}

impl Statement {
    /// `name = value`
    pub fn attribute(name: impl Into<String>, value: Value) -> Self {
        Self::Attribute { name: name.into(), value }
    }

    /// `name "label" { … }`
    pub fn block(name: impl Into<String>, label: Option<String>, body: Vec<Self>) -> Self {
        Self::Block { name: name.into(), label, body }
    }

    /// The name of the attribute or block.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Attribute { name, .. } | Self::Block { name, .. } => name,
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute { name, value } => writeln!(f, "{name} = {value}"),
            Self::Block { name, label, body } => {
                f.write_str(name)?;
                if let Some(label) = label {
                    write!(f, " \"{label}\"")?;
                }
                f.write_str(" {\n")?;
                body.iter().try_for_each(|statement| statement.fmt(f))?;
                f.write_str("}\n")
            }
        }
    }
}
