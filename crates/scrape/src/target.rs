//! From a discovered label set to a target that can be scraped, as Prometheus populates it; and what is known of its scrapes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use model::{Labels, Refused};
use parking_lot::Mutex;

use crate::address::url;
use crate::config::Config;
use crate::duration;
use crate::key::KeyParts;
use crate::series::HistogramForms;

pub(crate) const ADDRESS: &str = "__address__";
pub(crate) const SCHEME: &str = "__scheme__";
pub(crate) const METRICS_PATH: &str = "__metrics_path__";
pub(crate) const PARAM: &str = "__param_";
pub(crate) const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const SCRAPE_NATIVE: &str = "__scrape_native_histograms__";
const SCRAPE_CLASSIC: &str = "__always_scrape_classic_histograms__";
const CONVERT_CLASSIC: &str = "__convert_classic_histograms_to_nhcb__";
/// Labels that begin like this are for the collector, not for series.
const RESERVED: &str = "__";
pub(crate) const JOB: &str = "job";
const INSTANCE: &str = "instance";

/// More labels than any target has, and few enough for every series.
pub(crate) const MAX_LABELS: usize = 1000;

/// Why a discovered label set is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// There is nothing to connect to.
    #[error("no address (label __address__)")]
    NoAddress,
    /// The address is a URL or a path.
    #[error("{0:?} is not a valid hostname (label __address__): a host with a port, without scheme and path")]
    Address(Box<str>),
    /// A label that is no duration.
    #[error("{value:?} in label {label} is not a duration like 30s")]
    Duration {
        /// The label.
        label: &'static str,
        /// Its value.
        value: Box<str>,
    },
    /// A label that is neither true nor false.
    #[error("{value:?} in label {label} is not true or false")]
    Bool {
        /// The label.
        label: &'static str,
        /// Its value.
        value: Box<str>,
    },
    /// A duration of nothing.
    #[error("{0} cannot be 0")]
    Zero(&'static str),
    /// A timeout beyond the interval.
    #[error("scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})")]
    Timeout {
        /// The timeout.
        timeout: Duration,
        /// The interval.
        interval: Duration,
    },
    /// Scheme, address and path make no URL.
    #[error("{0:?} is not a valid URL to scrape: scheme http or https, a host, a path")]
    Url(Box<str>),
    /// More labels than a target may have.
    #[error("{0} labels, at most 1000 are possible")]
    Labels(usize),
}

/// What the last scrapes of a target showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Health {
    /// It has not been scraped here.
    #[default]
    Unknown,
    /// The last scrape was good.
    Up,
    /// The last scrape failed.
    Down,
}

impl Health {
    /// The name that Prometheus' API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What is known of a target's scrapes on this node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// What the last scrape showed.
    pub health: Health,
    /// Why the last scrape failed, empty if it didn't.
    pub last_error: Box<str>,
    /// When the last scrape began, in milliseconds since the epoch; 0 if there was none.
    pub last_scrape: i64,
    /// How long it took.
    pub last_duration: Duration,
    /// Samples in its body.
    pub samples: usize,
    /// Decoded bytes of its body, −1 if it was too large.
    pub body_size: i64,
    /// Whether this node scrapes the target.
    pub owned: bool,
    /// Why the receivers refused a part of the last scrape, if they did.
    pub refused: Option<Refused>,
}

/// What a scrape costs besides its samples, as so many samples: request, answer and bookkeeping.
const SCRAPE_IN_SAMPLES: u64 = 100;

impl Status {
    /// What the target costs at this interval, in samples a minute; `None` before its first good scrape here. By this a fleet shares
    /// targets out.
    #[must_use]
    pub fn work_per_minute(&self, interval: Duration) -> Option<u64> {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        (self.health == Health::Up).then(|| (self.samples as u64 + SCRAPE_IN_SAMPLES) * 60_000 / interval_ms)
    }
}

/// A target that can be scraped.
#[derive(Debug)]
pub struct Target {
    /// Stable hash of what is scraped, see [`crate::KeyLabels`]: the same on every node that discovers it, whatever its other labels are.
    /// It is the name in the cluster of all targets that have it, and the routing key of their batches.
    pub key: u64,
    /// Its name within the job: a stable hash of the labels of its series. Of several with the same labels, all but the first have
    /// numbers mixed in.
    pub(crate) id: u64,
    /// The labels of its series.
    pub labels: Labels,
    /// As it was discovered.
    pub discovered: Labels,
    /// What is scraped.
    pub url: Box<str>,
    /// From scrape to scrape.
    pub interval: Duration,
    /// How long a scrape may take.
    pub timeout: Duration,
    /// Which forms of histograms are taken.
    pub histograms: HistogramForms,
    /// Shared by the versions of a target.
    pub(crate) status: Arc<Mutex<Status>>,
}

impl Target {
    /// Builds a target.
    ///
    /// # Errors
    /// [`TargetError`] names the label.
    pub fn new(discovered: &Labels, config: &Config) -> Result<Self, TargetError> {
        let address = discovered.get(ADDRESS).ok_or(TargetError::NoAddress)?;
        if address.contains('/') {
            return Err(TargetError::Address(address.into()));
        }
        let ((interval, timeout), histograms) = (times(discovered, config)?, histograms(discovered, config)?);
        let scheme = discovered.get(SCHEME).unwrap_or(&config.scheme);
        let path = discovered.get(METRICS_PATH).unwrap_or(&config.metrics_path);
        let params = params(discovered, config);
        let url = url(scheme, address, path, &params);
        let scrapable = url.parse().is_ok_and(|uri: Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
        if !scrapable {
            return Err(TargetError::Url(url.into()));
        }
        let labels = public_labels(discovered, config, address);
        if labels.len() > MAX_LABELS {
            return Err(TargetError::Labels(labels.len()));
        }
        let own_interval = discovered.get(INTERVAL).map(|_| interval);
        let parts = KeyParts { scheme, address, path, params: &params, interval: own_interval, labels: &labels, discovered };
        let (key, id) = (parts.key(&config.key_labels), labels.stable_hash());
        let (url, status) = (url.into(), Arc::default());
        Ok(Self { key, id, labels, discovered: discovered.clone(), url, interval, timeout, histograms, status })
    }

    /// What is known of its scrapes.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.lock().clone()
    }

    /// From scrape to scrape in milliseconds.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the other one is this one in everything but its status.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let Self { key, id, labels, discovered, url, interval, timeout, histograms, status: _ } = self;
        (key, id, interval, timeout, histograms) == (&other.key, &other.id, &other.interval, &other.timeout, &other.histograms)
            && (labels, discovered, url) == (&other.labels, &other.discovered, &other.url)
    }
}

fn times(discovered: &Labels, config: &Config) -> Result<(Duration, Duration), TargetError> {
    let of = |label: &'static str, name: &'static str, default: Duration| {
        let Some(value) = discovered.get(label) else { return Ok(default) };
        match duration::parse(value) {
            None => Err(TargetError::Duration { label, value: value.into() }),
            Some(Duration::ZERO) => Err(TargetError::Zero(name)),
            Some(duration) => Ok(duration),
        }
    };
    let interval = of(INTERVAL, "scrape interval", config.scrape_interval)?;
    let timeout = of(TIMEOUT, "scrape timeout", config.scrape_timeout)?;
    if timeout > interval {
        return Err(TargetError::Timeout { timeout, interval });
    }
    Ok((interval, timeout))
}

fn histograms(discovered: &Labels, config: &Config) -> Result<HistogramForms, TargetError> {
    let of = |label: &'static str, default: bool| match discovered.get(label) {
        None => Ok(default),
        // What Go's strconv.ParseBool takes.
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => Err(TargetError::Bool { label, value: value.into() }),
    };
    let HistogramForms { native, keep_classic, convert_classic } = config.rules.histograms;
    Ok(HistogramForms {
        native: of(SCRAPE_NATIVE, native)?,
        keep_classic: of(SCRAPE_CLASSIC, keep_classic)?,
        convert_classic: of(CONVERT_CLASSIC, convert_classic)?,
    })
}

fn params<'a>(discovered: &'a Labels, config: &'a Config) -> BTreeMap<&'a str, Vec<&'a str>> {
    let configured = config.params.iter().filter(|(_, values)| !values.is_empty());
    let mut params: BTreeMap<&str, Vec<&str>> =
        configured.map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect())).collect();
    for (name, value) in discovered.iter().filter_map(|(name, value)| Some((name.strip_prefix(PARAM)?, value))) {
        match params.get_mut(name) {
            Some(values) => values[0] = value,
            None => drop(params.insert(name, vec![value])),
        }
    }
    params
}

fn public_labels(discovered: &Labels, config: &Config, address: &str) -> Labels {
    let mut labels = discovered.to_builder();
    labels.retain(|name, _| !name.starts_with(RESERVED));
    for (name, value) in [(JOB, config.job_name.as_str()), (INSTANCE, address)] {
        if labels.get(name).is_none() {
            labels.set(name, value);
        }
    }
    if let Some((name, value)) = &config.replica {
        labels.set(name, value);
    }
    labels.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Rules;

    fn config() -> Config {
        Config { job_name: "jobs".to_owned(), ..Config::default() }
    }

    fn target(labels: &[(&str, &str)]) -> Result<Target, TargetError> {
        Target::new(&labels.iter().copied().collect(), &config())
    }

    #[test]
    fn a_bare_address_gets_everything_from_the_job() {
        let target = target(&[("__address__", "h:9100"), ("__meta_x", "y"), ("__tmp", "z"), ("team", "a")]).unwrap();
        assert_eq!(target.labels.to_string(), r#"{instance="h:9100", job="jobs", team="a"}"#);
        assert_eq!(&*target.url, "http://h:9100/metrics");
        assert_eq!((target.interval, target.timeout), (Duration::from_secs(60), Duration::from_secs(10)));
        assert_eq!(target.status(), Status::default());
    }

    #[test]
    fn a_target_may_say_everything_itself() {
        let target = target(&[
            ("__address__", "h"),
            ("__scheme__", "https"),
            ("__metrics_path__", "/probe"),
            ("__param_target", "a.b"),
            ("__scrape_interval__", "15s"),
            ("__scrape_timeout__", "1s500ms"),
            ("job", "own"),
            ("instance", "me"),
        ])
        .unwrap();
        assert_eq!(target.labels.to_string(), r#"{instance="me", job="own"}"#);
        assert_eq!(&*target.url, "https://h/probe?target=a.b", "no port is added, as in Prometheus 3");
        assert_eq!((target.interval, target.timeout), (Duration::from_secs(15), Duration::from_millis(1500)));
        assert_eq!(target.interval_ms(), 15_000);
    }

    #[test]
    fn a_target_may_want_other_forms_of_histograms() {
        let forms = |native, keep_classic, convert_classic| HistogramForms { native, keep_classic, convert_classic };
        let config = Config { rules: Rules { histograms: forms(true, false, false), ..Rules::default() }, ..config() };
        let of = |labels: &[(&str, &str)]| {
            let labels: Labels = [("__address__", "h")].into_iter().chain(labels.iter().copied()).collect();
            Target::new(&labels, &config).unwrap().histograms
        };
        assert_eq!(of(&[]), forms(true, false, false));
        assert_eq!(
            of(&[("__scrape_native_histograms__", "false"), ("__convert_classic_histograms_to_nhcb__", "1")]),
            forms(false, false, true)
        );
        assert_eq!(of(&[("__always_scrape_classic_histograms__", "T")]), forms(true, true, false));
    }

    #[test]
    fn a_param_label_replaces_the_first_value() {
        let params = [("module", vec!["a", "b"]), ("other", vec!["c"]), ("none", vec![])];
        let params = params.map(|(name, values)| (name.to_owned(), values.into_iter().map(str::to_owned).collect()));
        let config = Config { params: params.into(), ..config() };
        let labels: Labels = [("__address__", "h"), ("__param_module", "x"), ("__param_z", "y")].into_iter().collect();
        assert_eq!(&*Target::new(&labels, &config).unwrap().url, "http://h/metrics?module=x&module=b&other=c&z=y");
    }

    #[test]
    fn what_is_no_target_is_refused_by_its_label() {
        let cases: [(&[(&str, &str)], &str); 11] = [
            (&[], "no address (label __address__)"),
            (&[("__address__", "")], "no address (label __address__)"),
            (&[("__address__", "http://h:80")], "\"http://h:80\" is not a valid hostname (label __address__)"),
            (&[("__address__", "h"), ("__scrape_interval__", "1")], "\"1\" in label __scrape_interval__ is not a duration like 30s"),
            (&[("__address__", "h"), ("__scrape_interval__", "0s")], "scrape interval cannot be 0"),
            (&[("__address__", "h"), ("__scrape_timeout__", "x")], "\"x\" in label __scrape_timeout__ is not a duration"),
            (&[("__address__", "h"), ("__scrape_timeout__", "0")], "scrape timeout cannot be 0"),
            (&[("__address__", "h"), ("__scrape_timeout__", "2m")], "scrape timeout cannot be greater than scrape interval (120s > 60s)"),
            (
                &[("__address__", "h"), ("__scrape_native_histograms__", "yes")],
                "\"yes\" in label __scrape_native_histograms__ is not true or false",
            ),
            (&[("__address__", "h h")], "\"http://h h/metrics\" is not a valid URL"),
            (&[("__address__", "h"), ("__scheme__", "ftp")], "\"ftp://h/metrics\" is not a valid URL"),
        ];
        for (labels, text) in cases {
            let error = target(labels).expect_err(text).to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
