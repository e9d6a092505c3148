//! The block's arguments in the engine's terms.

use std::sync::Arc;

use component::{BuildError, Setup};
use net::{Client, ClientOptions, InternalAddress};
use scrape::fetch::Transport;
use scrape::series::{NameValidation, Rules};
use scrape::{Config, Escaping, Ownership, ScrapeProtocol};

use super::{Arguments, ScrapeLimits};

/// The HTTP client of the component's scrapes.
pub(super) fn transport(arguments: &Arguments, setup: &Setup) -> Result<Arc<dyn Transport>, BuildError> {
    let options = ClientOptions {
        max_idle_per_host: 1, // a target is scraped one at a time
        internal: setup.services().get::<InternalAddress>().map(|own| (*own).clone()),
        ..ClientOptions::default()
    };
    Ok(Arc::new(Client::new(&arguments.http_client, options).map_err(BuildError::new)?))
}

/// The scrape job. `assigned`: only what the cluster gives this node.
pub(super) fn config(arguments: &Arguments, setup: &Setup, assigned: bool) -> Result<Config, BuildError> {
    let limits = setup.services().get::<ScrapeLimits>().map(|limits| *limits).unwrap_or_default();
    let protocols: Result<Vec<ScrapeProtocol>, _> = arguments.scrape_protocols.iter().map(|name| name.parse()).collect();
    let config = Config {
        job_name: arguments.job(setup.id()),
        scrape_interval: arguments.scrape_interval,
        scrape_timeout: arguments.scrape_timeout,
        metrics_path: arguments.metrics_path.clone(),
        scheme: arguments.scheme.clone(),
        params: arguments.params.clone(),
        rules: rules(arguments),
        target_limit: arguments.target_limit as usize,
        body_size_limit: arguments.body_size_limit,
        max_body_size: limits.max_body_size,
        enable_compression: arguments.enable_compression,
        scrape_protocols: protocols.map_err(BuildError::new)?,
        fallback_protocol: fallback(&arguments.scrape_fallback_protocol)?,
        escaping: escaping(arguments),
        extra_metrics: arguments.extra_metrics,
        ownership: if assigned { Ownership::Assigned } else { Ownership::All },
    };
    config.check().map_err(BuildError::new)?;
    Ok(config)
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
        names: if arguments.metric_name_validation_scheme == "utf8" { NameValidation::Utf8 } else { NameValidation::Legacy },
    }
}

/// Alloy's documentation spells the default with underscores where the protocol's name has dots; both are taken.
fn fallback(name: &str) -> Result<Option<ScrapeProtocol>, BuildError> {
    match name {
        "" => Ok(None),
        name => name.replace('_', ".").parse().map(Some).map_err(BuildError::new),
    }
}

fn escaping(arguments: &Arguments) -> Escaping {
    match (arguments.metric_name_escaping_scheme.as_str(), arguments.metric_name_validation_scheme.as_str()) {
        ("allow-utf-8", _) | ("", "utf8") => Escaping::AllowUtf8,
        _ => Escaping::Underscores,
    }
}
