//! The scrape engine: target sets, slots, loops and limits of a scrape job. It knows no configuration language, no cluster protocol and
//! no relabelling: those belong to the component that drives it, to `cluster`, and to `prometheus.relabel`.

mod address;
mod config;
mod duration;
mod engine;
pub mod fetch;
mod handover;
mod metrics;
mod pool;
mod protocol;
pub mod series;
mod slots;
mod target;
#[cfg(test)]
mod testing;

pub use config::{Config, ConfigError, DEFAULT_MAX_BODY_SIZE};
pub use engine::{DropReason, Dropped, Ending, Engine, Overview, Ownership, Parts, Released, Synced};
pub use handover::{Handover, HandoverError};
pub use metrics::{Metrics, Summaries};
pub use protocol::{ContentTypeError, Escaping, ScrapeProtocol, UnknownProtocol};
pub use slots::{Clock, Slots, Solo, SystemClock};
pub use target::{Health, Status, Target, TargetError};
