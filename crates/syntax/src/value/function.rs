//! Functions that expressions can call.

use std::fmt;
use std::sync::Arc;

use super::Value;
use crate::convert::ValueError;

type Body = dyn Fn(&[Value]) -> Result<Value, CallError> + Send + Sync;

/// A function; never equal to anything.
#[derive(Clone)]
pub struct Function {
    name: Arc<str>,
    body: Arc<Body>,
}

impl Function {
    /// A function that checks the number and types of its arguments itself.
    pub fn new(name: impl Into<Arc<str>>, body: impl Fn(&[Value]) -> Result<Value, CallError> + Send + Sync + 'static) -> Self {
        Self { name: name.into(), body: Arc::new(body) }
    }

    /// The full name: `string.join`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls it.
    ///
    /// # Errors
    /// What the function says against its arguments.
    pub fn call(&self, arguments: &[Value]) -> Result<Value, CallError> {
        (self.body)(arguments)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function({:?})", self.name)
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// Wrong number of arguments.
    #[error("expected {expected} args, got {got}")]
    Arity {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// Too few arguments for a function that takes any number above.
    #[error("expected at least {expected} args, got {got}")]
    ArityAtLeast {
        /// How many there should be at least.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// The argument at `index` (from 0) does not fit.
    #[error("argument {}: {error}", index + 1)]
    Argument {
        /// Which argument, from 0.
        index: usize,
        /// Why it does not fit.
        error: ValueError,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}
