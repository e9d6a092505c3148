//! Runs agents against the same targets and a counting sink, one after the other or side by side, and measures each after a warm-up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::agent::{Agent, Job};
use super::stats::ProcessStats;
use crate::process::{Port, Process, ProcessError};
use crate::receiver::{Received, Receiver, Sink};
use crate::targets::{TargetOptions, Targets, TargetsError};

/// How long an agent may take to answer its readiness page.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long an agent may take to end.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(60);

/// The load and the times.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// The targets.
    pub targets: TargetOptions,
    /// How often each is scraped.
    pub interval: Duration,
    /// From the start of an agent to the measurement.
    pub warmup: Duration,
    /// Length of the measurement; best a multiple of the interval.
    pub measure: Duration,
    /// Whether the agents run side by side instead of one after the other.
    pub parallel: bool,
    /// See [`Job::endpoints`].
    pub endpoints: usize,
    /// See [`Job::relabel_rules`].
    pub relabel_rules: usize,
}

impl CompareOptions {
    /// One endpoint, no relabelling.
    #[must_use]
    pub fn new(targets: TargetOptions, interval: Duration, warmup: Duration, measure: Duration) -> Self {
        Self { targets, interval, warmup, measure, parallel: false, endpoints: 1, relabel_rules: 0 }
    }
}

/// Why a comparison broke off.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The targets could not be started.
    #[error(transparent)]
    Targets(#[from] TargetsError),
    /// An agent did not run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file, a port or a figure could not be had.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A comparison needs an agent.
    #[error("there is no agent to measure: give the path of at least one")]
    NoAgent,
    /// A measurement was lost with its task.
    #[error("a measurement broke off: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What one agent did and cost while it was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The agent.
    pub agent: String,
    /// Length of the measurement in seconds.
    pub seconds: f64,
    /// Scrapes that the targets answered; with agents side by side, an equal share.
    pub scrapes: u64,
    /// Scrapes that there should have been.
    pub expected_scrapes: u64,
    /// Samples that the sink took.
    pub samples: u64,
    /// Samples per scrape: the series of a target and the agent's own (`up` …); fewer means loss.
    pub samples_per_scrape: f64,
    /// CPU time in seconds.
    pub cpu_seconds: f64,
    /// CPU time per sample in microseconds.
    pub cpu_us_per_sample: f64,
    /// Resident memory in bytes, mean over the measurement.
    pub rss_bytes: u64,
    /// Resident memory per series of the targets.
    pub rss_bytes_per_series: f64,
    /// The most resident memory since the start.
    pub peak_rss_bytes: u64,
    /// Bytes of request bodies to the sink per sample.
    pub wire_bytes_per_sample: f64,
    /// Samples per request.
    pub samples_per_request: f64,
}

/// Measures the agents; `progress` is told what happens.
///
/// # Errors
/// Targets that can't be started, an agent that doesn't start or ends early.
pub async fn compare(agents: &[Agent], options: &CompareOptions, progress: fn(&str)) -> Result<Vec<Measured>, CompareError> {
    if agents.is_empty() {
        return Err(CompareError::NoAgent);
    }
    let targets = Arc::new(Targets::start(options.targets.clone()).await?);
    let mut all = JoinSet::new();
    let mut measured = Vec::new();
    for (place, agent) in agents.iter().enumerate() {
        let share = if options.parallel { agents.len() as u64 } else { 1 };
        let one = measure(agent.clone(), options.clone(), Arc::clone(&targets), share, progress);
        all.spawn(async move { (place, one.await) });
        while let Some(done) = if options.parallel { None } else { all.join_next().await } {
            measured.push(done?);
        }
    }
    while let Some(done) = all.join_next().await {
        measured.push(done?);
    }
    measured.sort_by_key(|(place, _)| *place);
    measured.into_iter().map(|(_, one)| one).collect()
}

/// Runs one agent from its start to its end.
async fn measure(
    agent: Agent,
    options: CompareOptions,
    targets: Arc<Targets>,
    share: u64,
    progress: fn(&str),
) -> Result<Measured, CompareError> {
    let dir = tempfile::tempdir().map_err(|source| system("a temporary directory", source))?;
    let receiver = Receiver::start(Arc::new(Sink)).await.map_err(|source| system("a port for the sink", source))?;
    let process = start(&agent, dir.path().to_owned(), &targets, &receiver, &options).await?;
    progress(&format!("{}: ready, warming up for {:?}", agent.name, options.warmup));
    tokio::time::sleep(options.warmup).await;
    progress(&format!("{}: measuring for {:?}", agent.name, options.measure));
    let before = Figures::take(&process, &receiver, &targets)?;
    let rss_bytes = mean_rss(&process, options.measure).await?;
    let after = Figures::take(&process, &receiver, &targets)?;
    let figures = after.since(&before, &agent.name, &options, share, rss_bytes);
    let stopped = process.stop(STOP_WITHIN).await?;
    progress(&format!("{}: ended after {:?} with {}", agent.name, stopped.took, stopped.status));
    Ok(figures)
}

pub(super) fn system(what: &str, source: std::io::Error) -> CompareError {
    CompareError::System { what: what.to_owned(), source }
}

pub(super) async fn start(
    agent: &Agent,
    dir: PathBuf,
    targets: &Targets,
    receiver: &Receiver,
    options: &CompareOptions,
) -> Result<Process, CompareError> {
    let port = Port::hold().map_err(|source| system("a port for the agent", source))?;
    let config = dir.join(agent.config_file);
    let log = dir.join("log");
    let job = Job {
        dir,
        config,
        port: port.number(),
        sd_url: targets.sd_url(),
        write_url: receiver.url(),
        interval: options.interval,
        endpoints: options.endpoints,
        relabel_rules: options.relabel_rules,
    };
    std::fs::write(&job.config, (agent.config)(&job)).map_err(|source| system("the agent's configuration", source))?;
    let mut command = Command::new(&agent.binary);
    command.args((agent.arguments)(&job)).args(&agent.extra);
    let port = port.release();
    let process = Process::spawn(&agent.name, command, &log)?;
    process.ready(&format!("http://127.0.0.1:{port}{}", agent.ready), READY_WITHIN).await?;
    Ok(process)
}

/// The mean of the resident memory, looked at each second.
async fn mean_rss(process: &Process, during: Duration) -> Result<u64, CompareError> {
    let end = Instant::now() + during;
    let (mut sum, mut looks) = (0, 0);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(1).min(end.saturating_duration_since(Instant::now()))).await;
        sum += stats(process)?.rss_bytes;
        looks += 1;
    }
    Ok(sum.checked_div(looks).unwrap_or(0))
}

/// The cost so far; a process that has ended is told with its log.
pub(super) fn stats(process: &Process) -> Result<ProcessStats, CompareError> {
    ProcessStats::read(process.pid()).map_err(|source| match process.exit_status() {
        Some(status) => ProcessError::Ended { name: process.name().to_owned(), status: status.to_string(), log: process.log_tail() }.into(),
        None => system(&format!("the cost of {}", process.name()), source),
    })
}

/// All counters at one moment.
struct Figures {
    at: Instant,
    stats: ProcessStats,
    received: Received,
    served: u64,
    /// Of all targets.
    series: u64,
}

impl Figures {
    fn take(process: &Process, receiver: &Receiver, targets: &Targets) -> Result<Self, CompareError> {
        let series = (0..targets.len()).map(|t| targets.series(t) as u64).sum();
        Ok(Self { at: Instant::now(), stats: stats(process)?, received: receiver.received(), served: targets.served_total(), series })
    }

    fn since(&self, before: &Self, agent: &str, options: &CompareOptions, share: u64, rss_bytes: u64) -> Measured {
        let seconds = (self.at - before.at).as_secs_f64();
        let samples = self.received.samples - before.received.samples;
        let scrapes = (self.served - before.served) / share;
        let cpu_seconds = self.stats.cpu_seconds - before.stats.cpu_seconds;
        let per = |value: f64, count: u64| if count == 0 { f64::NAN } else { value / count as f64 };
        Measured {
            agent: agent.to_owned(),
            seconds,
            scrapes,
            expected_scrapes: (options.targets.targets as f64 * seconds / options.interval.as_secs_f64()).round() as u64,
            samples,
            samples_per_scrape: per(samples as f64, scrapes),
            cpu_seconds,
            cpu_us_per_sample: per(cpu_seconds * 1e6, samples),
            rss_bytes,
            rss_bytes_per_series: per(rss_bytes as f64, self.series),
            peak_rss_bytes: self.stats.peak_rss_bytes,
            wire_bytes_per_sample: per((self.received.wire_bytes - before.received.wire_bytes) as f64, samples),
            samples_per_request: per(samples as f64, self.received.accepted - before.received.accepted),
        }
    }
}
