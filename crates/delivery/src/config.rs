//! What an endpoint is told: plain values, defaults of `prometheus.remote_write`, and the checks that need no endpoint. Reading them from a
//! configuration is the component's part.

use std::path::PathBuf;
use std::time::Duration;

use model::Labels;

use crate::dialect::Dialect;
use crate::encode::{Content, Relabel};

/// Everything an endpoint needs beside a way to send.
#[derive(Clone)]
pub struct Config {
    /// The endpoint's name: the label `remote_name` of its metrics, and in logs.
    pub name: Box<str>,
    /// Where requests go, for metrics and logs only. User and password are cut off before it is shown.
    pub url: Box<str>,
    /// The `User-Agent` header.
    pub user_agent: Box<str>,
    /// Added to series that don't have a label of that name.
    pub external_labels: Labels,
    /// Write relabelling, after external labels were added; none if there are no rules.
    pub relabel: Option<Relabel>,
    /// What is sent beside float samples.
    pub content: Content,
    /// The message and its compression, if the receiver understands them.
    pub dialect: Dialect,
    /// Metadata beside remote write 1.0; none sends none.
    pub metadata: Option<MetadataConfig>,
    /// How long a request may take before it counts as failed and is sent again.
    pub remote_timeout: Duration,
    /// Shards, sizes and waiting times.
    pub queue: QueueConfig,
    /// Memory and disk.
    pub buffer: BufferConfig,
}

/// The arguments of the block `metadata_config`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataConfig {
    /// How often what is known is sent.
    pub interval: Duration,
    /// Most families in one request.
    pub max_per_send: usize,
}

impl Default for MetadataConfig {
    /// The defaults of Prometheus and Alloy.
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), max_per_send: 2000 }
    }
}

/// The arguments of the block `queue_config`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueConfig {
    /// Samples that the queue holds per shard at least, whatever [`BufferConfig::memory_bytes`] says.
    pub capacity: usize,
    /// Shards to start with, and never fewer.
    pub min_shards: usize,
    /// Never more shards than this.
    pub max_shards: usize,
    /// Most samples in one request.
    pub max_samples_per_send: usize,
    /// Longest time that a sample waits for a request to fill.
    pub batch_send_deadline: Duration,
    /// First pause before a request is sent again; doubles with every failure.
    pub min_backoff: Duration,
    /// Longest pause before a request is sent again.
    pub max_backoff: Duration,
    /// Whether 429 means "later" (sent again) rather than "never" (dropped).
    pub retry_on_http_429: bool,
    /// Samples older than this are dropped unsent; zero sends all.
    pub sample_age_limit: Duration,
}

/// Where batches wait that the receiver has not acknowledged yet.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferConfig {
    /// Most bytes of batches in memory. The default holds a minute of 250 000 samples a second (8 bytes each).
    pub memory_bytes: usize,
    /// What is written to disk; none keeps everything in memory.
    pub disk: Option<DiskConfig>,
}

/// The disk part of the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskConfig {
    /// A directory of the endpoint's own. It is created if missing and locked while in use.
    pub directory: PathBuf,
    /// Most bytes in it; the oldest samples go (and are counted) when they would be exceeded. None: [`DEFAULT_DISK_BYTES`], or
    /// [`VOLUME_PERCENT`] of the volume if that is less.
    pub max_bytes: Option<u64>,
    /// Whether what was written is also synchronised, each second, so that it survives a loss of power. A process that dies loses nothing
    /// of what was written either way.
    pub fsync: bool,
}

/// Default of [`BufferConfig::memory_bytes`].
pub const DEFAULT_MEMORY_BYTES: usize = 128 << 20;
/// Default of [`DiskConfig::max_bytes`].
pub const DEFAULT_DISK_BYTES: u64 = 8 << 30;
/// Of a small volume an endpoint takes no more than this part by default.
pub const VOLUME_PERCENT: u64 = 80;
/// What an endpoint may keep on disk at least: a few segments of useful size.
pub const MIN_DISK_BYTES: u64 = 1 << 20;

impl Default for QueueConfig {
    /// The defaults of Alloy's `queue_config`.
    fn default() -> Self {
        Self {
            capacity: 10_000,
            min_shards: 1,
            max_shards: 50,
            max_samples_per_send: 2000,
            batch_send_deadline: Duration::from_secs(5),
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            retry_on_http_429: true,
            sample_age_limit: Duration::ZERO,
        }
    }
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self { memory_bytes: DEFAULT_MEMORY_BYTES, disk: None }
    }
}

/// A value that can't work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)] // the messages say it
pub enum ConfigError {
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
    #[error("{low} ({low_value}) must not be greater than {high} ({high_value})")]
    Order { low: &'static str, low_value: String, high: &'static str, high_value: String },
    #[error("the disk queue needs at least {MIN_DISK_BYTES} bytes, not {0}")]
    DiskTooSmall(u64),
}

impl Config {
    /// Checks what can be checked without starting.
    ///
    /// # Errors
    /// [`ConfigError`] naming the argument.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let queue = &self.queue;
        let metadata = self.metadata.as_ref();
        let zeros = [
            (metadata.is_some_and(|metadata| metadata.interval.is_zero()), "send_interval"),
            (metadata.is_some_and(|metadata| metadata.max_per_send == 0), "max_samples_per_send of metadata"),
            (queue.capacity == 0, "capacity"),
            (queue.min_shards == 0, "min_shards"),
            (queue.max_shards == 0, "max_shards"),
            (queue.max_samples_per_send == 0, "max_samples_per_send"),
            (queue.batch_send_deadline.is_zero(), "batch_send_deadline"),
            (queue.min_backoff.is_zero(), "min_backoff"),
            (queue.max_backoff.is_zero(), "max_backoff"),
            (self.remote_timeout.is_zero(), "remote_timeout"),
        ];
        if let Some((_, name)) = zeros.iter().find(|(zero, _)| *zero) {
            return Err(ConfigError::Zero(name));
        }
        if queue.min_shards > queue.max_shards {
            return Err(order("min_shards", queue.min_shards, "max_shards", queue.max_shards));
        }
        if queue.min_backoff > queue.max_backoff {
            return Err(order("min_backoff", format!("{:?}", queue.min_backoff), "max_backoff", format!("{:?}", queue.max_backoff)));
        }
        match &self.buffer.disk {
            Some(DiskConfig { max_bytes: Some(bytes), .. }) if *bytes < MIN_DISK_BYTES => Err(ConfigError::DiskTooSmall(*bytes)),
            _ => Ok(()),
        }
    }
}

fn order(low: &'static str, low_value: impl ToString, high: &'static str, high_value: impl ToString) -> ConfigError {
    ConfigError::Order { low, low_value: low_value.to_string(), high, high_value: high_value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl Fn(&mut Config)) -> Config {
        let mut config = Config {
            name: "test".into(),
            url: "http://localhost".into(),
            user_agent: "collector/0".into(),
            external_labels: Labels::empty(),
            relabel: None,
            content: Content::default(),
            dialect: Dialect::default(),
            metadata: Some(MetadataConfig::default()),
            remote_timeout: Duration::from_secs(30),
            queue: QueueConfig::default(),
            buffer: BufferConfig::default(),
        };
        change(&mut config);
        config
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(config(|_| {}).validate(), Ok(()));
    }

    #[test]
    fn impossible_values_are_named() {
        let error = |change: fn(&mut Config)| config(change).validate().unwrap_err().to_string();
        assert_eq!(error(|config| config.queue.capacity = 0), "capacity must be greater than zero");
        assert_eq!(error(|config| config.queue.max_samples_per_send = 0), "max_samples_per_send must be greater than zero");
        assert_eq!(error(|config| config.remote_timeout = Duration::ZERO), "remote_timeout must be greater than zero");
        assert_eq!(error(|config| config.queue.min_shards = 51), "min_shards (51) must not be greater than max_shards (50)");
        assert_eq!(
            error(|config| config.queue.min_backoff = Duration::from_secs(6)),
            "min_backoff (6s) must not be greater than max_backoff (5s)"
        );
        let disk = DiskConfig { directory: "/x".into(), max_bytes: Some(5), fsync: false };
        let small = config(|config| config.buffer.disk = Some(disk.clone())).validate().unwrap_err();
        assert_eq!(small.to_string(), "the disk queue needs at least 1048576 bytes, not 5");
    }
}
