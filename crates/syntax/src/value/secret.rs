//! Text that is never shown: it prints as `(secret)` wherever it goes.

use std::fmt;
use std::sync::Arc;

/// What a secret prints as.
pub(crate) const HIDDEN: &str = "(secret)";

/// A password, token or key. `Debug` and `Display` print `(secret)`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all: the zero value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// A text that may be a secret: prints as itself only if it is not.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct OptionalSecret {
    secret: bool,
    text: Arc<str>,
}

impl OptionalSecret {
    /// A text that may be shown.
    pub fn plain(text: impl Into<Arc<str>>) -> Self {
        Self { secret: false, text: text.into() }
    }

    /// A text that may not be shown.
    pub fn hidden(text: impl Into<Arc<str>>) -> Self {
        Self { secret: true, text: text.into() }
    }

    /// Whether the text must not be shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        self.secret
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The text, if it may be shown.
    #[must_use]
    pub fn shown(&self) -> Option<&str> {
        (!self.secret).then_some(&*self.text)
    }

    /// Whether there is no text at all: the zero value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl From<Secret> for OptionalSecret {
    fn from(secret: Secret) -> Self {
        Self { secret: true, text: secret.0 }
    }
}

impl From<OptionalSecret> for Secret {
    fn from(optional: OptionalSecret) -> Self {
        Self(optional.text)
    }
}

impl fmt::Debug for OptionalSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shown() {
            Some(text) => fmt::Debug::fmt(text, f),
            None => f.write_str(HIDDEN),
        }
    }
}

impl fmt::Display for OptionalSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown().unwrap_or(HIDDEN))
    }
}
