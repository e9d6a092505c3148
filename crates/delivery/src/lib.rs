//! The way to an endpoint: a bounded, durable queue, shards that keep the order of every series, retries, and requests built from
//! pre-compressed templates. Knows no configuration language and no HTTP client: a component gives [`Config`] and an implementation of
//! [`Post`], and hands [`Delivery::consumer`] to whoever has batches.

mod adopter;
mod backlog;
mod config;
mod delivery;
mod dialect;
#[doc(hidden)] // for benches
pub mod encode;
mod metadata;
mod metrics;
mod queue;
mod retry;
mod send;
mod shards;
mod shared;
mod spool;
mod status;

pub use adopter::{Adopter, TakeError, Taken};
pub use backlog::{Backlog, MAX_FRAME_BYTES, NotTaken, Shipped, Successors};
pub use config::{
    BufferConfig, Config, ConfigError, DEFAULT_DISK_BYTES, DEFAULT_MEMORY_BYTES, DiskConfig, MIN_DISK_BYTES, MetadataConfig, QueueConfig,
    VOLUME_PERCENT,
};
pub use delivery::{Delivery, Drained, StartError};
pub use dialect::{Compression, Dialect};
pub use encode::{Content, Message, Relabel, Tally};
pub use metrics::Metrics;
pub use send::{EXCERPT, Post, PostError, RETRY_ATTEMPT, Response, VERSION, VICTORIA_METRICS_VERSION, written};
pub use status::{Failure, Status};
