//! What the engine is told about a scrape job: evaluated arguments, without a configuration language.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::Ownership;
use crate::key::KeyLabels;
use crate::protocol::{Escaping, ScrapeProtocol};
use crate::series::Rules;

/// The default bound of a decoded body, `--scrape.max-body-size`: 256 MiB.
pub const DEFAULT_MAX_BODY_SIZE: u64 = 256 << 20;

/// A scrape job. The defaults are Alloy's, except for the job's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The `job` label of targets that bring none; also the label `scrape_job` of the engine's metrics.
    pub job_name: String,
    /// From scrape to scrape, unless the target says otherwise in `__scrape_interval__`.
    pub scrape_interval: Duration,
    /// How long a scrape may take altogether, unless the target says otherwise in `__scrape_timeout__`.
    pub scrape_timeout: Duration,
    /// The path of targets without `__metrics_path__`.
    pub metrics_path: String,
    /// The scheme of targets without `__scheme__`.
    pub scheme: String,
    /// Query parameters; `__param_<name>` of a target replaces the first value.
    pub params: BTreeMap<String, Vec<String>>,
    /// How series are taken.
    pub rules: Rules,
    /// With more targets than this, all scrapes fail. 0 is no limit.
    pub target_limit: usize,
    /// A decoded body of this many bytes or more fails the scrape. 0 is no limit.
    pub body_size_limit: u64,
    /// The same for every job of the process.
    pub max_body_size: u64,
    /// Ask for gzip.
    pub enable_compression: bool,
    /// The formats to ask for, best first.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// The format of answers whose content type is missing or unknown; without it they fail the scrape.
    pub fallback_protocol: Option<ScrapeProtocol>,
    /// How targets are asked to write names that are not valid in the legacy scheme.
    pub escaping: Escaping,
    /// Report `scrape_timeout_seconds`, `scrape_sample_limit` and `scrape_body_size_bytes` too.
    pub extra_metrics: bool,
    /// The file to which scrapes are written that get no body.
    pub failure_log: Option<PathBuf>,
    /// Which targets this node scrapes.
    pub ownership: Ownership,
    /// What makes the keys of targets.
    pub key_labels: KeyLabels,
    /// A label that all series get beside those of their target, whatever its name: it tells copies of a job apart.
    pub replica: Option<(String, String)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            job_name: String::new(),
            scrape_interval: Duration::from_secs(60),
            scrape_timeout: Duration::from_secs(10),
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            params: BTreeMap::new(),
            rules: Rules::default(),
            target_limit: 0,
            body_size_limit: 0,
            max_body_size: DEFAULT_MAX_BODY_SIZE,
            enable_compression: true,
            scrape_protocols: ScrapeProtocol::DEFAULT.to_vec(),
            fallback_protocol: Some(ScrapeProtocol::PrometheusText0_0_4),
            escaping: Escaping::Underscores,
            extra_metrics: false,
            failure_log: None,
            ownership: Ownership::All,
            key_labels: KeyLabels::default(),
            replica: None,
        }
    }
}

/// A scrape job that can't work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An interval or timeout of less than a millisecond.
    #[error("{0} must be at least 1ms")]
    TooShort(&'static str),
    /// A timeout beyond the interval.
    #[error("scrape_timeout ({timeout:?}) greater than scrape_interval ({interval:?})")]
    Timeout {
        /// The timeout.
        timeout: Duration,
        /// The interval.
        interval: Duration,
    },
    /// No formats to ask for.
    #[error("scrape_protocols must not be empty")]
    Protocols,
    /// A file that can't be opened.
    #[error("scrape_failure_log_file {path:?} can't be written: {error}")]
    FailureLog {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Box<str>,
    },
    /// A job without a name.
    #[error("job_name must not be empty")]
    JobName,
    /// No body would be allowed.
    #[error("the largest body must be at least one byte (--scrape.max-body-size)")]
    MaxBodySize,
}

impl Config {
    /// Whether the job can work.
    ///
    /// # Errors
    /// [`ConfigError`] names the argument.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.job_name.is_empty() {
            return Err(ConfigError::JobName);
        }
        let millisecond = Duration::from_millis(1);
        for (name, value) in [("scrape_interval", self.scrape_interval), ("scrape_timeout", self.scrape_timeout)] {
            if value < millisecond {
                return Err(ConfigError::TooShort(name));
            }
        }
        if self.scrape_timeout > self.scrape_interval {
            return Err(ConfigError::Timeout { timeout: self.scrape_timeout, interval: self.scrape_interval });
        }
        if self.scrape_protocols.is_empty() {
            return Err(ConfigError::Protocols);
        }
        if self.max_body_size == 0 {
            return Err(ConfigError::MaxBodySize);
        }
        Ok(())
    }

    /// Whether series that were scraped under `self` can be scraped under `other` as if nothing had changed (Prometheus:
    /// `reusableCache`). The HTTP client is not part of this.
    #[must_use]
    pub fn keeps_series(&self, other: &Self) -> bool {
        let timeless = |config: &Self| Self {
            scrape_interval: Duration::ZERO,
            scrape_timeout: Duration::ZERO,
            rules: Rules { sample_limit: 0, ..config.rules.clone() },
            failure_log: None,
            ownership: Ownership::All,
            key_labels: KeyLabels::default(),
            ..config.clone()
        };
        timeless(self) == timeless(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config { job_name: "j".to_owned(), ..Config::default() }
    }

    #[test]
    fn the_defaults_work() {
        assert_eq!(config().check(), Ok(()));
    }

    #[test]
    fn arguments_that_can_t_work_are_named() {
        type Change = fn(&mut Config);
        let cases: [(Change, &str); 6] = [
            (|c| c.job_name.clear(), "job_name must not be empty"),
            (|c| c.scrape_interval = Duration::ZERO, "scrape_interval must be at least 1ms"),
            (|c| c.scrape_timeout = Duration::from_micros(1), "scrape_timeout must be at least 1ms"),
            (|c| c.scrape_timeout = Duration::from_secs(61), "scrape_timeout (61s) greater than scrape_interval (60s)"),
            (|c| c.scrape_protocols.clear(), "scrape_protocols must not be empty"),
            (|c| c.max_body_size = 0, "the largest body must be at least one byte"),
        ];
        for (change, text) in cases {
            let mut config = config();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }

    #[test]
    fn only_changes_that_leave_series_alone_keep_them() {
        let changed = |change: fn(&mut Config)| {
            let mut other = config();
            change(&mut other);
            config().keeps_series(&other)
        };
        assert!(changed(|c| c.scrape_interval = Duration::from_secs(5)));
        assert!(changed(|c| c.rules.sample_limit = 5));
        assert!(changed(|c| c.key_labels.included.push("shard".to_owned())));
        assert!(!changed(|c| c.rules.honor_labels = true));
        assert!(!changed(|c| c.job_name.push('x')));
    }
}
