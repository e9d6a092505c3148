//! What `prometheus.remote_write` takes, with Alloy's defaults, and what of it is refused because its feature is not there yet.

use std::collections::BTreeMap;
use std::time::Duration;

use component::{RuleBlock, Stability};
use delivery::{Compression, Dialect, Message};
use net::{HttpClientConfig, HttpUrl};
use syntax::{Block, Secret};

/// The remote-write message of version 1.0.
const MESSAGE_1_0: &str = "prometheus.WriteRequest";
/// That of version 2.0.
const MESSAGE_2_0: &str = "io.prometheus.write.v2.Request";
const SNAPPY: &str = "snappy";
const ZSTD: &str = "zstd";

/// Sends metrics to receivers of Prometheus' remote write.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// Labels that series get that do not have them.
    pub external_labels: BTreeMap<String, String>,
    /// A receiver; each has its own queue.
    #[syntax(block)]
    pub endpoint: Vec<Endpoint>,
    /// What Alloy keeps of unsent samples. Accepted for compatibility: here each endpoint keeps what it has not sent.
    #[syntax(block)]
    pub wal: Wal,
}

/// A receiver of remote write.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Where to send to.
    #[syntax(required)]
    pub url: HttpUrl,
    /// The name in metrics and logs; by default made of the URL.
    pub name: String,
    /// How long a request may take.
    #[syntax(default = Duration::from_secs(30))]
    pub remote_timeout: Duration,
    /// Headers of every request. Their values are not shown, as some are keys.
    pub headers: BTreeMap<String, Secret>,
    /// Whether exemplars are sent.
    #[syntax(default = true)]
    pub send_exemplars: bool,
    /// Whether native histograms are sent.
    pub send_native_histograms: bool,
    /// Whether connections go round the receiver's addresses; not supported yet.
    pub round_robin_dns: bool,
    /// The message: `prometheus.WriteRequest` of remote write 1.0, or `io.prometheus.write.v2.Request` of 2.0, which is experimental. A
    /// receiver that does not understand 2.0 gets 1.0, and 2.0 again an hour later.
    #[syntax(default = MESSAGE_1_0.to_owned())]
    pub protobuf_message: String,
    /// How requests are compressed: `snappy`, or `zstd`, which takes half the bytes and is understood by VictoriaMetrics and by
    /// `prometheus.receive_http` here. A receiver that does not understand zstd gets snappy, and zstd again an hour later. Alloy has no such
    /// argument.
    #[syntax(default = SNAPPY.to_owned())]
    pub compression: String,
    /// HTTP/2 is off by default here, as in Alloy.
    #[syntax(squash)]
    pub http_client: HttpClientConfig,
    /// Queue and shards.
    #[syntax(block)]
    pub queue_config: QueueConfig,
    /// Metadata of metric families beside remote write 1.0; with 2.0 it goes with each series.
    #[syntax(block)]
    pub metadata_config: MetadataConfig,
    /// A relabelling rule for this receiver.
    #[syntax(block)]
    pub write_relabel_config: Vec<RuleBlock>,
}

/// Queue and shards of a receiver.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct QueueConfig {
    /// Samples that a shard may hold in memory.
    #[syntax(default = 10_000_usize)]
    pub capacity: usize,
    /// Most requests at a time.
    #[syntax(default = 50_usize)]
    pub max_shards: usize,
    /// Requests at a time to begin with.
    #[syntax(default = 1_usize)]
    pub min_shards: usize,
    /// Most samples in a request.
    #[syntax(default = 2_000_usize)]
    pub max_samples_per_send: usize,
    /// How long samples wait for a request to fill.
    #[syntax(default = Duration::from_secs(5))]
    pub batch_send_deadline: Duration,
    /// First pause before a request is sent again.
    #[syntax(default = Duration::from_millis(30))]
    pub min_backoff: Duration,
    /// Longest pause.
    #[syntax(default = Duration::from_secs(5))]
    pub max_backoff: Duration,
    /// Whether a request that was answered with 429 is sent again.
    #[syntax(default = true)]
    pub retry_on_http_429: bool,
    /// Samples older than this are dropped; 0 for never.
    pub sample_age_limit: Duration,
}

/// Metadata of a receiver.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct MetadataConfig {
    /// Whether metadata is sent.
    #[syntax(default = true)]
    pub send: bool,
    /// How often.
    #[syntax(default = Duration::from_secs(60))]
    pub send_interval: Duration,
    /// Most entries in a request.
    #[syntax(default = 2_000_usize)]
    pub max_samples_per_send: usize,
}

/// Alloy's write-ahead log.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct Wal {
    /// How often Alloy drops what is old.
    #[syntax(default = Duration::from_secs(2 * 3600))]
    pub truncate_frequency: Duration,
    /// What Alloy keeps at least.
    #[syntax(default = Duration::from_secs(5 * 60))]
    pub min_keepalive_time: Duration,
    /// What Alloy keeps at most.
    #[syntax(default = Duration::from_secs(8 * 3600))]
    pub max_keepalive_time: Duration,
}

impl Arguments {
    fn validate(&self) -> Result<(), String> {
        for (at, endpoint) in self.endpoint.iter().enumerate() {
            endpoint.validate().map_err(|error| format!("endpoint {} ({}): {error}", at + 1, endpoint.url))?;
            if self.endpoint[..at].iter().any(|other| !other.name.is_empty() && other.name == endpoint.name) {
                return Err(format!("found duplicate remote write configs with name {:?}", endpoint.name));
            }
        }
        Ok(())
    }
}

impl Endpoint {
    /// The message and its compression.
    pub(super) fn dialect(&self) -> Result<Dialect, String> {
        let message = match self.protobuf_message.as_str() {
            MESSAGE_1_0 => Message::V1,
            MESSAGE_2_0 => Message::V2,
            other => return Err(format!("protobuf_message {other:?} is none of {MESSAGE_1_0:?} and {MESSAGE_2_0:?}")),
        };
        let compression = match self.compression.as_str() {
            SNAPPY => Compression::Snappy,
            ZSTD => Compression::Zstd,
            other => return Err(format!("compression {other:?} is none of {SNAPPY:?} and {ZSTD:?}")),
        };
        Ok(Dialect { message, compression })
    }

    /// What the process has to permit for this endpoint.
    pub(super) fn stability(&self) -> Stability {
        if self.protobuf_message == MESSAGE_2_0 { Stability::Experimental } else { Stability::GenerallyAvailable }
    }

    fn validate(&self) -> Result<(), String> {
        self.dialect()?;
        let metadata = &self.metadata_config;
        if metadata.send && (metadata.send_interval.is_zero() || metadata.max_samples_per_send == 0) {
            return Err("send_interval and max_samples_per_send of metadata_config must be greater than 0".to_owned());
        }
        if self.round_robin_dns {
            return Err("round_robin_dns is not supported yet; leave it out".to_owned());
        }
        let queue = &self.queue_config;
        if queue.capacity == 0 || queue.min_shards == 0 || queue.max_samples_per_send == 0 {
            return Err("capacity, min_shards and max_samples_per_send of queue_config must be greater than 0".to_owned());
        }
        if queue.max_shards < queue.min_shards {
            return Err("max_shards of queue_config is less than min_shards".to_owned());
        }
        if queue.max_backoff < queue.min_backoff {
            return Err("max_backoff of queue_config is less than min_backoff".to_owned());
        }
        RuleBlock::compile(&self.write_relabel_config).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syntax::Scope;

    fn decode(endpoint: &str) -> Result<Arguments, String> {
        let source = format!("endpoint {{\nurl = \"http://user:hunter2@localhost/write\"\n{endpoint}\n}}");
        syntax::decode_str(&source, &Scope::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_alloys() {
        let endpoint = decode("").unwrap().endpoint.remove(0);
        assert_eq!(endpoint.remote_timeout, Duration::from_secs(30));
        assert_eq!(endpoint.queue_config.max_samples_per_send, 2000);
        assert_eq!(endpoint.queue_config.min_backoff, Duration::from_millis(30));
        assert!(endpoint.send_exemplars && endpoint.queue_config.retry_on_http_429);
        assert!(!endpoint.send_native_histograms);
        assert_eq!(endpoint.dialect(), Ok(Dialect { message: Message::V1, compression: Compression::Snappy }));
        let metadata = &endpoint.metadata_config;
        assert_eq!((metadata.send, metadata.send_interval, metadata.max_samples_per_send), (true, Duration::from_secs(60), 2000));
    }

    #[test]
    fn messages_and_compressions_have_their_names() {
        let dialect = |source| decode(source).unwrap().endpoint[0].dialect().unwrap();
        let v2 = Dialect { message: Message::V2, compression: Compression::Snappy };
        assert_eq!(dialect("protobuf_message = \"io.prometheus.write.v2.Request\""), v2);
        assert_eq!(dialect("compression = \"zstd\"").compression, Compression::Zstd);
    }

    #[test]
    fn what_cannot_work_is_refused_without_telling_the_password() {
        for (source, part) in [
            ("protobuf_message = \"io.prometheus.write.v3.Request\"", "io.prometheus.write.v2.Request"),
            ("compression = \"gzip\"", "is none of"),
            ("metadata_config {\nsend_interval = \"0s\"\n}", "metadata_config"),
            ("round_robin_dns = true", "not supported yet"),
            ("queue_config {\nmax_shards = 1\nmin_shards = 2\n}", "max_shards"),
            ("write_relabel_config {\nregex = \"(\"\n}", "rule 1"),
        ] {
            let error = decode(source).unwrap_err();
            assert!(error.contains(part), "{source}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
