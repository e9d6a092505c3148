//! Arguments of a call, taken as Rust types.

use crate::convert::{FromValue, ValueError};
use crate::value::{CallError, Value};

/// The arguments of a call.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a>(pub &'a [Value]);

impl<'a> Arguments<'a> {
    /// Exactly `N` values as they are.
    pub fn values<const N: usize>(self) -> Result<&'a [Value; N], CallError> {
        self.0.try_into().map_err(|_| CallError::Arity { expected: N, got: self.0.len() })
    }

    /// Exactly `N` texts.
    pub fn texts<const N: usize>(self) -> Result<[String; N], CallError> {
        self.values::<N>()?;
        let mut texts = [const { String::new() }; N];
        for (index, text) in texts.iter_mut().enumerate() {
            *text = self.get(index)?;
        }
        Ok(texts)
    }

    /// All arguments as texts.
    pub fn all_texts(self) -> Result<Vec<String>, CallError> {
        (0..self.0.len()).map(|index| self.get(index)).collect()
    }

    /// The argument at `index`, converted; its zero value if there is none.
    pub fn get<T: FromValue>(self, index: usize) -> Result<T, CallError> {
        T::from_value(self.0.get(index).unwrap_or(&Value::Null)).map_err(|error| CallError::Argument { index, error })
    }

    /// The items of the array at `index`; unlike [`Arguments::get`], null is none.
    pub fn array(self, index: usize) -> Result<&'a [Value], CallError> {
        match self.0.get(index) {
            Some(Value::Array(items)) => Ok(items),
            other => Err(self.mismatch(index, "array", other.unwrap_or(&Value::Null))),
        }
    }

    /// The bool at `index`; unlike [`Arguments::get`], null is none.
    pub fn flag(self, index: usize) -> Result<bool, CallError> {
        match self.0.get(index) {
            Some(Value::Bool(flag)) => Ok(*flag),
            other => Err(self.mismatch(index, "bool", other.unwrap_or(&Value::Null))),
        }
    }

    fn mismatch(self, index: usize, expected: &str, got: &Value) -> CallError {
        CallError::Argument { index, error: ValueError::mismatch(expected, got) }
    }
}

/// An error about the argument at `index`.
pub(super) fn bad_argument(index: usize, reason: impl Into<String>) -> CallError {
    CallError::Argument { index, error: ValueError::custom(reason) }
}
