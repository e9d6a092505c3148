//! What `prometheus.scrape` takes, with Alloy's defaults. What may go with what is in `checks`.

use std::collections::BTreeMap;
use std::time::Duration;

use component::{MetricsReceiver, Target};
use net::HttpClientConfig;
use syntax::Block;

use super::byte_size::ByteSize;

/// Protocols that Alloy asks for by default, most wanted first.
pub(super) const DEFAULT_PROTOCOLS: [&str; 4] =
    ["OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"];
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
    /// Whether native histograms are taken. The default of `scrape_protocols` then begins with `PrometheusProto`, which has to be among
    /// them. A target may say otherwise in the label `__scrape_native_histograms__`.
    pub scrape_native_histograms: bool,
    /// Whether classic histograms are taken too where a target exposes native ones. A target may say otherwise in the label
    /// `__always_scrape_classic_histograms__`.
    pub scrape_classic_histograms: bool,
    /// Whether classic histograms become native ones with custom buckets. A target may say otherwise in the label
    /// `__convert_classic_histograms_to_nhcb__`.
    pub convert_classic_histograms_to_nhcb: bool,
    /// How often to scrape.
    #[syntax(default = Duration::from_secs(60))]
    pub scrape_interval: Duration,
    /// How long a scrape may take; at most the interval.
    #[syntax(default = Duration::from_secs(10))]
    pub scrape_timeout: Duration,
    /// The file to which scrapes are written that get no body: an object in JSON per line, appended.
    pub scrape_failure_log_file: String,
    /// Protocols to ask for, most wanted first: `PrometheusProto`, `OpenMetricsText1.0.0`, `OpenMetricsText0.0.1`, `PrometheusText1.0.0`,
    /// `PrometheusText0.0.4`.
    #[syntax(default = DEFAULT_PROTOCOLS.map(str::to_owned).to_vec())]
    pub scrape_protocols: Vec<String>,
    /// The protocol of bodies whose content type is missing, wrong or unknown; with `""` such scrapes fail.
    #[syntax(default = "PrometheusText0_0_4".to_owned())]
    pub scrape_fallback_protocol: String,
    /// The path to scrape.
    #[syntax(default = "/metrics".to_owned())]
    pub metrics_path: String,
    /// The scheme to scrape with.
    #[syntax(default = "http".to_owned())]
    pub scheme: String,
    /// A body of so many bytes or more fails the scrape, before compression: a number, or a text like `"10MB"`. 0 for the process's limit
    /// (`--scrape.max-body-size`).
    pub body_size_limit: ByteSize,
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
    /// How targets are asked to write names that are not valid in the legacy scheme: `underscores`, `dots`, `values`, or `allow-utf-8`,
    /// which needs `metric_name_validation_scheme = "utf8"` and is its default.
    pub metric_name_escaping_scheme: String,
    /// Native histograms with more buckets are made coarser; if that can't be, the scrape fails. 0 for no limit.
    pub native_histogram_bucket_limit: u64,
    /// Native histograms whose buckets grow by less than this factor are made coarser. 0 for no limit.
    pub native_histogram_min_bucket_factor: f64,
    /// Whether to ask for gzip.
    #[syntax(default = true)]
    pub enable_compression: bool,
    /// Deprecated: as `scrape_native_histograms = true`. Not together with `scrape_protocols`.
    pub enable_protobuf_negotiation: bool,
    /// Whether to write scrape_timeout_seconds, scrape_sample_limit and scrape_body_size_bytes too.
    pub extra_metrics: bool,
    /// Experimental: whether series keep what targets say about them (type, help, unit), for components that can send it on.
    pub honor_metadata: bool,
    /// Experimental: whether series get their type and unit as labels `__type__` and `__unit__`.
    pub enable_type_and_unit_labels: bool,
    /// Experimental: whether a sample of zero is written at the time at which a target says that the counting of a series began.
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
    /// Labels that tell targets apart which have URL and job in common, as they are after relabelling. Targets that are equal in URL, job
    /// and these labels go to the same node.
    pub included_labels: Vec<String>,
    /// Labels that decide nothing though they are part of URL or job, such as `__param_sig` of a signed URL. Of `__address__`,
    /// `__metrics_path__`, `__param_<name>`, `__scheme__` and `job`; other labels decide nothing unless they are in `included_labels`.
    pub excluded_labels: Vec<String>,
    /// How many nodes scrape each target, each for a complete set of its series; at most 5. With fewer nodes, the last sets are not
    /// scraped. Nodes with different `--cluster.zone` are preferred.
    #[syntax(default = 1)]
    pub replication_factor: u64,
    /// The label that tells these sets apart, with the values `r0`, `r1`, …; empty for none. Without more than one set there is no label.
    #[syntax(default = "__replica__".to_owned())]
    pub replica_label: String,
}

impl Arguments {
    /// The job of targets that have none.
    pub(super) fn job(&self, id: &str) -> String {
        if self.job_name.is_empty() { id.to_owned() } else { self.job_name.clone() }
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
        assert_eq!(arguments.protocols(), DEFAULT_PROTOCOLS);
        assert!(!arguments.native_histograms());
    }
}
