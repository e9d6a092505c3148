//! What a component is.

use std::fmt::Display;
use std::future::Future;

use syntax::{Block, Stability};

use crate::context::{Context, Setup};

/// A component: arguments in, exports out, and a run loop that owns its state.
pub trait Component: Sized + Send + 'static {
    /// The block's name, as Alloy spells it: `prometheus.scrape`.
    const NAME: &'static str;
    /// How far it may be relied upon.
    const STABILITY: Stability = Stability::GenerallyAvailable;
    /// What the block takes.
    type Arguments: Block + Clone + PartialEq + Send + Sync + 'static;
    /// What other blocks may refer to; [`NoExports`] if nothing.
    type Exports: Block + Clone + PartialEq + Send + Sync + 'static;

    /// Makes the component and its first exports. Called once, at the first successful evaluation, inside the data runtime. Must not
    /// block: what takes time belongs into [`Component::run`].
    ///
    /// # Errors
    /// The arguments are well-formed but can't work; the message names the argument, the cause and the remedy.
    fn build(arguments: Self::Arguments, setup: &Setup) -> Result<(Self, Self::Exports), BuildError>;

    /// Runs until [`Event::Stop`] comes. Returning earlier, with or without an error, shows the component as exited.
    fn run(self, context: Context<Self>) -> impl Future<Output = Result<(), RunError>> + Send;
}

/// The exports of a component that exports nothing.
#[derive(Clone, Debug, Default, PartialEq, Block)]
pub struct NoExports {}

/// Why a component could not be built.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(String);

impl BuildError {
    /// An error with this message.
    pub fn new(message: impl Display) -> Self {
        Self(message.to_string())
    }
}

/// Why a component stopped running by itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RunError(String);

impl RunError {
    /// An error with this message.
    pub fn new(message: impl Display) -> Self {
        Self(message.to_string())
    }
}
