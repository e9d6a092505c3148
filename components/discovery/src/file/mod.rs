//! `discovery.file`: reads target groups from files, at intervals and when their folders change (Prometheus' file service discovery).

mod pattern;
mod scan;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use component::Target;
use prometheus::{GaugeVec, IntCounter, Opts, Registry};
use syntax::Block;
use watch::Watcher;

use crate::metrics::{Durations, counter};
use crate::shape::{Discovery, Refreshed, check_interval};
use pattern::Pattern;
use scan::Found;

/// Discovers targets from a set of files in JSON or YAML.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// Files to read and discover targets from. The last path element may hold wildcards and must end in `.json`, `.yml` or `.yaml`.
    #[syntax(required)]
    pub files: Vec<String>,
    /// How often to read them even if no change was seen.
    #[syntax(default = Duration::from_secs(300))]
    pub refresh_interval: Duration,
}

impl Arguments {
    fn validate(&self) -> Result<(), String> {
        check_interval(self.refresh_interval)?;
        self.patterns().map(drop)
    }

    fn patterns(&self) -> Result<Vec<Pattern>, String> {
        self.files.iter().map(|text| Pattern::new(text)).collect()
    }
}

/// `discovery.file`.
pub struct Files {
    interval: Duration,
    patterns: Vec<Pattern>,
    watcher: Watcher,
    /// The last good targets of each file that is there.
    known: BTreeMap<PathBuf, Vec<Target>>,
    /// Whether some folder could not be watched at the last refresh; counted and logged when it begins.
    was_blind: bool,
}

/// What Prometheus counts of file discovery.
pub struct Metrics {
    read_errors: IntCounter,
    watcher_errors: IntCounter,
    scan_duration: Durations,
    mtime: GaugeVec,
}

impl Discovery for Files {
    const NAME: &'static str = "discovery.file";
    type Arguments = Arguments;
    type Metrics = Metrics;

    fn metrics(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let scan_duration =
            Durations::new(Opts::new("prometheus_sd_file_scan_duration_seconds", "The duration of the File-SD scan in seconds."))?;
        let mtime = GaugeVec::new(
            Opts::new("prometheus_sd_file_mtime_seconds", "Timestamp (mtime) of files read by FileSD. Timestamp is set at read time."),
            &["filename"],
        )?;
        registry.register(Box::new(scan_duration.clone()))?;
        registry.register(Box::new(mtime.clone()))?;
        Ok(Metrics {
            read_errors: counter(registry, "prometheus_sd_file_read_errors_total", "The number of File-SD read errors.")?,
            watcher_errors: counter(
                registry,
                "prometheus_sd_file_watcher_errors_total",
                "The number of File-SD errors caused by filesystem watch failures.",
            )?,
            scan_duration,
            mtime,
        })
    }

    fn new(arguments: Arguments) -> Result<Self, String> {
        let patterns = arguments.patterns()?;
        Ok(Self { interval: arguments.refresh_interval, patterns, watcher: Watcher::new(), known: BTreeMap::new(), was_blind: false })
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn refresh(&mut self, metrics: &Metrics) -> Refreshed {
        // Before anything is read, lest a change fall in between.
        self.watch(metrics);
        let started = Instant::now();
        let patterns = self.patterns.clone();
        let scanned = tokio::task::spawn_blocking(move || scan::scan(&patterns)).await;
        metrics.scan_duration.observe(started.elapsed());
        match scanned {
            Ok(found) => self.take(found, metrics),
            Err(error) => Refreshed::failed(format!("reading files was cut short: {error}")),
        }
    }

    async fn changed(&mut self) {
        self.watcher.changed().await;
    }
}

impl Files {
    fn watch(&mut self, metrics: &Metrics) {
        let blind = self.watcher.watch(self.patterns.iter().map(|pattern| pattern.folder().to_owned()));
        if !blind.is_empty() && !self.was_blind {
            metrics.watcher_errors.inc();
            tracing::warn!(folder = %blind[0].folder.display(), error = blind[0].cause, "changes are only seen at refresh_interval");
        }
        self.was_blind = !blind.is_empty();
    }

    /// Takes what is there now. A file that can't be read keeps its last good targets, one that is gone has none.
    fn take(&mut self, found: Found, metrics: &Metrics) -> Refreshed {
        let mut failures = found.problems;
        let mut before = std::mem::take(&mut self.known);
        for (path, content) in found.files {
            match content {
                Ok(content) => {
                    let modified = content.modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
                    metrics.mtime.with_label_values(&[path.to_string_lossy()]).set(modified.as_secs() as f64);
                    before.remove(&path);
                    self.known.insert(path, content.targets);
                }
                Err(error) => {
                    metrics.read_errors.inc();
                    failures.push(error);
                    let last_good = before.remove(&path).unwrap_or_default();
                    self.known.insert(path, last_good);
                }
            }
        }
        for gone in before.keys() {
            // It may never have been read.
            let _ = metrics.mtime.remove_label_values(&[gone.to_string_lossy()]);
        }
        let targets = self.known.values().flatten().cloned().collect();
        let remark = found.missing.first().map_or_else(String::new, |pattern| format!("no file matches {pattern:?}"));
        Refreshed { targets: Some(targets), failures, remark }
    }
}
