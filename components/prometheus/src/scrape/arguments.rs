//! What `prometheus.scrape` takes, with Alloy's defaults, and what of it is refused because its feature is not there yet.

use std::collections::BTreeMap;
use std::time::Duration;

use component::{MetricsReceiver, Target};
use net::HttpClientConfig;
use syntax::Block;

/// Protocols that Alloy asks for by default, most wanted first.
const DEFAULT_PROTOCOLS: [&str; 4] = ["OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"];
/// Protocols that can be read; the others are accepted in the list and not asked for.
const KNOWN_PROTOCOLS: [&str; 5] =
    ["PrometheusProto", "OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"];

/// Scrapes targets that expose metrics over HTTP.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// Targets to scrape.
    #[syntax(required)]
    pub targets: Vec<Target>,
    /// Where the scraped metrics go.
    #[syntax(required)]
    pub forward_to: Vec<MetricsReceiver>,
    /// The job of targets that have none; by default the component's ID.
    pub job_name: String,
    /// Whether labels that the target exposes win over those of the target.
    pub honor_labels: bool,
    /// Whether timestamps that the target exposes are kept.
    #[syntax(default = true)]
    pub honor_timestamps: bool,
    /// Whether series with timestamps of their own get staleness markers.
    pub track_timestamps_staleness: bool,
    /// URL parameters of the scrape.
    pub params: BTreeMap<String, Vec<String>>,
    /// Native histograms; not supported yet.
    pub scrape_native_histograms: bool,
    /// Classic histograms beside native ones.
    pub scrape_classic_histograms: bool,
    /// Conversion of classic histograms; not supported yet.
    pub convert_classic_histograms_to_nhcb: bool,
    /// How often to scrape.
    #[syntax(default = Duration::from_secs(60))]
    pub scrape_interval: Duration,
    /// How long a scrape may take; at most the interval.
    #[syntax(default = Duration::from_secs(10))]
    pub scrape_timeout: Duration,
    /// The file to which failed scrapes are written; not supported yet.
    pub scrape_failure_log_file: String,
    /// Protocols to ask for, most wanted first. Of these, the text formats of Prometheus are read.
    #[syntax(default = DEFAULT_PROTOCOLS.map(str::to_owned).to_vec())]
    pub scrape_protocols: Vec<String>,
    /// How to read a body whose content type says nothing.
    #[syntax(default = "PrometheusText0_0_4".to_owned())]
    pub scrape_fallback_protocol: String,
    /// The path to scrape.
    #[syntax(default = "/metrics".to_owned())]
    pub metrics_path: String,
    /// The scheme to scrape with.
    #[syntax(default = "http".to_owned())]
    pub scheme: String,
    /// Largest body in bytes; 0 for the process's limit.
    pub body_size_limit: u64,
    /// Most samples in a scrape; 0 for no limit.
    pub sample_limit: u64,
    /// Most targets; 0 for no limit.
    pub target_limit: u64,
    /// Most labels on a series; 0 for no limit.
    pub label_limit: u64,
    /// Longest name of a label; 0 for no limit.
    pub label_name_length_limit: u64,
    /// Longest value of a label; 0 for no limit.
    pub label_value_length_limit: u64,
    /// Names that metrics and labels may have: `legacy` or `utf8`.
    #[syntax(default = "legacy".to_owned())]
    pub metric_name_validation_scheme: String,
    /// How UTF-8 names are escaped: `underscores`, `dots`, `values` or `allow-utf-8`. By default after the validation scheme.
    pub metric_name_escaping_scheme: String,
    /// Most buckets of a native histogram.
    pub native_histogram_bucket_limit: u64,
    /// Smallest factor between buckets of a native histogram.
    pub native_histogram_min_bucket_factor: f64,
    /// Whether to ask for gzip.
    #[syntax(default = true)]
    pub enable_compression: bool,
    /// Protobuf negotiation, deprecated by Alloy; not supported yet.
    pub enable_protobuf_negotiation: bool,
    /// Whether to write scrape_timeout_seconds, scrape_sample_limit and scrape_body_size_bytes too.
    pub extra_metrics: bool,
    /// Metadata with the samples; not supported yet.
    pub honor_metadata: bool,
    /// Type and unit as labels; not supported yet.
    pub enable_type_and_unit_labels: bool,
    /// Zero samples at start timestamps; not supported yet.
    pub start_timestamp_zero_ingestion: bool,
    /// How the targets are reached.
    #[syntax(squash)]
    pub http_client: HttpClientConfig,
    /// Sharing of the targets with the other nodes of the fleet.
    #[syntax(block)]
    pub clustering: Option<Clustering>,
}

/// Sharing of the targets with the other nodes of the fleet.
#[derive(Block, Clone, Debug, Default, PartialEq)]
pub struct Clustering {
    /// Whether this node scrapes only its share. Needs `--cluster.enabled`; without it, this node scrapes everything.
    #[syntax(required)]
    pub enabled: bool,
}

impl Arguments {
    /// The job of targets that have none.
    pub(super) fn job(&self, id: &str) -> String {
        if self.job_name.is_empty() { id.to_owned() } else { self.job_name.clone() }
    }

    fn validate(&self) -> Result<(), String> {
        if self.scrape_timeout > self.scrape_interval {
            let shown = |duration| syntax::format_duration(duration);
            return Err(format!(
                "scrape_timeout ({}) greater than scrape_interval ({})",
                shown(self.scrape_timeout),
                shown(self.scrape_interval)
            ));
        }
        if self.scrape_interval.is_zero() || self.scrape_timeout.is_zero() {
            return Err("scrape_interval and scrape_timeout must be greater than 0".to_owned());
        }
        self.validate_protocols()?;
        if !["legacy", "utf8"].contains(&self.metric_name_validation_scheme.as_str()) {
            return Err(format!("metric_name_validation_scheme is {:?}; use \"legacy\" or \"utf8\"", self.metric_name_validation_scheme));
        }
        if !["", "underscores", "allow-utf-8"].contains(&self.metric_name_escaping_scheme.as_str()) {
            return Err(format!(
                "metric_name_escaping_scheme {:?} is not supported yet; use \"underscores\" or \"allow-utf-8\"",
                self.metric_name_escaping_scheme
            ));
        }
        match self.unsupported() {
            Some(argument) => Err(format!("{argument} is not supported yet; leave it out")),
            None => Ok(()),
        }
    }

    fn validate_protocols(&self) -> Result<(), String> {
        for (at, protocol) in self.scrape_protocols.iter().enumerate() {
            if !KNOWN_PROTOCOLS.contains(&protocol.as_str()) {
                return Err(format!("unknown scrape protocol {protocol:?}; known are {}", KNOWN_PROTOCOLS.join(", ")));
            }
            if self.scrape_protocols[..at].contains(protocol) {
                return Err(format!("duplicated protocol in scrape_protocols: {protocol}"));
            }
        }
        if !self.scrape_protocols.iter().any(|protocol| protocol.starts_with("PrometheusText")) {
            return Err("scrape_protocols has none that is supported yet; add \"PrometheusText0.0.4\"".to_owned());
        }
        Ok(())
    }

    fn unsupported(&self) -> Option<&'static str> {
        [
            ("scrape_native_histograms", self.scrape_native_histograms),
            ("convert_classic_histograms_to_nhcb", self.convert_classic_histograms_to_nhcb),
            ("scrape_failure_log_file", !self.scrape_failure_log_file.is_empty()),
            ("enable_protobuf_negotiation", self.enable_protobuf_negotiation),
            ("honor_metadata", self.honor_metadata),
            ("enable_type_and_unit_labels", self.enable_type_and_unit_labels),
            ("start_timestamp_zero_ingestion", self.start_timestamp_zero_ingestion),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syntax::Scope;

    fn decode(more: &str) -> Result<Arguments, String> {
        syntax::decode_str(&format!("targets = []\nforward_to = []\n{more}"), &Scope::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_alloys() {
        let arguments = decode("").unwrap();
        assert_eq!(arguments.scrape_interval, Duration::from_secs(60));
        assert_eq!(arguments.scrape_timeout, Duration::from_secs(10));
        assert_eq!((arguments.metrics_path.as_str(), arguments.scheme.as_str()), ("/metrics", "http"));
        assert!(arguments.honor_timestamps && arguments.enable_compression);
        assert!(arguments.clustering.is_none());
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_name() {
        for (source, part) in [
            ("scrape_interval = \"5s\"", "scrape_timeout (10s) greater than scrape_interval (5s)"),
            ("scrape_native_histograms = true", "scrape_native_histograms is not supported yet"),
            ("scrape_protocols = [\"Text\"]", "unknown scrape protocol"),
            ("scrape_protocols = [\"PrometheusText0.0.4\", \"PrometheusText0.0.4\"]", "duplicated"),
            ("scrape_protocols = [\"OpenMetricsText1.0.0\"]", "supported"),
            ("metric_name_validation_scheme = \"x\"", "metric_name_validation_scheme"),
            ("clustering { }", "enabled"),
        ] {
            let error = decode(source).unwrap_err();
            assert!(error.contains(part), "{source}: {error}");
        }
    }
}
