//! The contract between components and the runtime. A component knows this crate and the engines; it knows neither the runtime nor its
//! siblings. The runtime knows components only as [`Registration`]s.
//!
//! A component is built once from its first valid arguments ([`Component::build`]) and then owns its state in [`Component::run`], where
//! updates, debug requests and the stop come as one stream of [`Event`]s, so it needs no locks.

mod component;
mod context;
mod health;
mod instance;
mod receiver;
mod registration;
mod relabel;
mod serve;
mod services;
mod target;

pub use component::{BuildError, Component, NoExports, RunError};
pub use context::{Context, DebugReply, Event, Setup, Stop};
pub use health::{Health, HealthCell, HealthState};
pub use instance::{ErasedArguments, Instance, InstanceControl};
pub use receiver::{Fanout, MetricsReceiver, is_receiver};
pub use registration::{Host, Registration};
pub use relabel::{RelabelRules, RuleBlock};
pub use serve::{ComponentHttp, HttpReply, HttpRequest};
pub use services::{Services, StabilityLevel};
pub use syntax::Stability;
pub use target::Target;
