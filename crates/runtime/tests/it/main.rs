//! The runtime over fake components.

#![expect(clippy::unwrap_used, reason = "tests, and what serves them alone")]

mod evaluation;
mod health;
mod looking;
mod reloading;
mod stopping;
mod structure;
#[path = "../support/mod.rs"]
mod support;
mod waves;
