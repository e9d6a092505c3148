//! The scrape engine: target sets, slots, loops and limits of a scrape job. It knows no configuration language, no cluster protocol and
//! no relabelling: those belong to the component that drives it, to `cluster`, and to `prometheus.relabel`.

mod config;
mod duration;
pub mod fetch;
mod pool;
mod protocol;
pub mod series;
#[cfg(test)]
mod testing;

pub use config::{Config, ConfigError, DEFAULT_MAX_BODY_SIZE};
pub use protocol::{ContentTypeError, Escaping, ScrapeProtocol, UnknownProtocol};
