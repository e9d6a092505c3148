//! Why a value does not fit a type.

use std::fmt;

use crate::value::Value;

/// One step from a value into its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathSegment {
    /// `.name`
    Field(String),
    /// `[index]`
    Index(usize),
}

impl fmt::Display for PathSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// Why a value does not fit a type, and which part of it. Never holds a secret's text.
///
/// `Display` prints path and reason: `.field1[2] should be number, got string`; the evaluator puts the source
/// expression in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    path: Vec<PathSegment>,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Mismatch { expected: String, got: String },
    MissingField(String),
    Custom(String),
}

impl ValueError {
    /// `should be number, got string`
    pub fn mismatch(expected: impl Into<String>, got: &Value) -> Self {
        Self::from_reason(Reason::Mismatch { expected: expected.into(), got: got.kind().to_owned() })
    }

    /// `expected capsule("name"), got string`
    #[must_use]
    pub fn expected_capsule(type_name: &str, got: &Value) -> Self {
        Self::custom(format!("expected capsule({type_name:?}), got {}", got.described()))
    }

    /// `does not have field named "name"`
    pub fn missing_field(name: impl Into<String>) -> Self {
        Self::from_reason(Reason::MissingField(name.into()))
    }

    /// Any other reason. Must not tell a secret's text.
    pub fn custom(reason: impl Into<String>) -> Self {
        Self::from_reason(Reason::Custom(reason.into()))
    }

    const fn from_reason(reason: Reason) -> Self {
        Self { path: Vec::new(), reason }
    }

    /// The same error, seen from the object that holds the part under `name`.
    #[must_use]
    pub fn in_field(mut self, name: impl Into<String>) -> Self {
        self.path.insert(0, PathSegment::Field(name.into()));
        self
    }

    /// The same error, seen from the array that holds the part at `index`.
    #[must_use]
    pub fn at_index(mut self, index: usize) -> Self {
        self.path.insert(0, PathSegment::Index(index));
        self
    }

    /// The way from the value to the part that does not fit.
    #[must_use]
    pub fn path(&self) -> &[PathSegment] {
        &self.path
    }

    /// The reason alone, in the words of evaluation: `should be number, got string`.
    #[must_use]
    pub fn reason(&self) -> String {
        match &self.reason {
            Reason::Mismatch { expected, got } => format!("should be {expected}, got {got}"),
            Reason::MissingField(name) => format!("does not have field named {name:?}"),
            Reason::Custom(reason) => reason.clone(),
        }
    }

    /// The reason alone, in the words of the static check: `expected number, got string`.
    #[must_use]
    pub fn static_reason(&self) -> String {
        match &self.reason {
            Reason::Mismatch { expected, got } => format!("expected {expected}, got {got}"),
            _ => self.reason(),
        }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.path {
            segment.fmt(f)?;
        }
        if !self.path.is_empty() {
            f.write_str(" ")?;
        }
        f.write_str(&self.reason())
    }
}

impl std::error::Error for ValueError {}
