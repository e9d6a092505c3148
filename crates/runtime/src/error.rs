//! Why a load failed.

use syntax::{Diagnostics, Sources};

use crate::source::SourceError;

/// Why a load failed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The configuration could not be read. What ran before runs on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The configuration can't be loaded. What ran before runs on.
    #[error("{0}")]
    Rejected(Findings),
    /// The configuration was loaded over an older one, but some of its components could not be evaluated: those run on with their last
    /// good arguments, or not at all if they have none.
    #[error("{0}")]
    Degraded(Findings),
    /// Nothing was loaded that could be reloaded.
    #[error("no configuration was loaded yet")]
    NothingLoaded,
    /// The controller was shut down.
    #[error("the controller was shut down")]
    Stopped,
}

/// Findings together with the texts that they are about. `Display` shows the first, [`Findings::render`] all.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What was found, in the order in which it is to be shown.
    pub diagnostics: Diagnostics,
    /// The texts.
    pub sources: Sources,
}

impl Findings {
    /// Every finding with an excerpt of its text; empty if there are none.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        self.diagnostics.render(&self.sources, colour)
    }
}

/// The first error, or the first warning if there are only those, and how many more there are.
impl std::fmt::Display for Findings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mut all, warnings) = self.diagnostics.clone().split();
        all.extend(warnings);
        all.fmt(f)
    }
}

impl LoadError {
    /// For people at a terminal: every finding with an excerpt of its text, or the message.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        match self {
            Self::Rejected(findings) | Self::Degraded(findings) => findings.render(colour),
            other => format!("Error: {other}\n"),
        }
    }

    /// Whether the new configuration is the one that runs now.
    #[must_use]
    pub const fn is_adopted(&self) -> bool {
        matches!(self, Self::Degraded(_))
    }
}
