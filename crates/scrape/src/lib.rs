//! The scrape engine: target sets, slots, loops and limits of a scrape job. It knows no configuration language, no cluster protocol and
//! no relabelling: those belong to the component that drives it, to `cluster`, and to `prometheus.relabel`.
//!
//! One [`Engine`] is one job. The component gives it evaluated arguments and discovered targets, and takes what it shows:
//!
//! ```
//! use std::sync::Arc;
//! use model::{Batch, ConsumeMetrics, Labels, Refused};
//! use scrape::{Config, Ending, Engine, Metrics, Parts, Solo, SystemClock};
//!
//! struct Receiver;
//! impl ConsumeMetrics for Receiver {
//!     fn consume(&self, _batch: Batch) -> Result<(), Refused> {
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let parts = Parts {
//!     sink: Arc::new(Receiver),
//!     transport: Arc::new(net::Client::new(&net::HttpClientConfig::default(), net::ClientOptions::default())?),
//!     slots: Arc::new(Solo),
//!     clock: Arc::new(SystemClock::default()),
//!     metrics: Metrics::register(&prometheus::Registry::new())?,
//! };
//! let config = Config { job_name: "prometheus.scrape.default".to_owned(), ..Config::default() };
//! let engine = Engine::start(config.clone(), parts)?;
//!
//! // Whenever discovery brings another list:
//! let target: Labels = [("__address__", "10.0.0.1:9100"), ("__meta_node", "a")].into_iter().collect();
//! let synced = engine.set_targets(vec![target]);
//! assert_eq!((synced.keys.len(), synced.failures.len()), (1, 0));
//!
//! // Whenever the arguments change:
//! engine.reload(Config { extra_metrics: true, ..config }, None)?;
//!
//! // For health and the API:
//! assert_eq!(engine.overview().targets, 1);
//! assert_eq!(&*engine.targets()[0].url, "http://10.0.0.1:9100/metrics");
//!
//! engine.stop(Ending::Continued).await;
//! # Ok(())
//! # }
//! ```
//!
//! In a cluster the job's `ownership` is [`Ownership::Assigned`]; `synced.keys` go to the cluster, whose orders to start and stop a key
//! are [`Engine::own`], [`Engine::release`] (for a peer that takes it) and [`Engine::disown`], and whose fence is [`Engine::disown_all`].
//! Phases, permission for each slot and the clock are the cluster's too, through [`Slots`] and [`Clock`]. A key may stand for several
//! targets, those of one URL and job with different labels: they are owned, scraped and handed over together.

mod address;
mod config;
mod duration;
mod engine;
mod failures;
pub mod fetch;
mod handover;
mod key;
mod media_type;
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
pub use key::KeyLabels;
pub use metrics::{Metrics, Summaries};
pub use protocol::{ContentTypeError, Escaping, ScrapeProtocol, UnknownProtocol};
pub use slots::{Clock, Slots, Solo, SystemClock};
pub use target::{Health, Status, Target, TargetError};
