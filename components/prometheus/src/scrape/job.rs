//! The block's arguments in the engine's terms.

use std::path::PathBuf;
use std::sync::Arc;

use component::{BuildError, Setup};
use net::{Client, ClientOptions, InternalAddress};
use scrape::fetch::Transport;
use scrape::series::{HistogramForms, NameValidation, Rules};
use scrape::{Config, KeyLabels, Ownership, ScrapeProtocol};
use syntax::Stability;

use super::{Arguments, ScrapeLimits};

/// The HTTP client of the component's scrapes.
pub(super) fn transport(arguments: &Arguments, setup: &Setup) -> Result<Arc<dyn Transport>, BuildError> {
    let options =
        ClientOptions { internal: setup.services().get::<InternalAddress>().map(|own| (*own).clone()), ..ClientOptions::default() };
    Ok(Arc::new(Client::new(&arguments.http_client, options).map_err(BuildError::new)?))
}

/// The scrape job of a replica. `assigned`: only what the cluster gives this node.
pub(super) fn config(arguments: &Arguments, setup: &Setup, assigned: bool, rank: u32) -> Result<Config, BuildError> {
    let limits = setup.services().get::<ScrapeLimits>().map(|limits| *limits).unwrap_or_default();
    arguments.experimental().try_for_each(|name| setup.admits(Stability::Experimental, &format!("argument {name:?}")))?;
    let protocols: Result<Vec<ScrapeProtocol>, _> = arguments.protocols().iter().map(|name| name.parse()).collect();
    let config = Config {
        job_name: arguments.job(setup.id()),
        scrape_interval: arguments.scrape_interval,
        scrape_timeout: arguments.scrape_timeout,
        metrics_path: arguments.metrics_path.clone(),
        scheme: arguments.scheme.clone(),
        params: arguments.params.clone(),
        rules: rules(arguments),
        target_limit: arguments.target_limit as usize,
        body_size_limit: arguments.body_size_limit.0,
        max_body_size: limits.max_body_size,
        enable_compression: arguments.enable_compression,
        scrape_protocols: protocols.map_err(BuildError::new)?,
        fallback_protocol: fallback(arguments)?,
        escaping: arguments.escaping(),
        extra_metrics: arguments.extra_metrics,
        failure_log: Some(&arguments.scrape_failure_log_file).filter(|path| !path.is_empty()).map(PathBuf::from),
        ownership: if assigned { Ownership::Assigned } else { Ownership::All },
        key_labels: key_labels(arguments),
        replica: replica_label(arguments, rank),
    };
    config.check().map_err(BuildError::new)?;
    Ok(config)
}

fn key_labels(arguments: &Arguments) -> KeyLabels {
    let clustering = arguments.clustering.clone().unwrap_or_default();
    KeyLabels { included: clustering.included_labels, excluded: clustering.excluded_labels }
}

/// The label that tells replicas apart, if there are several.
fn replica_label(arguments: &Arguments, rank: u32) -> Option<(String, String)> {
    let clustering = arguments.clustering.as_ref()?;
    let told = clustering.enabled && clustering.replication_factor > 1 && !clustering.replica_label.is_empty();
    told.then(|| (clustering.replica_label.clone(), format!("r{rank}")))
}

fn rules(arguments: &Arguments) -> Rules {
    Rules {
        honor_labels: arguments.honor_labels,
        honor_timestamps: arguments.honor_timestamps,
        track_timestamps_staleness: arguments.track_timestamps_staleness,
        sample_limit: arguments.sample_limit as usize,
        label_limit: arguments.label_limit as usize,
        label_name_length_limit: arguments.label_name_length_limit as usize,
        label_value_length_limit: arguments.label_value_length_limit as usize,
        histograms: HistogramForms {
            native: arguments.native_histograms(),
            keep_classic: arguments.scrape_classic_histograms,
            convert_classic: arguments.convert_classic_histograms_to_nhcb,
        },
        bucket_limit: arguments.native_histogram_bucket_limit as usize,
        max_schema: model::max_schema(arguments.native_histogram_min_bucket_factor),
        honor_metadata: arguments.honor_metadata,
        type_and_unit_labels: arguments.enable_type_and_unit_labels,
        start_zeros: arguments.start_timestamp_zero_ingestion,
        names: if arguments.metric_name_validation_scheme == "utf8" { NameValidation::Utf8 } else { NameValidation::Legacy },
    }
}

fn fallback(arguments: &Arguments) -> Result<Option<ScrapeProtocol>, BuildError> {
    match arguments.fallback().as_str() {
        "" => Ok(None),
        name => name.parse().map(Some).map_err(BuildError::new),
    }
}
