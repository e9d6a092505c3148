//! A job's arguments and what follows from them, shared by all of its targets.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::config::{Config, ConfigError};
use crate::engine::Synced;
use crate::failures::FailureLog;
use crate::fetch::{BodyLimit, ScrapeError, Terms, Transport, shared_headers};
use crate::metrics::Metrics;
use crate::series::Rules;
use crate::target::Target;

pub(super) struct Job {
    pub(super) config: Config,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) rules: Arc<Rules>,
    pub(super) failures: Option<Arc<FailureLog>>,
}

impl Job {
    /// A job that takes the place of `before`, if there was one.
    ///
    /// # Errors
    /// [`ConfigError`] if it can't work.
    pub(super) fn new(
        config: Config,
        transport: Arc<dyn Transport>,
        before: Option<&Self>,
        metrics: &Metrics,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let (headers, rules) = (Arc::new(shared_headers(&config)), Arc::new(config.rules.clone()));
        let present = before.and_then(|before| before.failures.as_ref());
        let failures = FailureLog::configured(config.failure_log.as_deref(), present, &metrics.failures_lost);
        let failures = failures.map_err(|error| ConfigError::FailureLog {
            path: config.failure_log.clone().unwrap_or_default(),
            error: error.to_string().into(),
        })?;
        Ok(Self { config, transport, headers, rules, failures })
    }

    /// What scrapes of a target may take.
    pub(super) fn terms(&self, target: &Target) -> Terms {
        Terms {
            timeout: target.timeout,
            limit: BodyLimit::new(self.config.body_size_limit, self.config.max_body_size),
            fallback: self.config.fallback_protocol,
            max_memory: usize::try_from(self.config.max_body_size).unwrap_or(usize::MAX),
        }
    }

    /// The error of all scrapes if there are too many targets.
    pub(super) fn target_limit(&self, targets: usize) -> Option<ScrapeError> {
        let limit = self.config.target_limit;
        (limit > 0 && targets > limit).then_some(ScrapeError::TargetLimit { targets, limit })
    }

    pub(super) fn show_limit(&self, metrics: &Metrics) {
        metrics.target_limit.with_label_values(&[&self.config.job_name]).set(self.config.target_limit as f64);
    }

    pub(super) fn count_sync(&self, metrics: &Metrics, synced: &Synced, took: Duration) {
        let job: &[&str] = &[&self.config.job_name];
        metrics.syncs.with_label_values(job).inc();
        metrics.sync_failed.with_label_values(job).inc_by(synced.failures.len() as f64);
        metrics.targets.with_label_values(job).set(synced.targets as f64);
        metrics.sync_length.observe(&self.config.job_name, took.as_secs_f64());
        metrics.sync_length_histogram.with_label_values(job).observe(took.as_secs_f64());
        if self.target_limit(synced.targets).is_some() {
            metrics.exceeded_target_limit.inc();
        }
    }
}
